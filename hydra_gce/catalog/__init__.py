"""What Compute Engine offers and for how much: facts in CSV files beside this module, sources in README.md.

Each table is read when it is first asked for, and once. Nothing is decided here: `hydra_gce.machines` does.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import cache
from importlib.resources import files


@dataclass(frozen=True)
class ListedType:
    """A predefined machine type as `gcloud compute machine-types list` shows it."""

    name: str
    vcpus: int
    memory_gb: Decimal
    shared_core: bool
    regions: tuple[str, ...]


@dataclass(frozen=True)
class Parts:
    """What a type brings beside vCPUs and memory, and what it is billed for where that is not what it shows.

    A g4-standard-6 brings an eighth of a GPU. An e2-micro shows 2 vCPUs and is billed for a quarter of one.
    """

    gpu: str | None
    gpu_count: Decimal
    local_ssd_gb: int
    billed_vcpus: Decimal | None
    billed_gb: Decimal | None


@dataclass(frozen=True)
class GPU:
    """A GPU model: the name that people use, the API's name for it, and the memory of one.

    quota: the regional quota that counts it on demand; None where it has no metric of its own in the API.
    """

    name: str
    accelerator: str
    memory_gb: int
    quota: str | None
    also_called: tuple[str, ...]


@dataclass(frozen=True)
class HostRates:
    """US dollars an hour for a vCPU and a GB of a machine family in one region; None = not sold so."""

    vcpu: Decimal | None
    gb: Decimal | None
    vcpu_spot: Decimal | None
    gb_spot: Decimal | None


@dataclass(frozen=True)
class HourRates:
    """US dollars an hour on demand and as spot; None = not known. `basis` names a row of sources()."""

    hour: Decimal | None
    hour_spot: Decimal | None
    basis: str


@dataclass(frozen=True)
class MonthRates:
    """US dollars a month (of 730 hours) for one GB of a disk."""

    gb_month: Decimal
    gb_month_spot: Decimal | None
    basis: str


@dataclass(frozen=True)
class Source:
    """Where a price was read, and as of which day."""

    date: date
    source: str


@cache
def zones() -> dict[str, str]:
    """zone -> its region."""
    return {zone: region for name in ("zones.csv", "newer-zones.csv") for zone, region in _rows(name)}


@cache
def regions() -> dict[str, tuple[str, ...]]:
    """region -> its zones."""
    found: dict[str, list[str]] = {}
    for zone, region in zones().items():
        found.setdefault(region, []).append(zone)
    return {region: tuple(sorted(members)) for region, members in sorted(found.items())}


@cache
def machine_types() -> dict[str, ListedType]:
    """Predefined machine types by name."""
    return {
        name: ListedType(name, int(vcpus), Decimal(memory), shared == "true", tuple(where.split()))
        for name, vcpus, memory, shared, where in _rows("machine-types.csv")
    }


@cache
def machine_parts() -> dict[str, Parts]:
    """machine type -> what it brings beside vCPUs and memory, for the types that do."""
    return {
        name: Parts(gpu or None, Decimal(count or 0), int(ssd or 0), _decimal(vcpus), _decimal(gb))
        for name, gpu, count, ssd, vcpus, gb in _rows("machine-parts.csv")
    }


@cache
def gpus() -> dict[str, GPU]:
    """GPU models by the name that people use."""
    return {
        name: GPU(name, accelerator, int(memory), quota or None, tuple(aliases.split()))
        for name, accelerator, memory, quota, aliases in _rows("gpus.csv")
    }


@cache
def accelerator_regions() -> dict[str, tuple[str, ...]]:
    """The API's accelerator name -> the regions that have it."""
    return {name: tuple(where.split()) for name, where in _rows("accelerator-types.csv")}


@cache
def gpu_zones() -> dict[str, frozenset[str]]:
    """GPU -> zones where it has been seen. Regions of which no zone is listed may have it in any."""
    found: dict[str, set[str]] = {}
    for gpu, zone in _rows("gpu-zones.csv"):
        found.setdefault(gpu, set()).add(zone)
    return {gpu: frozenset(members) for gpu, members in found.items()}


@cache
def attachable() -> dict[str, dict[int, tuple[int, Decimal]]]:
    """GPU that attaches to N1 -> count -> (most vCPUs, most GB) that the VM may have with so many."""
    found: dict[str, dict[int, tuple[int, Decimal]]] = {}
    for gpu, count, vcpus, memory in _rows("attachable.csv"):
        found.setdefault(gpu, {})[int(count)] = (int(vcpus), Decimal(memory))
    return found


@cache
def host_rates() -> dict[str, dict[str, HostRates]]:
    """machine family -> region -> rates. The family of custom N1 types is "n1-custom"."""
    found: dict[str, dict[str, HostRates]] = {}
    for family, region, *rates in _rows("host-rates.csv"):
        found.setdefault(family, {})[region] = HostRates(*map(_decimal, rates))
    return found


@cache
def type_rates() -> dict[str, dict[str, HourRates]]:
    """machine type -> region -> its whole price, for the few types that are not billed by vCPU and GB."""
    found: dict[str, dict[str, HourRates]] = {}
    for name, region, hour, spot in _rows("type-rates.csv"):
        found.setdefault(name, {})[region] = HourRates(_decimal(hour), _decimal(spot), "cyclenerd")
    return found


@cache
def gpu_rates() -> dict[str, dict[str, HourRates]]:
    """GPU -> region -> price of one."""
    found: dict[str, dict[str, HourRates]] = {}
    for gpu, region, hour, spot, basis in _rows("gpu-rates.csv"):
        found.setdefault(gpu, {})[region] = HourRates(_decimal(hour), _decimal(spot), basis)
    return found


@cache
def disk_rates() -> dict[str, dict[str, MonthRates]]:
    """disk type -> region -> price of a GB; local SSDs of C4, C4A and C4D are types of their own."""
    found: dict[str, dict[str, MonthRates]] = {}
    for disk, region, month, spot, basis in _rows("disk-rates.csv"):
        found.setdefault(disk, {})[region] = MonthRates(Decimal(month), _decimal(spot), basis)
    return found


@cache
def address_rates() -> dict[str, Decimal]:
    """region -> US dollars an hour for the external IPv4 address of a running VM."""
    return {region: Decimal(hour) for region, hour in _rows("address-rates.csv")}


@cache
def sources() -> dict[str, Source]:
    """basis of a price -> where it was read, and when."""
    return {basis: Source(date.fromisoformat(day), text) for basis, day, text in _rows("sources.csv")}


def _rows(name: str) -> Iterator[list[str]]:
    text = files(__name__).joinpath(name).read_text(encoding="utf-8")
    rows = csv.reader(text.splitlines())
    next(rows)
    return rows


def _decimal(text: str) -> Decimal | None:
    return Decimal(text) if text else None
