"""Every VM of a sweep: from when to when it was there, at what price, and which job it worked for.

A VM is billed as Compute Engine bills it (`hydra_gce.machines.cost`), at the price that was known when it began. Jobs
that share one share its bill by time: booting is for its first job, idling for its last, and the shares add up to the
bill to the millionth of a dollar.
"""

from __future__ import annotations

import json
import threading
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from hydra_gce.machines import Candidate, ProvisioningModel, cost
from hydra_gce.machines.prices import rounded
from hydra_gce.money.plain import from_plain, to_plain

_FORMAT = 1


@dataclass(frozen=True)
class AttemptCost:
    """A job's part in one VM.

    attempt: the how-manyth VM of the job it was. start, end: of its part, seconds since the epoch; `end` is None while
    it goes on. seconds: of VM time; billed are at least 60 for each VM. dollars: the job's share of the VM's bill.
    hourly: US dollars an hour of the whole VM; estimated: a rate in it is not published.
    """

    num: int
    attempt: int
    instance: str
    zone: str
    machine: str
    model: ProvisioningModel
    start: float
    end: float | None
    seconds: float
    dollars: Decimal
    hourly: Decimal
    estimated: bool


@dataclass
class _Life:
    """A VM's time on the bill, seconds since the epoch. ``shifts``: from when on it works for which job, in order."""

    instance: str
    attempt: int
    candidate: Candidate
    start: float
    shifts: list[tuple[float, int]]
    end: float | None = None

    def seconds(self, now: float) -> float:
        return max(0.0, (now if self.end is None else self.end) - self.start)

    def dollars(self, now: float) -> Decimal:
        return cost(self.candidate, self.seconds(now))

    def take_up(self, num: int, since: float) -> bool:
        """Whether that is news. News may come late, and of a shift that lies before others."""
        at = max(since, self.start)
        place = bisect_right(self.shifts, at, key=lambda shift: shift[0])
        if self.shifts[place - 1][1] == num:
            return False
        self.shifts.insert(place, (at, num))
        if place + 1 < len(self.shifts) and self.shifts[place + 1][1] == num:
            del self.shifts[place + 1]
        return True

    def parts(self, now: float) -> list[tuple[int, float, float]]:
        """Whose each stretch of its time is: the job, from, to."""
        last = self.start + self.seconds(now)
        starts = [min(start, last) for start, _ in self.shifts]
        ends = [*starts[1:], last]
        jobs = [job for _, job in self.shifts]
        return list(zip(jobs, starts, ends, strict=True))

    def share(self, num: int, now: float) -> tuple[Decimal, float]:
        """Dollars and seconds of one job.

        Each share is the difference of two rounded sums, so that no millionth is lost between them.
        """
        bill, whole = self.dollars(now), self.seconds(now)
        dollars, seconds = Decimal(0), 0.0
        for job, since, until in self.parts(now):
            if job == num and whole:
                seconds += until - since
                dollars += self._up_to(until, bill, whole) - self._up_to(since, bill, whole)
        return dollars, seconds

    def _up_to(self, moment: float, bill: Decimal, whole: float) -> Decimal:
        passed = moment - self.start
        return bill if passed >= whole else rounded(bill * Decimal(passed) / Decimal(whole))


