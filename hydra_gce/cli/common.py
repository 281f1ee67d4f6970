"""What the verbs share: which Compute Engine, which sweep, how a program reads them."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import Console
    from rich.text import Text

    from hydra_gce.cloud.backend import Backend
    from hydra_gce.found import FoundSweep
    from hydra_gce.home import SweepRecord

TRY_FOR_S = 20.0
"""A person waits before the screen."""
MINUTES = 120.0

Verbs = Any  # argparse has no public name for what add_subparsers returns


def add_backend(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--backend", choices=("auto", "cloud", "local"), default="auto")
    verb.add_argument("--project", help="the Google Cloud project")


def add_place(verb: argparse.ArgumentParser) -> None:
    """Where a sweep lies that this machine knows nothing of."""
    add_backend(verb)
    verb.add_argument("--bucket", help="where it lies, for a sweep that this machine knows nothing of")


def add_sweep(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("sweep", nargs="?", default="last", help='its name; "last" if left out')
    add_place(verb)


def add_json(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--json", action="store_true", help="for programs (docs/commands.md)")


def print_lines(console: Console, lines: Iterable[Text]) -> None:
    """In a pipe without rich's part in it, which takes longer than all else for a thousand lines."""
    for line in lines:
        if console.is_terminal:
            console.print(line, soft_wrap=True)
        else:
            print(line.plain)


def print_json(content: Any) -> None:
    print(json.dumps(content, indent=1))


def _read_ahead() -> None:
    """Google's client is imported while a process, or an answer, is waited for."""
    import threading
    from importlib import import_module

    threading.Thread(target=import_module, args=("google.cloud.storage",), daemon=True).start()


def connect(options: argparse.Namespace) -> Backend:
    from hydra_gce.cloud.backend import connect as connect_backend

    _read_ahead()
    return connect_backend(options.backend, options.project)


def tell_if_embedded(options: argparse.Namespace, backend: Backend) -> None:
    """Who has no project yet learns that this was none, and how he comes to one."""
    if options.backend == "auto" and backend.kind == "local":
        print(
            "No Google Cloud project was found: this is the embedded Compute Engine. With a project of your own:"
            " gcloud auth application-default login, and --project <project id>",
            file=sys.stderr,
        )


def connect_to(record: SweepRecord) -> Backend:
    from hydra_gce.cloud.backend import connect

    _read_ahead()
    return connect(record.backend, record.project)


def find_sweep(name: str, options: argparse.Namespace, try_for_s: float = TRY_FOR_S) -> FoundSweep:
    """By this machine's record; where it has none, or ``--project`` or ``--bucket`` name another place, in the bucket.

    :param try_for_s: for so many seconds a request is tried again that nobody answers.
    :raises UnknownName: there is none of that name; the message has the nearest.
    """
    from hydra_gce.bucket import Bucket
    from hydra_gce.cloud.backend import local_is_empty
    from hydra_gce.errors import UnknownName
    from hydra_gce.found import LAST, FoundSweep, did_you_mean, find
    from hydra_gce.home import sweep_records

    def patience() -> float:
        return try_for_s

    records = [record for record in sweep_records() if _is_asked_for(record, options)]
    for record in records[:1] if name == LAST else records:
        if name in (LAST, record.sweep):
            backend = connect_to(record)
            return FoundSweep(
                record.sweep, backend, Bucket(backend.storage.bucket(record.bucket), patience), record
            )
    if local_is_empty(options.backend, options.project):
        # Asking would start it, and there is nothing in it.
        known = [record.sweep for record in records]
        raise UnknownName(f"there is no sweep {name!r} here.{did_you_mean(name, known)}")
    backend = connect(options)
    # To look at a sweep is no reason to make a bucket.
    bucket = Bucket(backend.storage.bucket(options.bucket or backend.default_bucket), patience)
    return find(name, records, backend, bucket)


def _is_asked_for(record: SweepRecord, options: argparse.Namespace) -> bool:
    return (
        options.backend in ("auto", record.backend)
        and options.project in (None, record.project)
        and options.bucket in (None, record.bucket)
    )


def record_of(name: str) -> SweepRecord:
    """The laptop's record of a sweep.

    :raises UnknownName: it has none by that name; the message has the nearest.
    """
    from hydra_gce.errors import UnknownName
    from hydra_gce.found import LAST, did_you_mean
    from hydra_gce.home import sweep_records

    records = sweep_records()
    if name == LAST and records:
        return records[0]
    for record in records:
        if record.sweep == name:
            return record
    raise UnknownName(f"there is no sweep {name!r} here.{did_you_mean(name, (one.sweep for one in records))}")


def sweep_and_job(words: Sequence[str], usage: str) -> tuple[str, int, list[str]]:
    """``[SWEEP] JOB [WORD ...]``: a number in the first place is a job of the last sweep.

    :raises ConfigError: there is no job in it.
    """
    from hydra_gce.errors import ConfigError

    if words and words[0].isdigit():
        return "last", int(words[0]), list(words[1:])
    if len(words) >= 2 and words[1].isdigit():
        return words[0], int(words[1]), list(words[2:])
    raise ConfigError(f"{usage}: which job? Its number, as in hydra-gce show")
