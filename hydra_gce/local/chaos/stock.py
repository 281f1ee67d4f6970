"""What zones have on a bad day: how many VMs of a kind at once, and the quotas of regions and projects."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from hydra_gce.local.chaos.day import BadDay
from hydra_gce.local.chaos.draws import Rule
from hydra_gce.local.chaos.scenario import StockRule

GLOBAL = "global"


@dataclass(frozen=True)
class Kind:
    """What a VM takes of a zone's stock: `machines` are its machine type and its accelerator type, where it has one."""

    zone: str
    machines: tuple[str, ...]
    model: str

    def fits(self, rule: StockRule) -> bool:
        return rule.fits(self.zone, self.machines, self.model)


def sold_out(day: BadDay, wanted: Kind, existing: Iterable[Kind]) -> Rule | None:
    """The entry by which a zone has no room for one more VM; None if it has, or if no entry is about it.

    The first entry that fits and holds now decides. `existing`: the VMs that hold a place.
    """
    elapsed = day.elapsed_s()
    for index, rule in enumerate(day.scenario.stock):
        if not (rule.holds(elapsed) and wanted.fits(rule)):
            continue
        there = sum(one.zone == wanted.zone and one.fits(rule) for one in existing)
        return Rule("stock", index) if there >= rule.vms else None
    return None


def limits(day: BadDay | None, region: str, defaults: dict[str, float]) -> dict[str, float]:
    """The quotas of a region, or of a project for `global`: the defaults, and what the scenario sets over them."""
    if day is None:
        return defaults
    quotas = day.scenario.quotas
    return {**defaults, **{one.metric: one.limit for one in quotas if one.region == region}}
