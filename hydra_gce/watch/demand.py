"""Which job is given a VM next: as far as ``max_vms``, the budget, and the places allow."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from hydra_gce.errors import NoPlace
from hydra_gce.fleet import Fleet, NotPlaced
from hydra_gce.fleet.said import table
from hydra_gce.jobs import JobState
from hydra_gce.machines import Candidate
from hydra_gce.money.budget import Budget
from hydra_gce.settings import Settings
from hydra_gce.watch.track import Track

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 2.0, 60.0


@dataclass
class Demand:
    """Asks the fleet for VMs, and waits when there is no room. ``tell`` takes lines for the person."""

    fleet: Fleet
    settings: Settings
    budget: Budget | None
    tell: Callable[[str], None]
    clock: Callable[[], float]
    _pause: float = _FIRST_PAUSE_S
    _room_at: float = 0.0
    _full_since: float | None = None
    _one_at_a_time: bool = False
    _said_full: bool = False
    _said_budget: bool = False
    _rounds: dict[int, int] = field(default_factory=dict)
    _asked: dict[int, Candidate] = field(default_factory=dict)

    def ask(self, tracks: Iterable[Track], alive: int) -> None:
        """A VM for each job that wants one. ``alive``: how many the sweep has."""
        if self.clock() < self._room_at:
            return
        # Without a limit each job has one, and those that were given up may linger.
        limit = self.settings.max_vms or math.inf
        vms = self.fleet.asking + alive
        for track in tracks:
            if vms >= limit or (self._one_at_a_time and self.fleet.searching):
                return
            candidates = self._affordable()
            if not candidates:
                return
            vms += 1
            track.vms += 1
            track.asked = True
            track.state = JobState.PROVISIONING
            self._asked[track.num] = candidates[-1]
            # A number that no request for the job had before, of this launcher or of one before it.
            self._rounds[track.num] = max(self._rounds.get(track.num, 0) + 1, int(self.clock()))
            self.fleet.ask(track.num, track.vms, self._rounds[track.num], candidates)

    def has_room(self, num: int) -> None:
        """A VM was made for the job."""
        self._asked.pop(num, None)
        self._full_since, self._pause, self._room_at = None, _FIRST_PAUSE_S, 0.0
        self._one_at_a_time = False

    def look_at_queue(self, tracks: Mapping[int, Track]) -> None:
        """Whose VM waits in Google's queue, perhaps since a launcher before this one.

        What was asked for jobs that have their result without it is taken back.
        """
        waiting = self.fleet.waiting
        for num, candidate in waiting.items():
            track = tracks.get(num)
            if track is None or track.done:
                self._take_back(num, track)
            elif not track.asked:
                track.asked, track.state = True, JobState.PROVISIONING
                self._asked[num] = candidate
        for track in tracks.values():
            candidate_or_none = None if track.done else waiting.get(track.num)
            track.queue = "" if candidate_or_none is None else self._queue_said(candidate_or_none)

    def leave_queue(self, tracks: Mapping[int, Track]) -> None:
        """No VM is to come from there any more."""
        for num in self.fleet.waiting:
            self._take_back(num, tracks.get(num))

    def take_back(self, track: Track) -> None:
        """The job's VM is to come from the queue no more."""
        self._take_back(track.num, track)

    def _take_back(self, num: int, track: Track | None) -> None:
        self.fleet.cancel(num)
        self._asked.pop(num, None)
        if track is not None:
            track.asked, track.queue = False, ""

    def _queue_said(self, candidate: Candidate) -> str:
        minutes = self.settings.vm.queue_minutes
        return f"waits in Google's queue in {candidate.zone} (up to {minutes:g} min)"

    def has_none(self, track: Track, answer: NotPlaced, others: bool, started: bool) -> None:
        """No place gave a VM. ``others``: whether VMs of the sweep run or are asked for.

        :raises NoPlace: there is none to be had, now or within the time that one would wait.
        """
        now = self.clock()
        self.has_none_for(track)
        track.state = JobState.PENDING
        track.note = "waiting for a place"
        self._full_since = self._full_since or now - answer.queued_s
        waited = now - self._full_since
        if not others and (not answer.may_pass or waited >= self.settings.wait_for_room_minutes * 60):
            raise NoPlace(table(track.num, answer.refused, answer.left_out, waited / 60, started))
        if not self._said_full:
            self._said_full = True
            self.tell(f"no room for job {track.num} now ({answer}); it waits for a place")
        self._one_at_a_time = True
        self._room_at = now + self._pause
        self._pause = min(self._pause * 1.5, _LONGEST_PAUSE_S)

    def has_none_for(self, track: Track) -> None:
        """No place gave a VM to a job that nobody wants any more."""
        self._asked.pop(track.num, None)
        track.vms -= 1

    def left(self, instances: Iterable[str]) -> None:
        """VMs are gone: what was full may have room."""
        for instance in instances:
            self.fleet.left(instance)
            self._room_at = 0.0

    def _affordable(self) -> list[Candidate]:
        """The places that the budget allows, cheapest first; all of them where there is no budget."""
        candidates = list(self.fleet.candidates)
        if self.budget is None:
            return candidates
        now = self.clock()
        ledger, asked = self.fleet.ledger, list(self._asked.values())
        by_price = {one.price.hourly: one for one in candidates}
        fits = {price: self.budget.may_start(ledger, one, now, asked) for price, one in by_price.items()}
        affordable = [one for one in candidates if fits[one.price.hourly]]
        if not affordable and not self._said_budget:
            self._said_budget = True
            self.tell(f"{self.budget.said(ledger, now)}; the other jobs wait for it")
        return affordable
