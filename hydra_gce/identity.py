"""A sweep's name, and the key that seals what belongs to it."""

from __future__ import annotations

import json
import os
import secrets
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from random import SystemRandom

import hydra_gce
from hydra_gce.backend import Backend
from hydra_gce.bucket import Bucket, SweepNames
from hydra_gce.errors import GenerationMismatch
from hydra_gce.home import SweepRecord
from hydra_gce.names import sweep_name
from hydra_gce.settings import Settings


@dataclass(frozen=True)
class Identity:
    """The key is on the laptop and in the metadata of the sweep's VMs, and nowhere else."""

    names: SweepNames
    key: bytes
    started: float


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
