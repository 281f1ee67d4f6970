"""``hydra-gce cancel``: ends jobs; what they have saved comes home, and the others go on."""

from __future__ import annotations

import argparse

from hydra_gce.cli.common import Verbs, add_backend


def add(verbs: Verbs) -> None:
    verb = verbs.add_parser("cancel", help="end jobs of a sweep; the others go on")
    verb.add_argument("sweep", help='its name, or "last"')
    verb.add_argument("jobs", nargs="*", type=int, help="their numbers; all if left out")
    verb.add_argument("--bucket", help="the bucket that it travels through; hydra-gce-<project> if left out")
    add_backend(verb)
    verb.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from hydra_gce.cancel import cancel
    from hydra_gce.cli.common import MINUTES, find_sweep

    found = find_sweep(options.sweep, options, MINUTES)
    left = cancel(found.backend, found.bucket, found.sweep, options.jobs, print)
    return 1 if left else 0
