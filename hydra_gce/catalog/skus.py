"""Google's price list: from a SKU of the Cloud Billing Catalog to the rate that it is.

A SKU's meaning stands in its description alone ("Spot Preemptible N2 Instance Core running in Americas"): what is
known is matched from its first to its last word, so that its many relatives (commitments, reservations, sole tenancy)
never pass for it. Descriptions and units as others read them from the API:
https://github.com/Cyclenerd/google-cloud-pricing-cost-calculator/blob/master/build/mapping.csv
https://github.com/skypilot-org/skypilot/blob/master/sky/catalog/data_fetchers/fetch_gcp.py
The form of a SKU: https://cloud.google.com/billing/docs/reference/rest/v1/services.skus
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

FLEX = "-flex"
"""Ends the names of rates at which flex-start is sold: "a2-flex", "A100-flex", "local-ssd-flex"."""

COMPUTE_ENGINE = "6F81-5844-456A"

# Flex-start is sold as the Dynamic Workload Scheduler's "defined duration"; seen of A2, A3, H4D, GPUs, SSDs.
_FLEX = re.compile(r"^DWS (?:Defined Duration|Flex Start) | attached to DWS Defined Duration VMs")
_SPOT = re.compile(r"^(?:Spot )?Preemptible | attached to Spot Preemptible VMs")
_HOST = re.compile(r"(?P<name>.+) (?P<part>Core|Ram|RAM) running in .+")
_FAMILY = re.compile(
    r"(?P<family>[A-Z]\d+[A-Z]{0,2})(?: AMD| Arm)?(?P<custom> Custom)?(?P<extended> Extended)? Instance"
)
_LOCAL_SSD = re.compile(r"(?P<family>[A-Z]\d+[A-Z]{0,2}) Instance Local SSD running in .+")
_PLACE = re.compile(r" (?:running )?in .+$")

_HOSTS = {
    "A3Plus Instance": "a3-mega",
    "A3Ultra Instance": "a3-ultra",
    "Compute optimized Instance": "c2",
    "Compute optimized": "c2",
    "Custom Extended Instance": "n1-extended",
    "Custom Instance": "n1-custom",
    "M3 Memory-optimized Instance": "m3",
    "Memory Optimized Upgrade Premium for Memory-optimized Instance": "m2-premium",
    "Memory-optimized Instance": "m1",
    "N1 Predefined Instance": "n1",
}
_GPUS = {
    "1/8 vGPU no lssd": "1/8 RTX-PRO-6000",
    "A4 Nvidia B200 (1 gpu slice)": "B200",
    "H200 141GB GPU": "H200",
    "Nvidia B200 (1 gpu slice)": "B200",
    "Nvidia H100 80GB GPU": "H100",
    "Nvidia H100 80GB Mega GPU": "H100-MEGA",
    "Nvidia H100 80GB Plus GPU": "H100-MEGA",
    "Nvidia H100 Mega 80GB GPU": "H100-MEGA",
    "Nvidia H200 141GB GPU": "H200",
    "Nvidia L4 GPU": "L4",
    "Nvidia Tesla A100 80GB GPU": "A100-80GB",
    "Nvidia Tesla A100 GPU": "A100",
    "Nvidia Tesla P100 GPU": "P100",
    "Nvidia Tesla P4 GPU": "P4",
    "Nvidia Tesla T4 GPU": "T4",
    "Nvidia Tesla V100 GPU": "V100",
    "RTX 6000 96GB": "RTX-PRO-6000",
}
_DISKS = {
    "Balanced PD Capacity": "pd-balanced",
    "Hyperdisk Balanced Capacity": "hyperdisk-balanced",
    "SSD backed Local Storage": "local-ssd",
    "SSD backed PD Capacity": "pd-ssd",
    "Storage PD Capacity": "pd-standard",
}
_TYPES = {"Micro Instance with burstable CPU": "f1-micro", "Small Instance with 1 VCPU": "g1-small"}
_ADDRESS = "External IP Charge on a Standard VM"

# A GB is told in both units. The price list does not tell them apart: a3-highgpu-8g's 88.490000 dollars are 1,872 times
# the rate "per gigabyte hour" of its memory, and that is 1,872 GiB.
_UNITS = {
    "vcpu": {"h"},
    "gb": {"GiBy.h", "GBy.h"},
    "gpu": {"h"},
    "type": {"h"},
    "disk": {"GiBy.mo", "GBy.mo"},
    "address": {"h"},
}


@dataclass(frozen=True)
class Item:
    """What is sold. kind: vcpu or gb (name: a machine family), gpu, type, disk or address."""

    kind: str
    name: str
    spot: bool


Rates = dict[Item, dict[str, Decimal]]
"""What is sold -> region (or "global") -> US dollars an hour; of disks, a GB and month."""


def rates_of(skus: Iterable[Mapping[str, Any]]) -> Rates:
    """The rates among these SKUs. Where two have the same, the dearer one counts: an estimate may err that way only.

    A SKU in an unknown form or unit is left out.
    """
    found: Rates = {}
    for sku in skus:
        item, price = item_of(sku), None
        if item is not None:
            price = _price(sku, _UNITS[item.kind])
        if item is None or price is None:
            continue
        regions = found.setdefault(item, {})
        for region in sku.get("serviceRegions", []):
            regions[region] = max(price, regions.get(region, price))
    return found


def item_of(sku: Mapping[str, Any]) -> Item | None:
    """What a SKU sells; None where it is nothing that a VM of ours is billed for."""
    category = sku.get("category", {})
    if category.get("usageType") not in ("OnDemand", "Preemptible"):
        return None
    description = str(sku.get("description", ""))
    # Spot B200s are told as OnDemand: the description decides.
    spot = category["usageType"] == "Preemptible" or _SPOT.search(description) is not None
    described = _SPOT.sub("", description).strip()
    if _FLEX.search(described) is None:
        return _host(described, spot) or _other(described, spot)
    described = _FLEX.sub("", described)
    item = _host(described, spot, " Instance") or _other(described, spot)
    return None if item is None or spot else Item(item.kind, f"{item.name}{FLEX}", False)


def _host(described: str, spot: bool, unsaid: str = "") -> Item | None:
    """unsaid: what the names of hosts lack where they are sold in this way."""
    match = _HOST.fullmatch(described)
    if match is None:
        return None
    name = match["name"].removesuffix(unsaid) + unsaid
    return _host_named(name, match["part"], spot)


def _host_named(said: str, part: str, spot: bool) -> Item | None:
    name = _HOSTS.get(said)
    if name is None:
        family = _FAMILY.fullmatch(said)
        if family is None or (family["extended"] and not family["custom"]):
            return None
        kind = "-extended" if family["extended"] else "-custom" if family["custom"] else ""
        name = f"{family['family'].lower()}{kind}"
    return Item("vcpu" if part == "Core" else "gb", name, spot)


def _other(described: str, spot: bool) -> Item | None:
    local_ssd = _LOCAL_SSD.fullmatch(described)
    if local_ssd is not None:
        return Item("disk", f"local-ssd-{local_ssd['family'].lower()}", spot)
    what = _PLACE.sub("", described)
    for kind, names in (("gpu", _GPUS), ("disk", _DISKS), ("type", _TYPES)):
        if what in names:
            return Item(kind, names[what], spot)
    # Of the two charges for an address the one of standard VMs is taken for all.
    return Item("address", "", False) if described == _ADDRESS else None


def _price(sku: Mapping[str, Any], units: set[str]) -> Decimal | None:
    """US dollars for one unit, of the last tier: the first may be a free allowance. None where it is not told."""
    timeline = sku.get("pricingInfo") or [{}]
    expression = timeline[-1].get("pricingExpression", {})
    tiers = expression.get("tieredRates") or [{}]
    unit_price = tiers[-1].get("unitPrice", {})
    if expression.get("usageUnit") not in units or unit_price.get("currencyCode", "USD") != "USD":
        return None
    price = Decimal(unit_price.get("units") or 0) + Decimal(unit_price.get("nanos") or 0).scaleb(-9)
    return price if price > 0 else None
