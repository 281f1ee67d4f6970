"""``hydra-gce collect``: the outputs of a sweep, brought here."""

from __future__ import annotations

import argparse

from hydra_gce.cli.common import Verbs, connect_to, record_of


def add(verbs: Verbs) -> None:
    verb = verbs.add_parser("collect", help="bring the outputs of a sweep's finished jobs here")
    verb.add_argument("sweep", nargs="?", default="last", help='its name; "last" if left out')
    verb.add_argument("--to", help="where to; the sweep's own directory if left out")
    verb.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from pathlib import Path

    from hydra_gce.recollect import recollect

    record = record_of(options.sweep)
    bucket = connect_to(record).bucket(record.bucket)
    for line in recollect(bucket, record, Path(options.to) if options.to else None):
        print(line)
    return 0
