"""``hydra-gce logs``: what the jobs of a sweep print."""

from __future__ import annotations

import argparse

from hydra_gce.cli.common import Verbs, connect_to, record_of


def add(verbs: Verbs) -> None:
    verb = verbs.add_parser("logs", help="what the jobs of a sweep print")
    verb.add_argument("sweep", nargs="?", default="last", help='its name; "last" if left out')
    verb.add_argument("-f", "--follow", action="store_true", help="go on until all jobs have ended")
    verb.add_argument("--job", type=int, help="only this one")
    verb.add_argument("--attempt", type=int, help="only this attempt; the newest if left out")
    verb.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from hydra_gce.logs import follow

    record = record_of(options.sweep)
    bucket = connect_to(record).bucket(record.bucket)
    lines = follow(bucket, record.sweep, options.job, options.attempt, forever=options.follow)
    for line in lines:
        print(line, flush=True)
    return 0