class Ledger:
    """Thread safe. Times are seconds since the epoch, money is in US dollars.

    ``version`` grows with each change.
    """

    def __init__(self) -> None:
        self._lives: dict[str, _Life] = {}
        self._of_job: dict[int, list[_Life]] = {}
        self._version = 0
        self._lock = threading.Lock()

    @property
    def version(self) -> int:
        with self._lock:
            return self._version

    # What happens to the VMs

    def began(self, instance: str, num: int, attempt: int, candidate: Candidate, at: float) -> None:
        """Compute Engine has made a VM for an attempt at a job. Said again of one that lives, it changes nothing.

        One of a name whose VM has ended is another one.
        """
        with self._lock:
            former = self._lives.get(instance)
            if former is None or (former.end is not None and at >= former.end):
                self._put(_Life(instance, attempt, candidate, at, [(at, num)]))
                self._version += 1

    def works_for(self, instance: str, num: int, since: float) -> Candidate | None:
        """A VM has taken up a job, perhaps another than it was made for: what and where it is; None if unknown."""
        with self._lock:
            life = self._lives.get(instance)
            if life is None:
                return None
            if life.take_up(num, since):
                self._index(life)
                self._version += 1
            return life.candidate

    def ended(self, instance: str, at: float) -> None:
        """A VM is off, or gone. The first end counts."""
        with self._lock:
            life = self._lives.get(instance)
            if life is not None and life.end is None:
                life.end = max(at, life.start)
                self._version += 1

    def take_in(self, newer: Ledger) -> None:
        """What another process has written of the same VMs, which knows more; VMs that it does not know stay."""
        with newer._lock:
            lives = dict(newer._lives)
        with self._lock:
            self._lives.update(lives)
            self._of_job.clear()
            for life in self._lives.values():
                self._index(life)
            self._version = max(self._version, newer._version) + 1

    # What is known of them

    def candidate(self, instance: str) -> Candidate | None:
        with self._lock:
            life = self._lives.get(instance)
            return life.candidate if life else None

    def running(self) -> list[str]:
        """Names of the VMs without an end."""
        with self._lock:
            return [life.instance for life in self._lives.values() if life.end is None]

    def zones(self) -> set[str]:
        """Where VMs without an end are."""
        with self._lock:
            return {life.candidate.zone for life in self._lives.values() if life.end is None}

    def jobs(self) -> list[int]:
        """Numbers of the jobs that had a VM, in order."""
        with self._lock:
            return sorted(self._of_job)

    # What they cost

    def bill(self, num: int, now: float) -> tuple[Decimal, float]:
        """Dollars and VM seconds of all the VMs that the job has had so far, or of its share in them."""
        with self._lock:
            shares = [life.share(num, now) for life in self._of_job.get(num, [])]
        return sum((dollars for dollars, _ in shares), Decimal(0)), sum(seconds for _, seconds in shares)

    def attempts(self, num: int, now: float) -> list[AttemptCost]:
        """What the job has had of each VM, in the order in which it came to them."""
        with self._lock:
            costs = [_attempt(life, num, now) for life in self._of_job.get(num, [])]
        costs.sort(key=lambda one: one.start)
        return [replace(one, attempt=number) for number, one in enumerate(costs, 1)]

    def spent(self, now: float) -> Decimal:
        """What the whole sweep has cost: the bills of all VMs, each once."""
        with self._lock:
            return sum((life.dollars(now) for life in self._lives.values()), Decimal(0))

    def exposure(self, now: float, max_run_s: float) -> Decimal:
        """What is spent, and what running VMs can still cost until ``max_run_s`` seconds after their start."""
        with self._lock:
            lives = self._lives.values()
            return sum((life.dollars(max(now, life.start + max_run_s)) for life in lives), Decimal(0))

    # In the bucket

    def to_json(self) -> bytes:
        """All of it. A place that many VMs were in is written once."""
        with self._lock:
            numbers: dict[Candidate, int] = {}
            for life in self._lives.values():
                numbers.setdefault(life.candidate, len(numbers))
            vms = [
                {
                    "instance": life.instance,
                    "attempt": life.attempt,
                    "place": numbers[life.candidate],
                    "start": life.start,
                    "end": life.end,
                    "shifts": list(life.shifts),
                }
                for life in self._lives.values()
            ]
            content = {
                "format": _FORMAT,
                "version": self._version,
                "places": [to_plain(place) for place in numbers],
                "vms": vms,
            }
        return json.dumps(content, separators=(",", ":")).encode()

    @classmethod
    def from_json(cls, content: bytes, candidates: Iterable[Candidate] = ()) -> Ledger:
        """What `to_json` wrote, at the prices that counted then.

        :param candidates: those at hand: a place that equals one of them becomes that very object.
        :raises ValueError: it is no ledger, or one of a newer version of this package.
        """
        plain: dict[str, Any] = json.loads(content)
        if plain.get("format") != _FORMAT:
            raise ValueError(f"a ledger in format {plain.get('format')}, and only {_FORMAT} is known here")
        at_hand = {candidate: candidate for candidate in candidates}
        places = [from_plain(Candidate, place) for place in plain["places"]]
        ledger = cls()
        for vm in plain["vms"]:
            place = places[vm["place"]]
            shifts = [(since, num) for since, num in vm["shifts"]]
            candidate = at_hand.get(place, place)
            ledger._put(_Life(vm["instance"], vm["attempt"], candidate, vm["start"], shifts, vm["end"]))
        ledger._version = plain["version"]
        return ledger

    def _put(self, life: _Life) -> None:
        former = self._lives.pop(life.instance, None)
        if former is not None:
            self._lives[f"{former.instance} until {former.end}"] = former
        self._lives[life.instance] = life
        self._index(life)

    def _index(self, life: _Life) -> None:
        for _, num in life.shifts:
            of_job = self._of_job.setdefault(num, [])
            if all(one is not life for one in of_job):
                of_job.append(life)


def _attempt(life: _Life, num: int, now: float) -> AttemptCost:
    candidate = life.candidate
    dollars, seconds = life.share(num, now)
    mine = [(since, until) for job, since, until in life.parts(now) if job == num]
    goes_on = life.end is None and life.shifts[-1][1] == num
    return AttemptCost(
        num=num,
        attempt=life.attempt,
        instance=life.instance,
        zone=candidate.zone,
        machine=str(replace(candidate, model=ProvisioningModel.STANDARD)).rpartition(" in ")[0],
        model=candidate.model,
        start=mine[0][0],
        end=None if goes_on else mine[-1][1],
        seconds=seconds,
        dollars=dollars,
        hourly=candidate.price.hourly,
        estimated=candidate.price.estimated,
    )
