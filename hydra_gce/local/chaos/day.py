"""The scenario that is on: begun over HTTP, written into the server's state, so that a restart goes on with it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from hydra_gce.local.chaos.draws import COLLECTION, Draws, Rule
from hydra_gce.local.chaos.scenario import Scenario, ScenarioError, read
from hydra_gce.local.store import Resource, Store

_log = logging.getLogger(__name__)
Json = dict[str, Any]


class BadDay:
    """A scenario since it began. `clock` gives seconds since the epoch, as `began` is one of them."""

    def __init__(self, scenario: Scenario, began: float, store: Store, clock: Callable[[], float]) -> None:
        self.scenario = scenario
        self.began = began
        self.draws = Draws(store, scenario.seed)
        self._clock = clock

    def elapsed_s(self) -> float:
        """Seconds since the scenario began."""
        return self._clock() - self.began

    def happened(self) -> Json:
        """How often each rule has happened, by part and place."""
        return {
            part: [self.draws.happened(Rule(part, index)) for index in range(len(rules))]
            for part, rules in (
                ("errors", self.scenario.errors),
                ("vms", self.scenario.vms),
                ("stock", self.scenario.stock),
            )
        }


def begin(scenario: Scenario, store: Store, clock: Callable[[], float]) -> BadDay:
    """Write the scenario down as the one that is on from now."""
    now = clock()
    with store.transaction():
        end(store)
        body = {"scenario": scenario.given, "began": now}
        store.put(Resource(COLLECTION, "", "global", "scenario", body))
    return BadDay(scenario, now, store, clock)


def resume(store: Store, clock: Callable[[], float]) -> BadDay | None:
    """The day that a former server left; None if it had none."""
    found = store.get(COLLECTION, "", "global", "scenario")
    if found is None:
        return None
    try:
        scenario = read(found.body["scenario"])
    except ScenarioError as error:  # it was begun by a server of another version
        _log.error("The scenario that was on is none any more, and ends: %s", error)
        end(store)
        return None
    return BadDay(scenario, float(found.body["began"]), store, clock)


def end(store: Store) -> None:
    """Forget the scenario and its counts."""
    with store.transaction():
        for resource in store.list(COLLECTION):
            store.delete(resource)


def in_json(day: BadDay | None) -> Json:
    """As `/hydra-gce/chaos` shows it. `began` is in seconds since the epoch."""
    if day is None:
        return {"scenario": None, "began": None, "happened": {"errors": [], "vms": [], "stock": []}}
    return {"scenario": day.scenario.given, "began": day.began, "happened": day.happened()}
