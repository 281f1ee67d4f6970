"""What happens to VMs on a bad day: drawn when a VM boots, kept with its instance, due so long after it is RUNNING."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from hydra_gce.local.chaos.draws import Rule
from hydra_gce.local.chaos.scenario import Event
from hydra_gce.local.compute.names import last
from hydra_gce.local.store import Resource

if TYPE_CHECKING:
    from hydra_gce.local.chaos.day import BadDay
    from hydra_gce.local.compute.cloud import Cloud

_log = logging.getLogger(__name__)
_KEPT = "mishaps"
_FROM_BOOT = frozenset({Event.BOOT_FAILURE})
"""What has happened already when the VM is RUNNING."""


@dataclass(frozen=True)
class Mishap:
    """An event that a VM drew. `at`: seconds since the epoch, None until the VM is RUNNING."""

    rule: int
    event: Event
    after_s: float
    delay_s: float
    at: float | None = None


class Mishaps:
    """Each VM draws once per rule in its life; a day that begins later is another draw, at the VM's next boot."""

    def __init__(self, cloud: Cloud, happen: Mapping[Event, Callable[[Resource, Mishap], None]]) -> None:
        self._cloud = cloud
        self._happen = happen

    def draw(self, instance: Resource) -> Resource:
        """Before the VM boots. Returns the instance as it is now."""
        day = self._cloud.bad_day
        if day is None or instance.private.get(_KEPT, {}).get("day") == day.began:
            return instance
        with self._cloud.lock, self._cloud.store.transaction():
            drawn = [one for index in range(len(day.scenario.vms)) if (one := _drawn(day, index, instance))]
            return self._keep(instance, day, drawn) or instance

    def running(self, instance: Resource) -> None:
        """The VM is RUNNING from now: its events have their time."""
        day, drawn = self._pending(instance)
        if day is not None and drawn:
            now = self._cloud.clock()
            timed = [one if one.at is not None else replace(one, at=now + one.after_s) for one in drawn]
            self._keep(instance, day, timed)

    def look_after(self, instance: Resource) -> None:
        """Let happen what is due to a VM that is RUNNING."""
        day, drawn = self._pending(instance)
        now = self._cloud.clock()
        due = [one for one in drawn if one.at is not None and one.at <= now]
        if day is None or not due:
            return
        first = min(due, key=lambda one: one.at or 0.0)
        _log.info("%s: %s", instance.path, first.event.value)
        # A server that dies in between lets it happen again, which changes nothing.
        with self._cloud.lock, self._cloud.store.transaction():
            self._keep(instance, day, [one for one in drawn if one is not first])
            if first.event in self._happen:
                self._happen[first.event](instance, first)

    def dismiss(self, instance: Resource) -> None:
        """The VM has ended: what has not happened to it never will, and does not count."""
        with self._cloud.lock, self._cloud.store.transaction():
            current = self._cloud.store.get("instances", instance.project, instance.scope, instance.name)
            if current is None or current.body["id"] != instance.body["id"]:
                return
            day, drawn = self._pending(current)
            if day is None or not drawn:
                return
            for one in drawn:
                if one.event not in _FROM_BOOT:
                    day.draws.count(Rule("vms", one.rule), -1)
            self._keep(current, day, [])

    def _pending(self, instance: Resource) -> tuple[BadDay | None, list[Mishap]]:
        """What the VM has drawn on the day that is on, and has not met yet."""
        day, kept = self._cloud.bad_day, instance.private.get(_KEPT)
        if day is None or not kept or kept["day"] != day.began:
            return None, []
        return day, _read(kept)

    def _keep(self, instance: Resource, day: BadDay, drawn: list[Mishap]) -> Resource | None:
        kept = {"day": day.began, "drawn": [asdict(one) for one in drawn]}
        return self._cloud.change(instance, {}, {_KEPT: kept})


def planned(instance: Resource) -> set[Event]:
    """What the VM has drawn: it boots as it needs for that."""
    kept: dict[str, Any] = instance.private.get(_KEPT) or {}
    return {one.event for one in _read(kept)} if kept else set()


def kinds_of(instance: Resource) -> list[str]:
    """The names that a rule's `machines` may fit: machine type and accelerator types."""
    gpus = instance.body.get("guestAccelerators", [])
    return [last(instance.body["machineType"]), *(last(one["acceleratorType"]) for one in gpus)]


def _drawn(day: BadDay, index: int, instance: Resource) -> Mishap | None:
    rule, name = day.scenario.vms[index], Rule("vms", index)
    if not rule.fits(last(instance.scope), kinds_of(instance), instance.name):
        return None
    if rule.event is Event.PREEMPT and not instance.body["scheduling"].get("preemptible"):
        return None  # Compute Engine takes nobody else's VM back
    if not day.draws.fires(name, share=rule.share, times=rule.times):
        return None
    after_s = day.draws.uniform(name, str(day.draws.happened(name)), *rule.after_s)
    return Mishap(index, rule.event, after_s, rule.delay_s)


def _read(kept: dict[str, Any]) -> list[Mishap]:
    return [Mishap(**{**one, "event": Event(one["event"])}) for one in kept["drawn"]]
