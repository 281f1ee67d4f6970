"""Sweeps and what they have in a project, with what that costs: the content of ``hydra-gce ls``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from hydra_gce.compute.leftovers import Kind, Leftover
from hydra_gce.found import FoundSweep
from hydra_gce.home import SweepRecord

_AT_ONCE = 16


@dataclass(frozen=True)
class SweepInventory:
    """One sweep. ``record`` is None for one of another laptop.

    ``jobs`` counts its jobs by state, ``cost`` is what all its VMs came to so far, ``began`` is in seconds since the
    epoch: empty and None where that is not known. ``watched``: somebody is at work on it, here or elsewhere.
    """

    sweep: str
    leftovers: list[Leftover] = field(default_factory=list)
    record: SweepRecord | None = None
    launcher_alive: bool = False
    jobs: dict[str, int] = field(default_factory=dict)
    cost: Decimal | None = None
    began: float | None = None
    watched: bool = False

    @property
    def vms(self) -> list[Leftover]:
        return [one for one in self.leftovers if one.kind is Kind.VM]

    @property
    def owner(self) -> str:
        return next((one.owner for one in self.leftovers if one.owner), "")

    @property
    def unwatched(self) -> bool:
        """Whether this laptop began it, and nobody is at work on it while something is left."""
        at_work = self.launcher_alive or self.watched
        return bool(self.leftovers) and self.record is not None and not at_work


def hourly(leftovers: Iterable[Leftover]) -> Decimal:
    """US dollars an hour of those whose price is known."""
    return sum((one.hourly for one in leftovers if one.hourly is not None), Decimal(0))


def spent(leftovers: Iterable[Leftover]) -> Decimal:
    return sum((one.spent for one in leftovers if one.spent is not None), Decimal(0))


def inventory(
    leftovers: Sequence[Leftover],
    records: Sequence[SweepRecord],
    *,
    everything: bool,
    stored: Iterable[str] = (),
) -> list[SweepInventory]:
    """The sweeps of ``records`` that run or have something; with ``everything`` all others too.

    Newest first, those of other laptops behind; then ``stored``, which have nothing but what lies in the bucket.
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
    others = [SweepInventory(sweep, found) for sweep, found in by_sweep.items() if sweep not in ours]
    known += others
    seen = {one.sweep for one in known}
    return known + [SweepInventory(sweep) for sweep in stored if sweep not in seen]


def with_jobs(sweeps: Sequence[SweepInventory], where: Mapping[str, FoundSweep]) -> list[SweepInventory]:
    """The sweeps with their jobs, cost and watcher; as they are where ``where`` has no place, or that is gone."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(
            pool.map(lambda one: _with_jobs(one, where[one.sweep]) if one.sweep in where else one, sweeps)
        )


def _with_jobs(one: SweepInventory, found: FoundSweep) -> SweepInventory:
    from google.api_core.exceptions import Forbidden, NotFound

    from hydra_gce.coming_back.seen import glimpse

    try:
        seen = glimpse(found)
    except (NotFound, Forbidden):
        return one
    return replace(one, jobs=seen.counts, cost=seen.view.cost, began=seen.view.started, watched=seen.watched)


def to_json(one: SweepInventory, now: float) -> dict[str, Any]:
    """Keys stay as they are: programs read them. Dollars are numbers, null where a price is not known."""
    record = one.record
    return {
        "sweep": one.sweep,
        "started": record.started if record else one.began,
        "ended": record.ended if record else None,
        "launcher_alive": one.launcher_alive,
        "sweep_dir": record.sweep_dir if record else None,
        "owner": one.owner or None,
        "watched": one.watched or one.launcher_alive,
        "jobs": one.jobs,
        "cost_usd": None if one.cost is None else float(one.cost),
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
