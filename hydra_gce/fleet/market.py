"""What is known of the places: which have room, and which refused whom a moment ago. All searches share it.

Without it each of forty jobs would meet the same full zone by itself. A place of which nothing is known is asked by one
search at a time; the others wait for its answer, and go in beside each other once it has given a VM.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from hydra_gce.compute.quotas import Quotas, Shortage, shortage
from hydra_gce.machines import Candidate, ProvisioningModel
from hydra_gce.refusals import Reach, Refusal

REFUSAL_KEPT_S = 60.0
BUSY_KEPT_S = 10.0
"""A place that only had too much to do is asked again soon."""
ROOM_KEPT_S = 60.0

# A place as far as a refusal reaches, and the provisioning model that it holds for; None: for all of them.
_Place = tuple[str, ProvisioningModel | None]
_EVERYWHERE = ""


class Market:
    """Places open and closed. Times come from ``clock``, in seconds."""

    def __init__(self, clock: Callable[[], float], quotas: Quotas | None = None) -> None:
        self._clock = clock
        self._quotas = quotas
        self._without_quota: dict[tuple[str, str, ProvisioningModel], Refusal | None] = {}
        self._refused: dict[_Place, tuple[float, Refusal]] = {}
        self._room: dict[tuple[str, ProvisioningModel], float] = {}
        self._asked: set[tuple[str, ProvisioningModel]] = set()
        self._closing = False
        self._changed = threading.Condition()

    def without_quota(self, candidate: Candidate) -> Refusal | None:
        """What the project may never have there, as its quotas stood at the start; nobody need ask.

        Worked out once: each search asks it of every place.
        """
        if self._quotas is None:
            return None
        place = (candidate.zone, candidate.machine_type, candidate.model)
        if place not in self._without_quota:
            self._without_quota[place] = _never(shortage(candidate, self._quotas))
        return self._without_quota[place]

    def refusal(self, candidate: Candidate) -> Refusal | None:
        """The refusal that still holds for this place."""
        with self._changed:
            return self._refusal(candidate)

    @contextmanager
    def asking(self, candidate: Candidate) -> Iterator[Refusal | None]:
        """Lets one search after the other into an unknown place; what is refused meanwhile holds for those who wait."""
        place = (candidate.zone, candidate.model)
        with self._changed:
            self._changed.wait_for(
                lambda: (
                    self._closing
                    or self._refusal(candidate)
                    or self._has_room(place)
                    or place not in self._asked
                )
            )
            refusal = self._refusal(candidate)
            first = refusal is None and not self._has_room(place) and not self._closing
            if first:
                self._asked.add(place)
        try:
            yield refusal
        finally:
            if first:
                with self._changed:
                    self._asked.discard(place)
                    self._changed.notify_all()

    def gave(self, candidate: Candidate) -> None:
        """The place has room: others may ask there side by side."""
        with self._changed:
            self._room[candidate.zone, candidate.model] = self._clock()
            self._changed.notify_all()

    def refused(self, candidate: Candidate, refusal: Refusal) -> bool:
        """Remembers it; whether that is news."""
        place = _reached(candidate, refusal)
        with self._changed:
            now = self._clock()
            at, _ = self._refused.get(place, (-REFUSAL_KEPT_S, refusal))
            self._refused[place] = (now, refusal)
            self._room.pop((candidate.zone, candidate.model), None)
            self._changed.notify_all()
            return now - at >= REFUSAL_KEPT_S

    def left(self, candidate: Candidate) -> None:
        """A VM has left: its zone may have room again, and its region and the project quota."""
        with self._changed:
            for place in (candidate.zone, candidate.region, _EVERYWHERE):
                for model in (*ProvisioningModel, None):
                    self._refused.pop((place, model), None)
            self._changed.notify_all()

    def close(self) -> None:
        """Nobody waits any longer."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()

    @property
    def closing(self) -> bool:
        return self._closing

    def _refusal(self, candidate: Candidate) -> Refusal | None:
        now = self._clock()
        for place in _places(candidate):
            at, refusal = self._refused.get(place, (0.0, None))
            if refusal is not None and now - at < _kept_s(refusal):
                return refusal
        return None

    def _has_room(self, place: tuple[str, ProvisioningModel]) -> bool:
        return self._clock() - self._room.get(place, -ROOM_KEPT_S) < ROOM_KEPT_S


def _never(lacking: Shortage | None) -> Refusal | None:
    """A quota that no waiting helps against, as Compute Engine would refuse for it."""
    if lacking is None or lacking.may_pass:
        return None
    reach = Reach.REGION if lacking.region else Reach.EVERYWHERE
    where = f" in {lacking.region}" if lacking.region else ""
    return Refusal(
        code="QUOTA_EXCEEDED",
        message=str(lacking),
        reach=reach,
        quota=True,
        may_pass=False,
        for_all_models=False,
        metric=lacking.metric,
        region=lacking.region,
        limit=lacking.limit,
        short=f"quota {lacking.metric} is {lacking.limit:g}, {lacking.needed:g} needed",
        advice=f"ask for more {lacking.metric}{where}: {lacking.link}",
    )


def covers(candidate: Candidate, refusal: Refusal, other: Candidate) -> bool:
    """Whether what was said of one place holds for the other."""
    return _reached(candidate, refusal) in _places(other)


def _places(candidate: Candidate) -> list[_Place]:
    """All that a refusal may be remembered under that holds for this place."""
    wheres = (candidate.zone, candidate.region, _EVERYWHERE)
    return [(where, model) for where in wheres for model in (candidate.model, None)]


def _reached(candidate: Candidate, refusal: Refusal) -> _Place:
    model = None if refusal.for_all_models else candidate.model
    where = {Reach.REGION: candidate.region, Reach.EVERYWHERE: _EVERYWHERE}.get(refusal.reach, candidate.zone)
    return where, model


def _kept_s(refusal: Refusal) -> float:
    return BUSY_KEPT_S if refusal.reach is Reach.ATTEMPT else REFUSAL_KEPT_S
