"""Google's price list as the Cloud Billing Catalog tells it: descriptions, units, tiers as they really are.

The descriptions are real ones as others have read them from the API (hydra_gce/catalog/skus.py names the sources).
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from hydra_gce.catalog.tables import Catalogue

Sku = dict[str, Any]

HOSTS = {
    "a2": "A2 Instance",
    "a3": "A3 Instance",
    "c2": "Compute optimized",
    "c2d": "C2D AMD Instance",
    "c4a": "C4A Arm Instance",
    "m1": "Memory-optimized Instance",
    "m3": "M3 Memory-optimized Instance",
    "n1": "N1 Predefined Instance",
    "n1-custom": "Custom Instance",
    "n2d": "N2D AMD Instance",
    "t2a": "T2A Arm Instance",
    "t2d": "T2D AMD Instance",
}
GPUS = {
    "A100": "Nvidia Tesla A100 GPU",
    "A100-80GB": "Nvidia Tesla A100 80GB GPU",
    "H100": "Nvidia H100 80GB GPU",
    "H100-MEGA": "Nvidia H100 80GB Plus GPU",
    "H200": "H200 141GB GPU",
    "L4": "Nvidia L4 GPU",
    "P100": "Nvidia Tesla P100 GPU",
    "P4": "Nvidia Tesla P4 GPU",
    "RTX-PRO-6000": "RTX 6000 96GB",
    "T4": "Nvidia Tesla T4 GPU",
    "V100": "Nvidia Tesla V100 GPU",
}
DISKS = {
    "local-ssd": "SSD backed Local Storage",
    "pd-balanced": "Balanced PD Capacity",
    "pd-ssd": "SSD backed PD Capacity",
    "pd-standard": "Storage PD Capacity",
}


def sku(
    description: str,
    price: Decimal | str,
    *regions: str,
    group: str = "CPU",
    usage: str = "OnDemand",
    unit: str = "h",
    family: str = "Compute",
    free: int = 0,
) -> Sku:
    """One SKU. free: how much of it a month is for nothing, which makes a tier of its own."""
    whole, _, rest = f"{Decimal(price):.9f}".partition(".")
    tiers = [
        {"startUsageAmount": free, "unitPrice": {"currencyCode": "USD", "units": whole, "nanos": int(rest)}}
    ]
    if free:
        nothing = {"currencyCode": "USD", "units": "0", "nanos": 0}
        tiers.insert(0, {"startUsageAmount": 0, "unitPrice": nothing})
    return {
        "name": "services/6F81-5844-456A/skus/0000-0000-0000",
        "skuId": "0000-0000-0000",
        "description": description,
        "category": {
            "serviceDisplayName": "Compute Engine",
            "resourceFamily": family,
            "resourceGroup": group,
            "usageType": usage,
        },
        "serviceRegions": list(regions),
        "pricingInfo": [
            {
                "summary": "",
                "pricingExpression": {
                    "usageUnit": unit,
                    "displayQuantity": 1,
                    "tieredRates": tiers,
                    "baseUnit": "s" if unit == "h" else "By.s",
                },
                "currencyConversionRate": 1,
                "effectiveTime": "2026-11-23T00:00:00Z",
            }
        ],
        "serviceProviderName": "Google",
    }


def price_list(known: Catalogue, on_demand: str = "1", spot: str = "1") -> list[Sku]:
    """A whole list: what the catalogue knows, times a factor, and the relatives that must not be mistaken for it."""
    factors = {False: Decimal(on_demand), True: Decimal(spot)}
    return [*_hosts(known, factors), *_gpus(known, factors), *_disks(known, factors), *RELATIVES]


def _hosts(known: Catalogue, factors: dict[bool, Decimal]) -> Iterator[Sku]:
    for family, regions in known.host_rates.items():
        name = HOSTS.get(family, f"{family.upper()} Instance")
        for region, one in regions.items():
            for part, rates in (("Core", (one.vcpu, one.vcpu_spot)), ("Ram", (one.gb, one.gb_spot))):
                for spot, rate in zip((False, True), rates, strict=True):
                    if rate is not None and family != "m2":
                        yield sku(
                            f"{'Spot Preemptible ' * spot}{name} {part} running in {region.title()}",
                            rate * factors[spot],
                            region,
                            group="N1Standard" if family == "n1" else "CPU" if part == "Core" else "RAM",
                            usage="Preemptible" if spot else "OnDemand",
                            unit="h" if part == "Core" else "GiBy.h",
                        )


def _gpus(known: Catalogue, factors: dict[bool, Decimal]) -> Iterator[Sku]:
    for gpu, name in GPUS.items():
        for region, one in known.gpu_rates[gpu].items():
            for spot, rate in ((False, one.hour), (True, one.hour_spot)):
                if rate is not None:
                    how = " attached to Spot Preemptible VMs" * spot
                    usage = "Preemptible" if spot else "OnDemand"
                    text = f"{name}{how} running in {region.title()}"
                    yield sku(text, rate * factors[spot], region, group="GPU", usage=usage)


def _disks(known: Catalogue, factors: dict[bool, Decimal]) -> Iterator[Sku]:
    for disk, name in DISKS.items():
        for region, one in known.disk_rates[disk].items():
            # 30 GB of pd-standard are free in three regions.
            free = 30 if (disk, region) == ("pd-standard", "us-central1") else 0
            storage = {"group": "SSD", "family": "Storage", "unit": "GiBy.mo"}
            price = one.gb_month * factors[False]
            yield sku(f"{name} in {region.title()}", price, region, free=free, **storage)


HERE = "us-central1"

RELATIVES = [
    sku(
        "Commitment v1: N1 Predefined Instance Core running in Americas for 1 Year",
        "9",
        HERE,
        usage="Commit1Yr",
    ),
    sku("Commitment v1: Nvidia Tesla T4 GPU running in Americas for 3 Years", "9", HERE, usage="Commit3Yr"),
    sku("Reserved Nvidia Tesla A100 GPU in Americas", "0", HERE, group="GPU"),
    sku("Reserved Nvidia H100 80GB Mega GPU in Americas in Calendar Mode", "9", HERE, group="GPU"),
    sku("Nvidia Tesla T4 GPU attached to Sole Tenancy VMs running in Americas", "9", HERE, group="GPU"),
    sku("DWS Calendar Mode A2 Core running in Americas", "9", HERE),
    sku("DWS Calendar Mode H4D Instance Core running in Americas", "9", HERE),
    sku("Sole Tenancy Instance Core running in Americas", "9", HERE),
    sku("N2 Sole Tenancy Instance Core running in Americas", "9", HERE),
    sku("N2 Instance Core running in Americas", "9", HERE, unit="mo"),
    sku("Regional Balanced PD Capacity in Americas", "9", HERE, group="SSD", unit="GiBy.mo"),
    sku(
        "Licensing Fee for Windows Server 2012 BYOL (CPU cost)",
        "9",
        "global",
        group="Google",
        family="License",
    ),
    sku("Network Vpn Internet Egress from Americas to Africa", "9", HERE, family="Network", unit="GiBy"),
]
