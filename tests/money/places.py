"""Places at round prices: the catalogue's own may change."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal
from functools import cache

from hydra_gce.machines import Candidate, Price, ProvisioningModel, VMRequest, resolve


@cache
def place(
    hourly: str,
    zone: str = "us-central1-a",
    model: ProvisioningModel = ProvisioningModel.SPOT,
    estimated: bool = False,
) -> Candidate:
    """An n1-standard-4 with a T4."""
    found = resolve(VMRequest(gpu="T4", provisioning="spot", zones=["us-central1-a"]))[0]
    price = Price(host=Decimal(hourly), date=date(2026, 7, 30), source="a price list", estimated=estimated)
    return replace(found, zone=zone, region=zone.rpartition("-")[0], model=model, price=price)
