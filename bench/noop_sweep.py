"""How long a sweep of jobs that do nothing takes with each launcher: what is left is the launcher itself.

    python -m bench.noop_sweep [--jobs 8] [--repeats 3] [--dry]

All launchers are measured in one run, turn by turn, so that whatever else the machine does meets them all.
Ours is measured on the embedded Compute Engine, twice: starting its server, and finding it there.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench import page

PROGRAM = """\
import hydra
from omegaconf import DictConfig


@hydra.main(version_base="1.3", config_path=None)
def main(config: DictConfig) -> None:
    pass


if __name__ == "__main__":
    main()
"""
LIMIT_S = 900.0
PACKAGES = ("hydra-core", "hydra-joblib-launcher", "hydra-submitit-launcher", "hydra-gce-launcher")


@dataclass(frozen=True)
class Contender:
    """One row of the table."""

    name: str
    module: str
    overrides: tuple[str, ...] = ()
    note: str = ""
    server_stopped: bool = False


GCE = (
    "hydra/launcher=gce",
    "hydra.launcher.backend=local",
    "hydra.launcher.vm.machine_type=e2-small",
    "hydra.launcher.tracking.mode=none",
)
CONTENDERS = (
    Contender("basic", "hydra", note="one after the other, in one process"),
    Contender(
        "joblib", "hydra_plugins.hydra_joblib_launcher", ("hydra/launcher=joblib",), "a pool of processes"
    ),
    Contender(
        "submitit_local",
        "hydra_plugins.hydra_submitit_launcher",
        ("hydra/launcher=submitit_local",),
        "a process for each job",
    ),
    Contender("gce", "hydra_gce.sweep", GCE, "a VM for each job, embedded Compute Engine"),
    Contender("gce, first", "hydra_gce.sweep", GCE, "the same, and its server is started first", True),
)


class SweepFailed(Exception):
    """A sweep of a contender did not end well; the message is the last it said."""


def run_sweep(
    contender: Contender, program: Path, jobs: int, environ: Mapping[str, str], clock: Callable[[], float]
) -> float:
    """Wall seconds of one whole command, from the shell's side."""
    if contender.server_stopped:
        stop_server(environ)
    overrides = [
        f"+job={','.join(map(str, range(jobs)))}",
        f"hydra.sweep.dir={program.parent}/multirun/{clock()}",
    ]
    command = [sys.executable, str(program), "--multirun", *overrides, *contender.overrides]
    began = clock()
    try:
        ended = subprocess.run(
            command,
            cwd=program.parent,
            env=dict(environ),
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise SweepFailed(f"not done after {LIMIT_S:.0f} s") from error
    if ended.returncode != 0:
        raise SweepFailed((ended.stderr.strip() or ended.stdout.strip() or "no word").splitlines()[-1])
    return clock() - began


def stop_server(environ: Mapping[str, str]) -> None:
    subprocess.run(
        [sys.executable, "-m", "hydra_gce.local", "stop"],
        env=dict(environ),
        capture_output=True,
        timeout=120,
        check=True,
    )


def is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # of its parent
        return False


def measure(jobs: int, repeats: int) -> dict[Contender, list[float]]:
    """Seconds of each sweep, by contender. What is not installed or fails has none, and a line says why."""
    contenders = [contender for contender in CONTENDERS if is_installed(contender.module)]
    for contender in CONTENDERS:
        if contender not in contenders:
            print(f"{contender.name}: not measured, {contender.module} is not installed", flush=True)
    seconds: dict[Contender, list[float]] = {contender: [] for contender in contenders}
    with tempfile.TemporaryDirectory(prefix="noop-sweep-") as scratch:
        program = Path(scratch) / "app" / "noop.py"
        program.parent.mkdir()
        program.write_text(PROGRAM, encoding="utf-8")
        environ = {**os.environ, "HYDRA_GCE_HOME": f"{scratch}/home"}
        try:
            for repeat in range(repeats):
                for contender in list(seconds):
                    try:
                        seconds[contender].append(
                            run_sweep(contender, program, jobs, environ, time.perf_counter)
                        )
                    except SweepFailed as error:
                        print(f"{contender.name}: not measured, its sweep failed: {error}", flush=True)
                        del seconds[contender]
                        continue
                    print(
                        f"{repeat + 1}/{repeats} {contender.name}: {seconds[contender][-1]:.1f} s", flush=True
                    )
        finally:
            if is_installed("hydra_gce.local.__main__"):
                stop_server(environ)
    return seconds


def section(seconds: Mapping[Contender, list[float]], jobs: int, circumstances: str) -> str:
    """The Markdown that goes into the page."""
    rows = [
        [
            contender.name,
            f"{statistics.median(values):.1f}",
            f"{min(values):.1f}-{max(values):.1f}",
            contender.note,
        ]
        for contender, values in seconds.items()
        if values
    ]
    lines = page.table(["launcher", f"{jobs} jobs, s", "range", "how"], rows)
    repeats = max((len(values) for values in seconds.values()), default=0)
    return f"{circumstances}\nMedian of {repeats} sweeps, launchers turn by turn.\n\n{lines}"


def main() -> int:
    """Measures, prints the table, writes it into the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--jobs", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--dry", action="store_true", help="print the table, leave the page alone")
    options = parser.parse_args()

    load = page.load()
    seconds = measure(options.jobs, options.repeats)
    content = section(seconds, options.jobs, page.circumstances(PACKAGES, load))
    print(content)
    if not options.dry:
        page.replace_section("noop-sweep", content)
    return 0


if __name__ == "__main__":
    sys.exit(main())
