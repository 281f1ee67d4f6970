"""``hydra-gce cancel``: ends jobs; what they have saved comes home, and the others go on."""

from __future__ import annotations

import argparse

from hydra_gce.cli.common import Verbs, add_place


def add(verbs: Verbs) -> None:
    verb = verbs.add_parser("cancel", help="end jobs of a sweep; the others go on")
    verb.add_argument("sweep", help='its name, or "last"')
    verb.add_argument("jobs", nargs="*", type=int, help="their numbers; all if left out")
    add_place(verb)
    verb.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from hydra_gce.cli.common import MINUTES, find_sweep
    from hydra_gce.coming_back.cancel import cancel

    found = find_sweep(options.sweep, options, MINUTES)
    left = cancel(found.backend, found.bucket, found.sweep, options.jobs, print)
    return 1 if left else 0
