"""One batch of a sweep's jobs, with everything that is settled when the first VM is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hydra_gce.backend import Backend
from hydra_gce.bucket import Bucket
from hydra_gce.cargo.pack import Cargo
from hydra_gce.compose import Point
from hydra_gce.compute import Compute
from hydra_gce.identity import Identity
from hydra_gce.machines import Candidate
from hydra_gce.quotas import Quotas
from hydra_gce.request import Order
from hydra_gce.tracking.mode import Mode


@dataclass(frozen=True)
class Batch:
    """``compute`` is where the jobs run, ``bucket`` what they travel through; ``candidates`` are cheapest first.

    ``mode`` is how MLflow's records travel.
    """

    backend: Backend
    compute: Compute
    bucket: Bucket
    identity: Identity
    order: Order
    candidates: list[Candidate]
    quotas: Quotas
    points: list[Point]
    packed: Cargo
    sweep_dir: Path
    mode: Mode
