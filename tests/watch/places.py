"""Where the watched sweeps of these tests may run, and how places refuse them."""

from __future__ import annotations

from collections.abc import Callable

from hydra_gce.machines import VMRequest, resolve
from tests.compute_stub import Failed
from tests.scene import Scene

PLACES = resolve(VMRequest(machine_type="e2-micro", zones=["us-central1-[ab]"]))
STOCKOUT = Failed("ZONE_RESOURCE_POOL_EXHAUSTED", "The zone does not have enough resources.")
NO_QUOTA = Failed("QUOTA_EXCEEDED", "Quota 'CPUS' exceeded.  Limit: 0.0 in region us-central1.")

Opened = Callable[..., Scene]
