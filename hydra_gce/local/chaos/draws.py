"""Chances and counts of a scenario's rules. The same seed gives the same day, restarts included."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from hydra_gce.local.store import Resource, Store

COLLECTION = "chaos"


@dataclass(frozen=True)
class Rule:
    """The name of a rule in the counts: its part of the scenario (`errors`, `vms`, `stock`) and its place in there."""

    part: str
    index: int

    def __str__(self) -> str:
        return f"{self.part}[{self.index}]"


class Draws:
    """Draws for the rules of one scenario. Safe to use from many threads, within a transaction or without one.

    Nothing is kept in memory: a transaction that is rolled back takes its draws and counts back with it.
    """

    def __init__(self, store: Store, seed: int) -> None:
        self._store = store
        self._seed = seed

    def fires(
        self,
        rule: Rule,
        *,
        share: float = 1.0,
        times: int | None = None,
        skip: int = 0,
        key: str | None = None,
    ) -> bool:
        """Whether the rule happens to one that fits it; counted if it does.

        The chance follows from the seed, the rule and `key`, or the number of those that have fitted where there is
        no key.
        """
        with self._store.transaction():
            counts = self._read(rule)
            met, happened = counts.get("met", 0), counts.get("happened", 0)
            chance = self.random(rule, str(met) if key is None else key).random()
            fires = met >= skip and (times is None or happened < times) and chance < share
            self._write(rule, {"met": met + 1, "happened": happened + fires})
        return fires

    def count(self, rule: Rule, change: int = 1) -> None:
        """Count that the rule happened once more; -1 takes it back."""
        with self._store.transaction():
            counts = self._read(rule)
            self._write(rule, {**counts, "happened": max(0, counts.get("happened", 0) + change)})

    def happened(self, rule: Rule) -> int:
        """How often the rule has happened."""
        return int(self._read(rule).get("happened", 0))

    def uniform(self, rule: Rule, key: str, least: float, most: float) -> float:
        """A number between the two that follows from the seed, the rule and the key."""
        return self.random(rule, f"{key}/uniform").uniform(least, most)

    def random(self, rule: Rule, key: str) -> random.Random:
        """A generator of its own for this rule and key."""
        return random.Random(f"{self._seed}/{rule}/{key}")

    def forget(self) -> None:
        """All counts are zero again."""
        for resource in self._store.list(COLLECTION, "", "counts"):
            self._store.delete(resource)

    def _read(self, rule: Rule) -> dict[str, Any]:
        found = self._store.get(COLLECTION, "", "counts", str(rule))
        return {} if found is None else found.body

    def _write(self, rule: Rule, counts: dict[str, Any]) -> None:
        self._store.put(Resource(COLLECTION, "", "counts", str(rule), counts))
