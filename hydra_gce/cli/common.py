"""What the verbs share: which Compute Engine, which sweep."""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hydra_gce.errors import ConfigError

if TYPE_CHECKING:
    from hydra_gce.backend import Backend
    from hydra_gce.bucket import Bucket
    from hydra_gce.home import SweepRecord

Verbs = Any  # argparse has no public name for what add_subparsers returns


def add_backend(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--backend", choices=("auto", "cloud", "local"), default="auto")
    verb.add_argument("--project", help="the Google Cloud project")


def connect(options: argparse.Namespace) -> Backend:
    from hydra_gce.backend import connect as connect_backend

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
    from hydra_gce.backend import connect

    return connect(record.backend, record.project)


@dataclass(frozen=True)
class Found:
    """A sweep, and where it is."""

    sweep: str
    backend: Backend
    bucket: Bucket


def find_sweep(name: str, options: argparse.Namespace) -> Found:
    """By this laptop's record; else in the bucket that the options name, or the project's own.

    :raises ConfigError: there is none by that name.
    """
    from hydra_gce.bucket import Bucket, SweepNames
    from hydra_gce.home import sweep_records

    known = [record.sweep for record in sweep_records()]
    if name == "last" or name in known:
        record = record_of(name)
        backend = connect_to(record)
        return Found(record.sweep, backend, Bucket(backend.storage.bucket(record.bucket)))
    backend = connect(options)
    bucket = Bucket(backend.storage.bucket(options.bucket or backend.default_bucket))
    if bucket.find(SweepNames(name).description) is None:
        record_of(name)  # says what there is
    return Found(name, backend, bucket)


def record_of(name: str) -> SweepRecord:
    """The laptop's record of a sweep.

    :raises ConfigError: it has none by that name; the message has the nearest.
    """
    import difflib

    from hydra_gce.home import sweep_records

    records = sweep_records()
    if name == "last" and records:
        return records[0]
    for record in records:
        if record.sweep == name:
            return record
    near = difflib.get_close_matches(name, [record.sweep for record in records], n=3, cutoff=0.4)
    hint = f" Did you mean {' or '.join(near)}?" if near else " hydra-gce ls --all shows those there are."
    raise ConfigError(f"there is no sweep {name!r} here.{hint}")
