"""The catalogue's tables, read from CSV files when they are first asked for, and once."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import cached_property
from pathlib import Path

from hydra_gce.catalog import shelf

MADE = "cyclenerd"
"""The basis of rows that name none: scripts/make_catalog.py makes them from one source."""


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
    basis: str = MADE


@dataclass(frozen=True)
class HourRates:
    """US dollars an hour on demand and as spot; None = not known. `basis` names a row of sources()."""

    hour: Decimal | None
    hour_spot: Decimal | None
    basis: str = MADE


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


class Catalogue:
    """All tables of one place."""

    def __init__(self, where: Path) -> None:
        self._where = where

    @cached_property
    def zones(self) -> dict[str, str]:
        """zone -> its region."""
        return {zone: region for name in ("zones", "newer-zones") for zone, region in self._rows(name)}

    @cached_property
    def regions(self) -> dict[str, tuple[str, ...]]:
        """region -> its zones."""
        found: dict[str, list[str]] = {}
        for zone, region in self.zones.items():
            found.setdefault(region, []).append(zone)
        return {region: tuple(sorted(members)) for region, members in sorted(found.items())}

    @cached_property
    def machine_types(self) -> dict[str, ListedType]:
        """Predefined machine types by name."""
        return {
            name: ListedType(name, int(vcpus), Decimal(memory), shared == "true", tuple(where.split()))
            for name, vcpus, memory, shared, where in self._rows("machine-types")
        }

    @cached_property
    def machine_parts(self) -> dict[str, Parts]:
        """machine type -> what it brings beside vCPUs and memory, for the types that do."""
        return {
            name: Parts(gpu or None, Decimal(count or 0), int(ssd or 0), _decimal(vcpus), _decimal(gb))
            for name, gpu, count, ssd, vcpus, gb in self._rows("machine-parts")
        }

    @cached_property
    def gpus(self) -> dict[str, GPU]:
        """GPU models by the name that people use."""
        return {
            name: GPU(name, accelerator, int(memory), quota or None, tuple(aliases.split()))
            for name, accelerator, memory, quota, aliases in self._rows("gpus")
        }

    @cached_property
    def accelerator_regions(self) -> dict[str, tuple[str, ...]]:
        """The API's accelerator name -> the regions that have it."""
        return {name: tuple(where.split()) for name, where in self._rows("accelerator-types")}

    @cached_property
    def gpu_zones(self) -> dict[str, frozenset[str]]:
        """GPU -> zones where it has been seen. Regions of which no zone is listed may have it in any."""
        found: dict[str, set[str]] = {}
        for gpu, zone in self._rows("gpu-zones"):
            found.setdefault(gpu, set()).add(zone)
        return {gpu: frozenset(members) for gpu, members in found.items()}

    @cached_property
    def attachable(self) -> dict[str, dict[int, tuple[int, Decimal]]]:
        """GPU that attaches to N1 -> count -> (most vCPUs, most GB) that the VM may have with so many."""
        found: dict[str, dict[int, tuple[int, Decimal]]] = {}
        for gpu, count, vcpus, memory in self._rows("attachable"):
            found.setdefault(gpu, {})[int(count)] = (int(vcpus), Decimal(memory))
        return found

    @cached_property
    def host_rates(self) -> dict[str, dict[str, HostRates]]:
        """machine family -> region -> rates.

        Of a family's custom types "n1-custom", and of their extended memory "n1-extended", where they are known.
        """
        found: dict[str, dict[str, HostRates]] = {}
        for family, region, vcpu, gb, vcpu_spot, gb_spot, *basis in self._rows("host-rates"):
            found.setdefault(family, {})[region] = HostRates(
                _decimal(vcpu), _decimal(gb), _decimal(vcpu_spot), _decimal(gb_spot), *basis
            )
        return found

    @cached_property
    def type_rates(self) -> dict[str, dict[str, HourRates]]:
        """machine type -> region -> its whole price, for the few types that are not billed by vCPU and GB."""
        found: dict[str, dict[str, HourRates]] = {}
        for name, region, hour, spot, *basis in self._rows("type-rates"):
            found.setdefault(name, {})[region] = HourRates(_decimal(hour), _decimal(spot), *basis)
        return found

    @cached_property
    def gpu_rates(self) -> dict[str, dict[str, HourRates]]:
        """GPU -> region -> price of one. "1/8 RTX-PRO-6000": of that part of one, with its vCPUs and memory."""
        found: dict[str, dict[str, HourRates]] = {}
        for gpu, region, hour, spot, basis in self._rows("gpu-rates"):
            found.setdefault(gpu, {})[region] = HourRates(_decimal(hour), _decimal(spot), basis)
        return found

    @cached_property
    def disk_rates(self) -> dict[str, dict[str, MonthRates]]:
        """disk type -> region -> price of a GB; local SSDs of C4, C4A and C4D are types of their own."""
        found: dict[str, dict[str, MonthRates]] = {}
        for disk, region, month, spot, basis in self._rows("disk-rates"):
            found.setdefault(disk, {})[region] = MonthRates(Decimal(month), _decimal(spot), basis)
        return found

    @cached_property
    def address_rates(self) -> dict[str, Decimal]:
        """region -> US dollars an hour for the external IPv4 address of a running VM."""
        return {region: Decimal(hour) for region, hour in self._rows("address-rates")}

    @cached_property
    def sources(self) -> dict[str, Source]:
        """basis of a price -> where it was read, and when."""
        return {basis: Source(date.fromisoformat(day), text) for basis, day, text in self._rows("sources")}

    def _rows(self, table: str) -> Iterator[list[str]]:
        rows = csv.reader(shelf.text(self._where, table).splitlines())
        next(rows)
        return rows


def _decimal(text: str) -> Decimal | None:
    return Decimal(text) if text else None
