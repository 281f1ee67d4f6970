"""``hydra-gce pull``: a job's outputs while it runs, all of them or some."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra_gce.cli.common import MINUTES, Verbs, add_json, add_place, find_sweep, print_json, sweep_and_job

if TYPE_CHECKING:
    from hydra_gce.found import FoundSweep
    from hydra_gce.mirror import Manifest

_USAGE = "hydra-gce pull [SWEEP] JOB [PATH]"


def add(verbs: Verbs) -> None:
    verb = verbs.add_parser(
        "pull",
        help="bring a job's outputs here while it runs",
        usage=f"{_USAGE} [--to DIR] [--list] [--json]",
    )
    verb.add_argument(
        "words", nargs="+", metavar="[SWEEP] JOB [PATH]", help="PATH: a file, a folder, or '*.csv'"
    )
    verb.add_argument(
        "--to", metavar="DIR", help="where to; as Hydra has it on the machine that launched, else ./SWEEP/JOB"
    )
    verb.add_argument("--list", action="store_true", help="only say what there is")
    add_place(verb)
    add_json(verb)
    verb.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from hydra_gce.coming_back.outputs import chosen, newest

    sweep, num, paths = sweep_and_job(options.words, _USAGE)
    found = find_sweep(sweep, options, MINUTES)
    found.job(num)
    attempt, manifest = newest(found, num)
    wanted = chosen(manifest, paths, f"job {num} of {found.sweep}")
    content: dict[str, Any] = {"sweep": found.sweep, "job": num, "attempt": attempt, "files": _files(wanted)}
    if options.list:
        _say(options, {**content, "to": None, "fetched_bytes": 0}, _listed(wanted))
        return 0
    to = Path(options.to) if options.to else _hydras_place(found, num)
    fetched = _fetch(found, num, paths, to)
    line = f"job {num}, attempt {attempt}: {len(wanted.files)} files in {to} ({fetched:,} bytes fetched)"
    _say(options, {**content, "to": str(to), "fetched_bytes": fetched}, [line])
    return 0


def _fetch(found: FoundSweep, num: int, paths: list[str], to: Path) -> int:
    from hydra_gce.coming_back.outputs import chosen
    from hydra_gce.coming_back.outputs import newest_attempt as attempt_of
    from hydra_gce.mirror import restore_newest

    what = f"job {num} of {found.sweep}"
    restored = restore_newest(
        found.bucket,
        found.names,
        found.key(),
        num,
        attempt_of(found, num),
        to,
        choose=lambda manifest: chosen(manifest, paths, what),
    )
    return restored[1] if restored else 0


def _hydras_place(found: FoundSweep, num: int) -> Path:
    """The job's output directory on the machine that launched it; elsewhere a directory of the sweep's name."""
    from hydra_gce.jobs import unseal_spec

    if found.record is None:
        return Path(found.sweep) / str(num)
    spec, _ = unseal_spec(found.key(), found.sweep, num, found.bucket.read(found.names.spec(num)))
    return Path(spec.output_dir)


def _files(manifest: Manifest) -> list[dict[str, Any]]:
    return [
        {"path": name, "bytes": entry.size, "modified": entry.mtime_ns / 1e9}
        for name, entry in sorted(manifest.files.items())
    ]


def _listed(manifest: Manifest) -> list[str]:
    from datetime import datetime

    lines = []
    for name, entry in sorted(manifest.files.items()):
        when = datetime.fromtimestamp(entry.mtime_ns / 1e9).strftime("%Y-%m-%d %H:%M:%S")
        lines.append(
            f"{entry.size:>13,}  {when}  {name}{f' -> {entry.link}' if entry.link is not None else ''}"
        )
    return lines


def _say(options: argparse.Namespace, content: dict[str, Any], lines: list[str]) -> None:
    if options.json:
        print_json(content)
        return
    for line in lines:
        print(line)
