"""A sweep's name, and the key that seals what belongs to it."""

from __future__ import annotations

import json
import os
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from random import SystemRandom

import hydra_gce
from hydra_gce.backend import Backend
from hydra_gce.bucket import Bucket, SweepNames
from hydra_gce.errors import GenerationMismatch
from hydra_gce.home import SweepRecord, sweep_records
from hydra_gce.names import sweep_name
from hydra_gce.settings import Settings

_RECORDS = threading.Lock()  # the relay's thread writes to them, too


@dataclass(frozen=True)
class Identity:
    """The key is on the laptop and in the metadata of the sweep's VMs, and nowhere else.

    ``taken_up``: a launch before this one began the sweep and did not come to its end.
    """

    names: SweepNames
    key: bytes
    started: float
    taken_up: bool = False


def left_in(sweep_dir: Path, backend: Backend, bucket: Bucket) -> Identity | None:
    """The sweep that a launch in this directory began and did not bring to its end, taken up; None if there is none.

    Nobody else is at work in the directory: see ``only_launch_in``.
    """
    for record in sweep_records():
        here = (record.sweep_dir, record.backend, record.project, record.bucket)
        if here == (str(sweep_dir), backend.kind, backend.project, bucket.name):
            if record.ended is not None:
                return None
            replace(record, pid=os.getpid()).save()
            return Identity(
                SweepNames(record.sweep), bytes.fromhex(record.key), record.started, taken_up=True
            )
    return None


def note_end(identity: Identity, ended: float | None) -> None:
    """Writes down that all of the sweep's jobs have their results, or, with None, that there are more again."""
    _change(identity.names.sweep, lambda record: replace(record, ended=ended))


def note_tracking(sweep: str, uri: str) -> None:
    """Writes down which MLflow store has the sweep's runs."""
    _change(sweep, lambda record: replace(record, tracking_uri=uri))


def _change(sweep: str, change: Callable[[SweepRecord], SweepRecord]) -> None:
    with _RECORDS:
        for record in sweep_records():
            if record.sweep == sweep:
                change(record).save()


def register(backend: Backend, bucket: Bucket, settings: Settings, sweep_dir: Path) -> Identity:
    """Takes a name that no sweep in this bucket has, and writes down there what was asked, and the key here."""
    description = {
        "version": hydra_gce.__version__,
        "project": backend.project,
        "settings": asdict(settings),
        "sweep_dir": str(sweep_dir),
        "started": time.time(),
    }
    while True:
        names = SweepNames(sweep_name(SystemRandom()))
        try:
            bucket.write(names.description, json.dumps(description).encode(), if_generation=0)
            break
        except GenerationMismatch:
            continue
    identity = Identity(names, secrets.token_bytes(32), time.time())
    SweepRecord(
        sweep=names.sweep,
        key=identity.key.hex(),
        backend=backend.kind,
        project=backend.project,
        bucket=bucket.name,
        sweep_dir=str(sweep_dir),
        started=identity.started,
        pid=os.getpid(),
    ).save()
    return identity
