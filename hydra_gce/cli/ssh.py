"""``hydra-gce ssh``: a shell in the VM that works for a job, or a command there."""

from __future__ import annotations

import argparse
import shlex
import signal
from typing import TYPE_CHECKING

from hydra_gce.cli.common import Verbs, add_place, find_sweep, sweep_and_job
from hydra_gce.errors import HydraGCEError, UnknownName

if TYPE_CHECKING:
    from hydra_gce.compute.quick import Json
    from hydra_gce.found import FoundSweep

_USAGE = "hydra-gce ssh [SWEEP] JOB [-- COMMAND ...]"
_NO_GCLOUD = (
    "gcloud is not installed here, and it is what brings the keys and the way to a VM:"
    " https://cloud.google.com/sdk/docs/install"
)


def add(verbs: Verbs) -> None:
    verb = verbs.add_parser(
        "ssh", help="a shell in the VM that works for a job", usage=f"{_USAGE} [--project ID] ..."
    )
    verb.add_argument(
        "words",
        nargs="+",
        metavar="[SWEEP] JOB [-- COMMAND]",
        help="COMMAND: run there, its exit code is ours",
    )
    verb.add_argument("--print", action="store_true", help="only say what would be run")
    add_place(verb)
    verb.set_defaults(run=run, after_dashes=[])


def run(options: argparse.Namespace) -> int:
    sweep, num, words = sweep_and_job(options.words, _USAGE)
    command = [*words, *options.after_dashes]
    found = find_sweep(sweep, options)
    name, zone, listed = vm_of(found, num)
    address = any(
        one.get("natIP")
        for face in listed.get("networkInterfaces", [])
        for one in face.get("accessConfigs", [])
    )
    shell = found.backend.shell(name, zone, address, command)
    if options.print:
        print(shlex.join(shell))
        return 0
    return _be(shell)


def vm_of(found: FoundSweep, num: int) -> tuple[str, str, Json]:
    """Name, zone and Compute Engine's own words of the VM that works for the job.

    :raises UnknownName: it has none now.
    """
    from hydra_gce.coming_back.seen import see
    from hydra_gce.compute import quick
    from hydra_gce.found import check_job

    seen = see(found)
    jobs = {job.num: job for job in seen.view.jobs}
    check_job(found.sweep, num, jobs)
    job = jobs[num]
    state = job.state.value
    if not (job.instance and job.zone):
        raise UnknownName(
            f"job {num} of {found.sweep} has no VM: it is {state}{f' ({job.note})' if job.note else ''}"
        )
    listed = quick.instance(found.backend, job.zone, job.instance)
    if listed is None:
        outputs = f"hydra-gce pull {found.said} {num}"
        raise UnknownName(
            f"VM {job.instance} of job {num} is gone from {job.zone}: the job is {state}. Its outputs: {outputs}"
        )
    if listed["status"] != "RUNNING":
        raise HydraGCEError(f"VM {job.instance} of job {num} is {listed['status']}: wait until it is RUNNING")
    return job.instance, job.zone, listed


def _be(words: list[str]) -> int:
    """Runs it in this terminal; Ctrl-C is its alone."""
    import subprocess

    before = signal.getsignal(signal.SIGINT)
    try:
        process = subprocess.Popen(words)
    except FileNotFoundError as error:
        raise HydraGCEError(_NO_GCLOUD) from error
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # only now: the child would inherit it
    try:
        return process.wait()
    finally:
        signal.signal(signal.SIGINT, before)
