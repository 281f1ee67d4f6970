"""How long a person waits for `hydra-gce`: for its help, for `ls` of a sweep of a thousand jobs, for a line of a log.

    python -m bench.commands [--jobs 1000] [--runs 15] [--seconds 120] [--dry]

`ls` and `show` ask an embedded Compute Engine and its Cloud Storage in which the sweep lies as its launcher leaves it:
a VM for each job, their statuses, ledger and view. For `logs -f`, two jobs of a real sweep on the embedded Compute
Engine print the time every one to five seconds; VMs and laptop are on this machine, so all moments are of one clock.

Ends with 1 when a median is over its aim.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import requests

from bench import page
from bench.simulation import cloud
from hydra_gce.bucket import Bucket, SweepNames
from hydra_gce.cloud.backend import LOCAL_PROJECT, Backend
from hydra_gce.home import SweepRecord
from hydra_gce.jobs import JobState, JobStatus
from hydra_gce.labels import SWEEP_LABEL
from hydra_gce.local.home import Home
from hydra_gce.machines import VMRequest, resolve
from hydra_gce.money.ledger import Ledger
from hydra_gce.usage import Usage
from hydra_gce.view import JobView, SweepView, to_json
from scripts.embedded_lab import Lab

SWEEP = "calm-otter"
ZONE = "us-central1-a"
TYPE = "e2-small"
JOBS = 2
AIMS_S = {"help": 0.3, "ls": 2.0, "line": 3.0}
PACKAGES = ("google-cloud-storage", "rich", "hydra-gce-launcher")
PROGRAM = """\
import random
import time

import hydra
from omegaconf import DictConfig


@hydra.main(version_base="1.3", config_path=None)
def main(config: DictConfig) -> None:
    pauses = random.Random(config.seed)
    while True:
        time.sleep(pauses.uniform(1, 5))
        print(f"at {time.time():.3f}")


if __name__ == "__main__":
    main()
"""
_FIRST_LINE_S = 120.0


def timed(command: Sequence[str], environ: Mapping[str, str], runs: int) -> list[float]:
    """Seconds of wall time, from the shell's side; one run before them is not counted."""
    took = []
    # A person's Python keeps what it has compiled.
    environ = {name: value for name, value in environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    for _ in range(runs + 1):
        began = time.perf_counter()
        done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
        took.append(time.perf_counter() - began)
        if done.returncode != 0:
            raise RuntimeError(
                f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
            )
    return took[1:]


def hydra_gce() -> str:
    """The command as it is installed."""
    return str(Path(sys.executable).with_name("hydra-gce"))


@contextmanager
def stored_sweep(jobs: int, scratch: Path) -> Iterator[Mapping[str, str]]:
    """A sweep of so many jobs, all of them running; the environment that finds it."""
    home = scratch / "home"
    environ = {**os.environ, "HYDRA_GCE_HOME": str(home), "CLOUDSDK_CONFIG": str(scratch)}
    agents = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    try:
        with cloud.serving(Home(home / "local"), agents) as server:
            server.on_first_insert = lambda: None
            running = server.running
            _insert_vms(running.compute, jobs)
            backend = _backend(running.compute, running.storage)
            bucket = backend.bucket(None)
            _write_sweep(bucket, jobs)
            os.environ["HYDRA_GCE_HOME"] = str(home)
            SweepRecord(
                SWEEP,
                "00" * 32,
                "local",
                LOCAL_PROJECT,
                bucket.name,
                "/home/me/multirun",
                time.time(),
                os.getpid(),
            ).save()
            yield environ
    finally:
        assert agents.stdin is not None
        agents.stdin.close()
        agents.wait()


def _backend(compute: str, storage: str) -> Backend:
    from google.auth.credentials import AnonymousCredentials

    return Backend("local", LOCAL_PROJECT, compute, storage, AnonymousCredentials(), None)


def _insert_vms(endpoint: str, count: int) -> None:
    zone = f"{endpoint}/compute/v1/projects/{LOCAL_PROJECT}/zones/{ZONE}"
    script = {"key": "startup-script", "value": "#" * 5000}  # about what ours has

    def insert(num: int) -> None:
        body = {
            "name": f"hg-{SWEEP}-{num}",
            "machineType": f"zones/{ZONE}/machineTypes/{TYPE}",
            "labels": {SWEEP_LABEL: SWEEP},
            "metadata": {"items": [script]},
            "disks": [
                {
                    "boot": True,
                    "autoDelete": True,
                    "initializeParams": {
                        "sourceImage": "projects/debian-cloud/global/images/family/debian-12"
                    },
                }
            ],
            "networkInterfaces": [{"accessConfigs": [{}]}],
        }
        answer = requests.post(f"{zone}/instances", json=body, timeout=60)
        if answer.status_code != 200:
            raise RuntimeError(answer.text)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(insert, range(count)))


