"""``hydra-gce logs``: what the jobs of a sweep print."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from hydra_gce.cli import exits
from hydra_gce.cli.common import Verbs, add_json, add_sweep, find_sweep

if TYPE_CHECKING:
    from hydra_gce.found import FoundSweep
    from hydra_gce.logs import Line, Logs

PAUSE_S = 1.0
_QUIET_S = 60.0
"""After so long without trouble it is told again."""
_COLOURS = (36, 33, 32, 35, 34, 31)
_SINCE = re.compile(r"(\d+(?:\.\d+)?)\s*([smhd]?)")
_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def add(verbs: Verbs) -> None:
    verb = verbs.add_parser("logs", help="what the jobs of a sweep print")
    add_sweep(verb)
    verb.add_argument("-f", "--follow", action="store_true", help="go on until all jobs have ended")
    verb.add_argument(
        "--job", type=int, nargs="+", action="extend", metavar="N", help="only these; all if left out"
    )
    verb.add_argument("--attempt", type=int, metavar="K", help="only this attempt; the newest if left out")
    verb.add_argument(
        "--since", type=seconds, metavar="TIME", help="only what was printed in the last 90s, 10m, 2h, 1d"
    )
    add_json(verb)
    verb.set_defaults(run=run)


def seconds(text: str) -> float:
    """``90s``, ``10m``, ``2h``, ``1d``; a number alone is seconds."""
    match = _SINCE.fullmatch(text.strip())
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no time: 90s, 10m, 2h, 1d")
    return float(match[1]) * _UNITS[match[2]]


def run(options: argparse.Namespace) -> int:
    from hydra_gce.logs import Logs, tail

    found = find_sweep(options.sweep, options)
    since = None if options.since is None else time.time() - options.since
    wanted = (options.job, options.attempt, since)
    with Logs(found.bucket, found.sweep, *wanted, tell=_tell) as logs:
        show = _Shown(logs, options)
        over, lasts = _over(found, not options.job), _Patience(logs, options)
        for line in tail(logs, options.follow, _pause, over, lasts):
            show(line)
        _check_attempt(found, logs, options)
        failed = [one.num for one in logs.followed.values() if one.state.value == "FAILED"]
    return exits.JOB_FAILED if options.follow and failed else exits.DONE


class _Shown:
    """Prints lines: each with its job where there are several, and its attempt from the second one on."""

    def __init__(self, logs: Logs, options: argparse.Namespace) -> None:
        self._logs = logs
        self._json = options.json
        self._coloured = sys.stdout.isatty() and not os.environ.get("NO_COLOR")

    def __call__(self, line: Line) -> None:
        if self._json:
            print(json.dumps({"job": line.job, "attempt": line.attempt, "line": line.text}))
            return
        print(f"{self._prefix(line)}{line.text}")

    def _prefix(self, line: Line) -> str:
        if not self._logs.several:
            return ""
        whose = f"{line.job}.{line.attempt} | " if line.attempt > 1 else f"{line.job} | "
        if not self._coloured:
            return whose
        return f"\x1b[{_COLOURS[line.job % len(_COLOURS)]}m{whose}\x1b[0m"


class _Patience:
    """Waits for a network that is away, and for credentials that have run out: said once, until it is over."""

    def __init__(self, logs: Logs, options: argparse.Namespace) -> None:
        self._logs = logs
        self._options = options
        self._said = 0
        self._at = 0.0

    def __call__(self, error: Exception) -> bool:
        known = exits.of(error)
        if known is None or known[0] not in (exits.CREDENTIALS, exits.UNREACHABLE):
            return False
        code, line = known
        now = time.monotonic()
        if code != self._said or now - self._at > _QUIET_S:
            _tell(f"{line}. This goes on by itself once that is over")
        self._said, self._at = code, now
        if code == exits.CREDENTIALS:
            # Who has logged in again is somebody else: credentials in use are not read anew.
            with suppress(Exception):
                self._logs.bucket = find_sweep(self._options.sweep, self._options).bucket
        return True


def _check_attempt(found: FoundSweep, logs: Logs, options: argparse.Namespace) -> None:
    """:raises UnknownName: no job has had such an attempt."""
    from hydra_gce.errors import UnknownName

    most = max((one.attempt for one in logs.followed.values()), default=0)
    if options.attempt is not None and options.attempt > most and not options.follow:
        jobs = ", ".join(str(num) for num in options.job or [])
        whose = f"job {jobs} of sweep {found.sweep}" if jobs else f"sweep {found.sweep}"
        raise UnknownName(f"{whose} has no attempt {options.attempt}; the newest is {most}")


def _tell(line: str) -> None:
    print(f"hydra-gce: {line}", file=sys.stderr, flush=True)


def _pause() -> bool:
    """Waits a moment. False: nobody reads what is printed any more."""
    sys.stdout.flush()
    return not reader_has_gone(PAUSE_S)


def reader_has_gone(within_s: float) -> bool:
    """Whether the other end of stdout's pipe is closed: asked of the system, since nothing may be printed for hours."""
    import select

    try:
        descriptor = sys.stdout.fileno()
        waiting = select.poll()
        waiting.register(descriptor, 0)  # errors and hang-ups are always told
    except (OSError, ValueError, AttributeError):  # no file, or a system without poll()
        time.sleep(within_s)
        return False
    return bool(waiting.poll(within_s * 1000))


def _over(found: FoundSweep, all_jobs: bool) -> Callable[[Logs], bool]:
    """Whether no line follows: between two batches of a sweeper all jobs have ended, and others come."""
    from hydra_gce.coming_back.going import Going

    going = Going(found)
    return lambda logs: logs.all_ended and not (all_jobs and going())
