"""``hydra-gce retry``: begins jobs again that have failed or were cancelled."""

from __future__ import annotations

import argparse

from hydra_gce.cli.common import Verbs, add_place


def add(verbs: Verbs) -> None:
    verb = verbs.add_parser("retry", help="begin failed jobs of a sweep again, from what they saved")
    verb.add_argument("sweep", help='its name, or "last"')
    verb.add_argument(
        "jobs", nargs="*", type=int, help="their numbers; all that failed or were cancelled if left out"
    )
    verb.add_argument("--no-wait", action="store_true", help="leave; hydra-gce attach comes back")
    add_place(verb)
    verb.set_defaults(run=run, to=None, json=False, in_background=False)


def run(options: argparse.Namespace) -> int:
    from hydra_gce.cli import attach
    from hydra_gce.cli.common import MINUTES, find_sweep
    from hydra_gce.coming_back.retry import retry
    from hydra_gce.follow import background

    found = find_sweep(options.sweep, options, MINUTES)
    again = retry(found.backend, found.bucket, found.sweep, options.jobs)
    if not again:
        print(f"no job of sweep {found.sweep} has failed or was cancelled")
        return 0
    print(f"sweep {found.sweep}: begun again: {', '.join(f'job {num}' for num in again)}", flush=True)
    if options.no_wait:
        background.start(found.backend, found.bucket.name, found.sweep)
        print(f"hydra-gce attach {found.sweep} shows it")
        return 0
    options.sweep = found.sweep
    return attach.run(options)