def _write_sweep(bucket: Bucket, jobs: int) -> None:
    names, now = SweepNames(SWEEP), time.time()
    (place,) = resolve(VMRequest(machine_type=TYPE, zones=[ZONE]))
    ledger = Ledger()
    views = []
    busy = Usage(0.93, 2, 10**9, 2 * 10**9, 10**9, 10**10).to_text()
    for num in range(jobs):
        instance = f"hg-{SWEEP}-{num}"
        ledger.began(instance, num, 1, place, now - 600)
        views.append(
            JobView(
                num,
                [f"lr={num}", "model.width=16"],
                JobState.RUNNING,
                1,
                instance,
                ZONE,
                step=100,
                total_steps=400,
                metric_name="val_miou",
                metric=0.5,
                history=[0.1, 0.2, 0.3],
                cost=Decimal("0.003"),
            )
        )

    def write(num: int) -> None:
        status = JobStatus(
            num, JobState.RUNNING, 1, f"hg-{SWEEP}-{num}", ZONE, now, now, 100, "val_miou", 0.5, usage=busy
        )
        bucket.write(names.status(num), b"", metadata=status.to_metadata())

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(jobs)))
    bucket.write(names.description, json.dumps({"started": now, "sweep_dir": "/home/me/multirun"}).encode())
    bucket.write(names.ledger, ledger.to_json())
    view = SweepView(SWEEP, LOCAL_PROJECT, "local", views, now - 600, now, sweep_dir="/home/me/multirun")
    bucket.write(names.view, to_json(replace(view)))


def line_ages(seconds: float, scratch: Path) -> list[float]:
    """How old lines were when `logs -f` printed them."""
    lab = Lab(scratch / "lab", scratch / "lab-home")
    for directory in (lab.home, lab.directory):
        directory.mkdir()
    (lab.directory / "program.py").write_text(PROGRAM, encoding="utf-8")
    command = [
        sys.executable, "program.py", "-m", "hydra/launcher=gce", f"+seed=range({JOBS})",
        "hydra.launcher.backend=local", "hydra.launcher.vm.machine_type=e2-small",
        "hydra.launcher.env.requirements=none", "hydra.launcher.tracking.mode=none",
    ]  # fmt: skip
    with (scratch / "said").open("w") as out:
        launch = subprocess.Popen(command, cwd=lab.directory, env=dict(lab.environ), stdout=out, stderr=out)
        try:
            return _followed(lab, seconds)
        finally:
            launch.terminate()
            launch.wait()
            lab.piped("hydra-gce local stop")


def _followed(lab: Lab, seconds: float) -> list[float]:
    _wait_for(lambda: "at " in _said(lab, "logs"), "no job has printed a line")
    process = subprocess.Popen(
        [hydra_gce(), "logs", "-f", "--json"],
        cwd=lab.directory,
        env=dict(lab.environ),
        stdout=subprocess.PIPE,
        text=True,
    )
    ages: list[float] = []
    try:
        assert process.stdout is not None
        began = time.time()
        while time.time() < began + seconds:
            line: Mapping[str, Any] = json.loads(process.stdout.readline())
            seen = time.time()
            word, _, printed = line["line"].partition(" ")
            if word == "at" and float(printed) > began + 2.0:  # what was there before is no news
                ages.append(seen - float(printed))
    finally:
        process.kill()
        process.wait()
    return ages


def _said(lab: Lab, *words: str) -> str:
    done = subprocess.run(
        [hydra_gce(), *words],
        cwd=lab.directory,
        env=dict(lab.environ),
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout


def _wait_for(condition: Callable[[], bool], complaint: str) -> None:
    until = time.monotonic() + _FIRST_LINE_S
    while not condition():
        if time.monotonic() > until:
            raise RuntimeError(complaint)
        time.sleep(0.5)


def row(name: str, took: Sequence[float], aim: float | None) -> list[str]:
    figures = [statistics.median(took), min(took), max(took)]
    return [name, str(len(took)), *(f"{figure:.2f}" for figure in figures), "" if aim is None else f"{aim:g}"]


def main() -> int:
    """Measures, prints the table, writes it into the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--dry", action="store_true", help="print the table, leave the page alone")
    options = parser.parse_args()

    load = page.load()
    runs, jobs = options.runs, options.jobs
    command = hydra_gce()
    helped = timed([command, "--help"], os.environ, runs)
    completed = timed([command, "completion", "words", "hydra-gce show "], os.environ, runs)
    with (
        tempfile.TemporaryDirectory(prefix="commands-") as scratch,
        stored_sweep(jobs, Path(scratch)) as environ,
    ):
        listed = timed([command, "ls", "--backend", "local"], environ, runs)
        shown = timed([command, "show", SWEEP], environ, runs)
        topped = timed([command, "top", SWEEP], environ, runs)
    with tempfile.TemporaryDirectory(prefix="commands-") as scratch:
        ages = line_ages(options.seconds, Path(scratch))
    many = f"{jobs:,} jobs"
    rows = [
        row("`hydra-gce --help`", helped, AIMS_S["help"]),
        row("completing the name of a sweep", completed, None),
        row(f"`hydra-gce ls`, {many} and as many VMs", listed, AIMS_S["ls"]),
        row(f"`hydra-gce show`, {many}", shown, None),
        row(f"`hydra-gce top`, {many}", topped, None),
        row("`hydra-gce logs -f`, from the program's `print`", ages, AIMS_S["line"]),
    ]
    content = (
        page.circumstances(PACKAGES, load)
        + "\nIn seconds.\n\n"
        + page.table(["", "times", "median", "least", "most", "aim"], rows)
    )
    print(content)
    if not options.dry:
        page.replace_section("commands", content)
    over = [
        f"{name}: {statistics.median(took):.2f} s is more than {AIMS_S[name]:g} s."
        for name, took in (("help", helped), ("ls", listed), ("line", ages))
        if statistics.median(took) > AIMS_S[name]
    ]
    print("\n".join(over), file=sys.stderr)
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main())
