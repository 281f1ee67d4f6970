"""One batch of a sweep's jobs, with everything that is settled when the first VM is asked for."""

from __future__ import annotations

from dataclasses import dataclass

from hydra_gce.bucket import Bucket
from hydra_gce.cloud.backend import Backend
from hydra_gce.compute import Compute
from hydra_gce.compute.quotas import Quotas
from hydra_gce.identity import Identity
from hydra_gce.launch.plan import Plan
from hydra_gce.machines import Candidate
from hydra_gce.request import Order, order


@dataclass(frozen=True)
class Batch:
    """``compute`` is where the jobs run, ``bucket`` what they travel through; ``candidates`` are cheapest first."""

    backend: Backend
    compute: Compute
    bucket: Bucket
    identity: Identity
    plan: Plan
    candidates: list[Candidate]
    quotas: Quotas

    @property
    def order(self) -> Order:
        """For its VMs."""
        plan, backend = self.plan, self.backend
        return order(plan.settings, backend.project, plan.image, self.bucket.name, self.identity, plan.sent)
