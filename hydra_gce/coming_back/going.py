"""Whether somebody is at work on a sweep: between two batches of a sweeper no job runs, and yet it goes on."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from hydra_gce.errors import ObjectMissing
from hydra_gce.lease import SILENCE_S, Holder

if TYPE_CHECKING:
    from hydra_gce.bucket import Bucket, SweepNames
    from hydra_gce.found import FoundSweep
    from hydra_gce.home import SweepRecord

BETWEEN_BATCHES_S = 60.0


def is_watched(bucket: Bucket, names: SweepNames, now: float | None = None) -> bool:
    """Whether somebody holds the sweep's lease, by one look: right where this machine's clock is."""
    entry = bucket.find(names.watcher)
    now = time.time() if now is None else now
    if entry is None or not entry.size or now - entry.updated >= SILENCE_S:
        return False
    return watcher_of(bucket, names) is not None


def watcher_of(bucket: Bucket, names: SweepNames) -> Holder | None:
    """Who holds the sweep's lease by name, however long that has been silent; None where that surely runs no more."""
    try:
        holder = Holder.named_in(bucket.read(names.watcher))
    except ObjectMissing:
        return None
    return None if holder is None or holder.is_dead(Holder.here()) else holder


class Going:
    """Tells again and again. No clock is compared with another machine's: a lease that stays as it is has no holder."""

    def __init__(self, found: FoundSweep, clock: Callable[[], float] = time.monotonic) -> None:
        self._found = found
        self._clock = clock
        self._seen: tuple[int, float] | None = None

    def __call__(self) -> bool:
        """Whether its launcher, or somebody's ``attach``, is not done with it.

        A launcher in a notebook lives on when all is done: for a minute after a batch's end another may come.
        """
        record = _as_it_is_now(self._found)
        if record is not None and record.launcher_alive:
            return record.ended is None or time.time() - record.ended < BETWEEN_BATCHES_S
        return self._is_held()

    def _is_held(self) -> bool:
        entry = self._found.bucket.find(self._found.names.watcher)
        if entry is None or entry.size == 0:
            return False
        if self._seen is None or self._seen[0] != entry.generation:
            self._seen = entry.generation, self._clock()
        return self._clock() - self._seen[1] < SILENCE_S


def _as_it_is_now(found: FoundSweep) -> SweepRecord | None:
    from hydra_gce.home import sweep_records

    if found.record is None:
        return None
    return next((record for record in sweep_records() if record.sweep == found.sweep), None)
