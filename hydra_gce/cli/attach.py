"""``hydra-gce attach``: back to a sweep that runs, or to what it has come to."""

from __future__ import annotations

import argparse

from hydra_gce.cli.common import Verbs, add_sweep


def add(verbs: Verbs) -> None:
    verb = verbs.add_parser("attach", help="come back to a sweep, from here or another machine")
    add_sweep(verb)
    verb.add_argument("--to", help="where its outputs go; where its launch would have them if left out")
    verb.add_argument(
        "--json", action="store_true", help="what each job returned, for programs; the rest on stderr"
    )
    verb.add_argument("--in-background", action="store_true", help=argparse.SUPPRESS)
    verb.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    import json
    import os
    import sys
    from pathlib import Path

    from hydra_gce.cli.common import MINUTES, find_sweep
    from hydra_gce.coming_back.rejoin import attach, returns
    from hydra_gce.follow import background
    from hydra_gce.follow.interrupt import INTERRUPTED, Detached
    from hydra_gce.jobs import JobState

    if options.in_background:
        background.hear_interrupts()
    found = find_sweep(options.sweep, options, MINUTES)
    try:
        watch = attach(
            found.backend,
            found.bucket,
            found.sweep,
            os.environ,
            Path(options.to) if options.to else None,
            options.in_background,
            sys.stderr if options.json else sys.stdout,
        )
    except Detached:
        return 0 if options.in_background else INTERRUPTED
    if options.json:
        print(json.dumps({"sweep": found.sweep, "jobs": returns(watch)}, indent=1))
    tracks = watch.tracks.values()
    if any(track.collected is not None and track.collected.uncollected is not None for track in tracks):
        return 1  # it is said already
    return 0 if all(track.state is JobState.COMPLETED for track in watch.tracks.values()) else 4
