"""Which Compute Engine VM meets a request, where it can be had, and what it costs.

Pure: no network, no Google library, no clock. It decides from `hydra_gce.catalog` alone, so that a mistake in
a config is found before anything is started, and an estimate costs nothing.

    resolve(VMRequest(gpu="T4", provisioning="spot"))[0]     # the cheapest place
    offers("A100", spot=True)                                # rows for a table
    estimate(candidates, hours=2)                            # (least, most) dollars
    cost(candidate, seconds=754)                             # what it came to
"""

from hydra_gce.machines.choose import Offer, contradictions, cost, estimate, offers, resolve
from hydra_gce.machines.prices import Price, dollars
from hydra_gce.machines.request import (
    DEFAULT_MACHINE_TYPE,
    PROVISIONINGS,
    Accelerator,
    Candidate,
    ProvisioningModel,
    VMRequest,
)
from hydra_gce.machines.shapes import Shape, shape_of

__all__ = [
    "DEFAULT_MACHINE_TYPE",
    "PROVISIONINGS",
    "Accelerator",
    "Candidate",
    "Offer",
    "Price",
    "ProvisioningModel",
    "Shape",
    "VMRequest",
    "contradictions",
    "cost",
    "dollars",
    "estimate",
    "offers",
    "resolve",
    "shape_of",
]
