"""``hydra-gce run``: a single job of a Hydra program, on a VM."""

from __future__ import annotations

import argparse

from hydra_gce.cli.common import Verbs

_SAID = (
    ("gpu", "hydra.launcher.vm.gpu"),
    ("gpu_count", "hydra.launcher.vm.gpu_count"),
    ("machine_type", "hydra.launcher.vm.machine_type"),
    ("max_run_hours", "hydra.launcher.vm.max_run_hours"),
    ("backend", "hydra.launcher.backend"),
    ("project", "hydra.launcher.project"),
    ("bucket", "hydra.launcher.bucket"),
)


def add(verbs: Verbs) -> None:
    verb = verbs.add_parser(
        "run",
        help="run a Hydra program's job on a VM: hydra-gce run -- python train.py lr=1e-3",
        description="Runs the job that this command would run here on a VM instead: its words come here as it"
        " prints them, its outputs lie where they would lie, and its exit code is this command's.",
        usage="hydra-gce run [options] -- python train.py [overrides]",
    )
    verb.add_argument("--gpu", metavar="NAME", help="T4, L4, A100, …; none if left out")
    verb.add_argument("--gpu-count", type=int, metavar="N", help="so many of them")
    verb.add_argument("--machine-type", metavar="TYPE", help="chosen for the GPU if left out")
    verb.add_argument(
        "--spot", action="store_true", help="a fraction of the price; may be taken back, and goes on"
    )
    verb.add_argument(
        "--zone", action="append", default=[], help="where it may go; several times for several"
    )
    verb.add_argument(
        "--max-run-hours", type=float, metavar="H", help="the VM is deleted after that; 24 if left out"
    )
    verb.add_argument(
        "--detach",
        "--no-wait",
        action="store_true",
        help="leave when a VM is asked for; hydra-gce attach comes back",
    )
    verb.add_argument("--dry-run", action="store_true", help="print what would be asked for, and its price")
    verb.add_argument("--backend", choices=("auto", "cloud", "local"))
    verb.add_argument("--project", help="the Google Cloud project")
    verb.add_argument("--bucket", help="what it travels through; hydra-gce-<project> if left out")
    verb.add_argument(
        "rest",
        nargs=argparse.REMAINDER,
        metavar="COMMAND",
        help="as you would type it, with hydra.launcher.<field>=<value> for all that has no option here",
    )
    verb.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from hydra_gce.single.run_command import run_command

    words = options.rest[1:] if options.rest[:1] == ["--"] else options.rest
    return run_command(words, list(overrides(options)))


def overrides(options: argparse.Namespace) -> list[str]:
    """The options, as Hydra has them."""
    said = [f"{field}={value}" for name, field in _SAID if (value := getattr(options, name)) is not None]
    if options.spot:
        said.append("hydra.launcher.vm.provisioning=spot")
    if options.zone:
        said.append(f"hydra.launcher.vm.zones=[{','.join(options.zone)}]")
    if options.detach:
        said.append("hydra.launcher.wait=false")
    if options.dry_run:
        said.append("hydra.launcher.dry_run=true")
    return said
