"""Sweeps and what they have in a project, with what that costs: the content of ``hydra-gce ls``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from hydra_gce.backend import Backend
from hydra_gce.bucket import Bucket, SweepNames
from hydra_gce.compute.leftovers import Kind, Leftover
from hydra_gce.home import SweepRecord
from hydra_gce.jobs import JobStatus

_AT_ONCE = 8


@dataclass(frozen=True)
class SweepInventory:
    """One sweep. ``record`` is None for one of another laptop; ``jobs`` counts its jobs by state, where asked for."""

    sweep: str
    leftovers: list[Leftover] = field(default_factory=list)
    record: SweepRecord | None = None
    launcher_alive: bool = False
    jobs: dict[str, int] = field(default_factory=dict)

    @property
    def vms(self) -> list[Leftover]:
        return [one for one in self.leftovers if one.kind is Kind.VM]

    @property
    def owner(self) -> str:
        return next((one.owner for one in self.leftovers if one.owner), "")

    @property
    def unwatched(self) -> bool:
        """Whether this laptop began it, and its launcher is gone while something is left."""
        return bool(self.leftovers) and self.record is not None and not self.launcher_alive


def hourly(leftovers: Iterable[Leftover]) -> Decimal:
    """US dollars an hour of those whose price is known."""
    return sum((one.hourly for one in leftovers if one.hourly is not None), Decimal(0))


def spent(leftovers: Iterable[Leftover]) -> Decimal:
    return sum((one.spent for one in leftovers if one.spent is not None), Decimal(0))


def inventory(
    leftovers: Sequence[Leftover], records: Sequence[SweepRecord], *, everything: bool
) -> list[SweepInventory]:
    """The sweeps of ``records`` that run or have something; with ``everything`` all others too.

    Newest first, those of other laptops behind.
    """
    by_sweep: dict[str, list[Leftover]] = {}
    for one in leftovers:
        by_sweep.setdefault(one.sweep, []).append(one)
    known = [
        SweepInventory(record.sweep, by_sweep.get(record.sweep, []), record, record.launcher_alive)
        for record in records
    ]
    if not everything:
        return [one for one in known if one.leftovers or one.launcher_alive]
    ours = {record.sweep for record in records}
    return known + [SweepInventory(sweep, found) for sweep, found in by_sweep.items() if sweep not in ours]


def job_counts(backend: Backend, records: Sequence[SweepRecord]) -> dict[str, dict[str, int]]:
    """For each sweep how many of its jobs are in which state, from its bucket; empty where that is gone."""
    if not records:
        return {}
    storage = backend.storage  # made here, not in one of the threads
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        counts = pool.map(lambda record: _count(Bucket(storage.bucket(record.bucket)), record.sweep), records)
        return {record.sweep: count for record, count in zip(records, counts, strict=True)}


def _count(bucket: Bucket, sweep: str) -> dict[str, int]:
    from google.api_core.exceptions import Forbidden, NotFound

    try:
        listed = bucket.list(SweepNames(sweep).statuses)
        states = [JobStatus.from_metadata(entry.metadata).state.value for entry in listed]
    except (NotFound, Forbidden):
        return {}
    return dict(Counter(states))


def to_json(one: SweepInventory, now: float) -> dict[str, Any]:
    """Keys stay as they are: programs read them. Dollars are numbers, null where a price is not known."""
    record = one.record
    return {
        "sweep": one.sweep,
        "started": record.started if record else None,
        "ended": record.ended if record else None,
        "launcher_alive": one.launcher_alive,
        "sweep_dir": record.sweep_dir if record else None,
        "owner": one.owner or None,
        "jobs": one.jobs,
        "usd_per_hour": float(hourly(one.leftovers)),
        "usd_so_far": float(spent(one.leftovers)),
        "vms": [_thing(vm, now) for vm in one.vms],
        "disks": [_thing(disk, now) for disk in one.leftovers if disk.kind is Kind.DISK],
        "addresses": [_thing(address, now) for address in one.leftovers if address.kind is Kind.ADDRESS],
    }


def _thing(one: Leftover, now: float) -> dict[str, Any]:
    plain: dict[str, Any] = {
        "name": one.name,
        "zone": one.where,
        "status": one.status,
        "age_s": round(now - one.created) if one.created else None,
        "usd_per_hour": None if one.hourly is None else float(one.hourly),
        "usd_so_far": None if one.spent is None else float(one.spent),
        "owner": one.owner or None,
    }
    if one.kind is Kind.VM:
        instance = one.instance
        plain["machine_type"] = instance.machine_type if instance else None
        plain["model"] = instance.model if instance else None
        plain["accelerators"] = [list(pair) for pair in instance.accelerators] if instance else []
    else:
        plain["what"] = one.what
    return plain
