"""``hydra-gce collect``: the outputs of a sweep, brought here."""

from __future__ import annotations

import argparse

from hydra_gce.cli.common import MINUTES, Verbs, add_json, add_sweep, find_sweep, print_json


def add(verbs: Verbs) -> None:
    verb = verbs.add_parser("collect", help="bring the outputs of a sweep's finished jobs here")
    add_sweep(verb)
    verb.add_argument(
        "--job", type=int, nargs="+", action="extend", metavar="N", help="only these; all if left out"
    )
    verb.add_argument("--to", metavar="DIR", help="where to; the sweep's own directory if left out")
    add_json(verb)
    verb.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from dataclasses import asdict
    from pathlib import Path

    from hydra_gce.coming_back.recollect import recollect

    found = find_sweep(options.sweep, options, MINUTES)
    brought = recollect(found, Path(options.to) if options.to else None, options.job)
    if options.json:
        print_json({"sweep": found.sweep, "jobs": [asdict(one) for one in brought]})
        return 0
    for one in brought:
        print(one.line, flush=True)
    return 0
