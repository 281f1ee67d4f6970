"""A sweep's name, and the key that seals what belongs to it."""

from __future__ import annotations

import json
import logging
import os
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from random import SystemRandom

import hydra_gce
from hydra_gce.bucket import Bucket, SweepNames
from hydra_gce.cloud.backend import Backend
from hydra_gce.errors import GenerationMismatch
from hydra_gce.home import SweepRecord, sweep_records
from hydra_gce.keys import derived
from hydra_gce.names import sweep_name
from hydra_gce.settings import Settings

log = logging.getLogger(__name__)

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


def left_in(sweep_dir: Path, backend: Backend, bucket: Bucket) -> SweepRecord | None:
    """The newest sweep that was launched into this directory; None if there is none."""
    for record in sweep_records():
        here = (record.sweep_dir, record.backend, record.project, record.bucket)
        if here == (str(sweep_dir), backend.kind, backend.project, bucket.name):
            return record
    return None


def taken_up(record: SweepRecord) -> Identity:
    """The sweep of a record, as one that was begun before."""
    return Identity(SweepNames(record.sweep), bytes.fromhex(record.key), record.started, taken_up=True)


def note_end(identity: Identity, ended: float | None) -> None:
    """Writes down that all of the sweep's jobs have their results, or, with None, that there are more again."""
    _change(identity.names.sweep, lambda record: replace(record, ended=ended))


def note_watcher(sweep: str) -> None:
    """Writes down that this process watches the sweep from now on."""
    _change(sweep, lambda record: replace(record, pid=os.getpid(), watched=time.time(), ended=None))


def note_tracking(sweep: str, uri: str) -> None:
    """Writes down which MLflow store has the sweep's runs."""
    _change(sweep, lambda record: replace(record, tracking_uri=uri))


def store_of(sweep: str) -> str | None:
    """The MLflow store that has the sweep's runs, as this laptop knows; None where it does not."""
    return next((record.tracking_uri for record in sweep_records() if record.sweep == sweep), None)


def _change(sweep: str, change: Callable[[SweepRecord], SweepRecord]) -> None:
    with _RECORDS:
        for record in sweep_records():
            if record.sweep == sweep:
                try:
                    change(record).save()
                except OSError as error:  # a full disk: nothing that counts is lost, the bucket has all
                    log.warning("what this laptop knows of sweep %s could not be written: %s", sweep, error)


def register(
    backend: Backend, bucket: Bucket, settings: Settings, sweep_dir: Path, project_key: bytes | None = None
) -> Identity:
    """Takes a name that no sweep in this bucket has, and writes down there what was asked, and the key here.

    :param project_key: from which the sweep's follows; a key that is known here and on its VMs only, if None.
    """
    description = {
        "version": hydra_gce.__version__,
        "project": backend.project,
        "settings": asdict(settings),
        "sweep_dir": str(sweep_dir),
        "started": time.time(),
        "key": "project's" if project_key else "its own",
    }
    while True:
        names = SweepNames(sweep_name(SystemRandom()))
        try:
            bucket.write(names.description, json.dumps(description).encode(), if_generation=0)
            break
        except GenerationMismatch:
            continue
    key = derived(project_key, names.sweep) if project_key else secrets.token_bytes(32)
    identity = Identity(names, key, time.time())
    keep_record(identity, backend, bucket, sweep_dir)
    return identity


def keep_record(identity: Identity, backend: Backend, bucket: Bucket, sweep_dir: Path) -> SweepRecord:
    """Writes down here what this laptop has to know of a sweep that this process follows."""
    record = SweepRecord(
        sweep=identity.names.sweep,
        key=identity.key.hex(),
        backend=backend.kind,
        project=backend.project,
        bucket=bucket.name,
        sweep_dir=str(sweep_dir),
        started=identity.started,
        pid=os.getpid(),
    )
    record.save()
    return record
