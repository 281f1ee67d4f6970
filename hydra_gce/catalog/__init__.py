"""What Compute Engine offers and for how much: facts in CSV files, sources in README.md.

The files are those beside this module, or the laptop's own after `hydra-gce setup --refresh`. Each table is read
when it is first asked for, and once. Nothing is decided here: `hydra_gce.machines` does.
"""

from __future__ import annotations

from decimal import Decimal
from functools import cache

from hydra_gce.catalog import shelf
from hydra_gce.catalog.tables import (
    GPU,
    Catalogue,
    HostRates,
    HourRates,
    ListedType,
    MonthRates,
    Parts,
    Source,
)

__all__ = [
    "GPU",
    "Catalogue",
    "HostRates",
    "HourRates",
    "ListedType",
    "MonthRates",
    "Parts",
    "Source",
    "accelerator_regions",
    "address_rates",
    "attachable",
    "catalogue",
    "disk_rates",
    "gpu_rates",
    "gpu_zones",
    "gpus",
    "host_rates",
    "machine_parts",
    "machine_types",
    "regions",
    "sources",
    "type_rates",
    "zones",
]


@cache
def catalogue() -> Catalogue:
    """The tables that count, chosen once for this process."""
    return Catalogue(shelf.place())


def zones() -> dict[str, str]:
    """zone -> its region."""
    return catalogue().zones


def regions() -> dict[str, tuple[str, ...]]:
    """region -> its zones."""
    return catalogue().regions


def machine_types() -> dict[str, ListedType]:
    """Predefined machine types by name."""
    return catalogue().machine_types


def machine_parts() -> dict[str, Parts]:
    """machine type -> what it brings beside vCPUs and memory, for the types that do."""
    return catalogue().machine_parts


def gpus() -> dict[str, GPU]:
    """GPU models by the name that people use."""
    return catalogue().gpus


def accelerator_regions() -> dict[str, tuple[str, ...]]:
    """The API's accelerator name -> the regions that have it."""
    return catalogue().accelerator_regions


def gpu_zones() -> dict[str, frozenset[str]]:
    """GPU -> zones where it has been seen. Regions of which no zone is listed may have it in any."""
    return catalogue().gpu_zones


def attachable() -> dict[str, dict[int, tuple[int, Decimal]]]:
    """GPU that attaches to N1 -> count -> (most vCPUs, most GB) that the VM may have with so many."""
    return catalogue().attachable


def host_rates() -> dict[str, dict[str, HostRates]]:
    """machine family -> region -> rates.

    Of a family's custom types "n1-custom", and of their extended memory "n1-extended", where they are known.
    """
    return catalogue().host_rates


def type_rates() -> dict[str, dict[str, HourRates]]:
    """machine type -> region -> its whole price, for the few types that are not billed by vCPU and GB."""
    return catalogue().type_rates


def gpu_rates() -> dict[str, dict[str, HourRates]]:
    """GPU -> region -> price of one. "1/8 RTX-PRO-6000": of that part of one, with its vCPUs and memory."""
    return catalogue().gpu_rates


def disk_rates() -> dict[str, dict[str, MonthRates]]:
    """disk type -> region -> price of a GB; local SSDs of C4, C4A and C4D are types of their own."""
    return catalogue().disk_rates


def address_rates() -> dict[str, Decimal]:
    """region -> US dollars an hour for the external IPv4 address of a running VM."""
    return catalogue().address_rates


def sources() -> dict[str, Source]:
    """basis of a price -> where it was read, and when."""
    return catalogue().sources
