"""What having the launcher installed adds to a Hydra program that uses another one.

    python -m bench.import_time [--pairs 40] [--dry]

Hydra imports every installed plugin at every start of every program. Two directories of packages, equal but
for this launcher, are tried in turn with the same program; the difference counts.

Ends with 1 when the processor time is over the budget: importing is nothing else, and the wall time of a busy
machine tells of its other work too.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import page

BUDGET_MS = 15.0
PROGRAM = """\
import sys

import hydra


@hydra.main(version_base="1.3", config_path=None)
def main(config):
    if config.get("modules"):
        print(*sorted(sys.modules))


main()
"""


@dataclass(frozen=True)
class Run:
    """One start of the program, in milliseconds."""

    wall: float
    processor: float


def package_directories(scratch: Path) -> tuple[Path, Path]:
    """Two directories for PYTHONPATH: with this launcher and without. Neither has another plugin of Hydra."""
    installed = Path(sysconfig.get_path("purelib"))
    without, alone = scratch / "without", scratch / "with"
    for directory in (without, alone):
        directory.mkdir()
        for entry in installed.iterdir():
            if entry.name.startswith(("hydra_plugins", "hydra_gce")) or entry.suffix == ".pth":
                continue
            (directory / entry.name).symlink_to(entry)
    shutil.copytree(page.ROOT / "hydra_gce", alone / "hydra_gce")
    shutil.copytree(page.ROOT / "hydra_plugins", alone / "hydra_plugins")
    for metadata in installed.glob("hydra_gce_launcher-*.dist-info"):  # the entry points that Hydra 1.4 reads
        (alone / metadata.name).symlink_to(metadata)
    return alone, without


def start(program: Path, packages: Path, *overrides: str) -> tuple[Run, str]:
    """Runs the program once with the given packages; gives its times and what it printed."""
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(packages)}
    # -S: no .pth file brings back what was left out.
    command = [sys.executable, "-S", str(program), "hydra.run.dir=.", "hydra.output_subdir=null", *overrides]
    began = time.perf_counter()
    child = subprocess.Popen(
        command, cwd=program.parent, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert child.stdout is not None
    with child.stdout:
        output = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)  # Popen.wait would throw the usage away
    wall = time.perf_counter() - began
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} ended with {child.returncode}:\n{output}")
    return Run(wall=wall * 1e3, processor=(usage.ru_utime + usage.ru_stime) * 1e3), output


def measure(pairs: int) -> tuple[list[Run], list[Run], list[str]]:
    """Runs with the launcher, runs without it, and the modules that it brings."""
    with tempfile.TemporaryDirectory(prefix="import-time-") as scratch:
        program = Path(scratch) / "app.py"
        program.write_text(PROGRAM, encoding="utf-8")
        with_it, without_it = package_directories(Path(scratch))
        modules = [
            set(start(program, packages, "+modules=true")[1].split()) for packages in (with_it, without_it)
        ]
        runs: dict[Path, list[Run]] = {with_it: [], without_it: []}
        for pair in range(pairs):
            order = (with_it, without_it) if pair % 2 else (without_it, with_it)
            for packages in order:
                runs[packages].append(start(program, packages)[0])
    return runs[with_it], runs[without_it], sorted(modules[0] - modules[1])


def added(with_it: Sequence[float], without_it: Sequence[float]) -> float:
    """The median of the differences, pair by pair."""
    return statistics.median(a - b for a, b in zip(with_it, without_it, strict=True))


def row(name: str, with_it: Sequence[float], without_it: Sequence[float]) -> list[str]:
    ours, theirs = statistics.median(with_it), statistics.median(without_it)
    return [name, f"{theirs:.0f}", f"{ours:.0f}", f"{added(with_it, without_it):.1f}"]


def main() -> int:
    """Measures, prints the table, writes it into the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--pairs", type=int, default=40)
    parser.add_argument("--dry", action="store_true", help="print the table, leave the page alone")
    options = parser.parse_args()

    load = page.load()
    with_it, without_it, modules = measure(options.pairs)
    wall, processor = (
        ([getattr(run, kind) for run in with_it], [getattr(run, kind) for run in without_it])
        for kind in ("wall", "processor")
    )
    rows = [row("wall time", *wall), row("processor time", *processor)]
    content = (
        page.circumstances(("hydra-core", "hydra-gce-launcher"), load)
        + f"\nMedian of {options.pairs} pairs of runs, in ms; the budget is {BUDGET_MS:.0f} ms.\n\n"
        + page.table(["", "without", "with", "added"], rows)
        + f"\nIt brings {len(modules)} modules: {', '.join(f'`{module}`' for module in modules)}.\n"
    )
    print(content)
    if not options.dry:
        page.replace_section("import-time", content)
    if added(*processor) > BUDGET_MS:
        print(f"Over the budget: {added(*processor):.1f} ms is more than {BUDGET_MS} ms.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
