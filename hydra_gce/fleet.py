"""The sweep's VMs: asked for, place by place, until one gives; listed; deleted; and what they have cost.

Nothing here remembers more than a listing could tell it again, except the prices of the places and what was refused a
moment ago.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from decimal import Decimal

from hydra_gce.compute import OFF, Compute
from hydra_gce.errors import ConfigError
from hydra_gce.machines import Candidate, cost
from hydra_gce.refusals import Reach, Refusal
from hydra_gce.request import Order

_PARALLEL_INSERTS = 8
_REFUSAL_KEPT_S = 60.0
_TRIES_IN_PLACE = 3


@dataclass(frozen=True)
class Placed:
    """A VM that Compute Engine made for an attempt at a job."""

    num: int
    attempt: int
    instance: str
    candidate: Candidate


@dataclass(frozen=True)
class NotPlaced:
    """No place gave a VM for the job: what each said, in the order of asking."""

    num: int
    refused: list[tuple[Candidate, Refusal]]

    @property
    def may_pass(self) -> bool:
        """Whether a quota is only in use, or a zone only full at the moment."""
        return any(refusal.may_pass for _, refusal in self.refused)

    def __str__(self) -> str:
        last = self.refused[-1][1]
        return f"{last.message.strip().rstrip('.')} ({len(self.refused)} places asked)"


@dataclass
class _Life:
    """A VM's time on the bill, seconds since the epoch. ``shifts``: from when on it works for which job."""

    candidate: Candidate
    start: float
    shifts: list[tuple[float, int]]
    end: float | None = None

    def seconds(self, now: float) -> float:
        return max(0.0, (self.end or now) - self.start)

    def seconds_for(self, num: int, now: float) -> float:
        """What it worked for one job: booting is for the first, idling for the last."""
        ends = [start for start, _ in self.shifts[1:]] + [self.start + self.seconds(now)]
        return sum(
            max(0.0, end - start) for (start, job), end in zip(self.shifts, ends, strict=True) if job == num
        )


@dataclass
class Fleet:
    """The VMs of one sweep. ``tell`` gets a line for the person at each decision."""

    compute: Compute
    order: Order
    candidates: Sequence[Candidate]
    tell: Callable[[str], None]
    clock: Callable[[], float] = time.time
    pause: Callable[[float], None] = time.sleep
    _pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(_PARALLEL_INSERTS, "insert"))
    _asked: list[Future[Placed | NotPlaced]] = field(default_factory=list)
    _refused: dict[str, tuple[float, Refusal]] = field(default_factory=dict)
    _lives: dict[str, _Life] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def ask(self, num: int, attempt: int, round_: int = 0) -> None:
        """Begins to look for a VM; ``answers`` has it later. ``round_`` tells repeated requests apart."""
        self._asked.append(self._pool.submit(self._place, num, attempt, round_))

    def answers(self) -> list[Placed | NotPlaced]:
        """What has been decided since the last call.

        :raises ConfigError: Compute Engine says that the request itself is wrong.
        """
        done = [asked for asked in self._asked if asked.done()]
        self._asked = [asked for asked in self._asked if asked not in done]
        return [asked.result() for asked in done]

    @property
    def asking(self) -> int:
        return len(self._asked)

    def instances(self) -> dict[str, str]:
        """Name and status of the sweep's VMs that exist.

        One listing for each of the few zones that they are in, or one over all zones where those are many.
        """
        with self._lock:
            known = list(self._lives.items())  # one that is made from here on may be missing in the listing
        zones = {life.candidate.zone for _, life in known if life.end is None}
        listed = self.compute.instances(self.order.sweep, zones)
        found: dict[str, str] = {instance.name: instance.status for instance in listed}
        now = self.clock()
        with self._lock:
            for name, life in known:
                if found.get(name, "TERMINATED") in OFF and life.end is None:
                    life.end = now
        return found

    def delete(self, instance: str) -> None:
        with self._lock:
            life = self._lives.get(instance)
        if life is not None:
            self.compute.delete(life.candidate.zone, instance)

    def bill(self, num: int) -> tuple[Decimal, float]:
        """US dollars and seconds of all the VMs that the job has had so far, or of its share in them."""
        now = self.clock()
        dollars, seconds = Decimal(0), 0.0
        with self._lock:
            for life in self._lives.values():
                whole, share = life.seconds(now), life.seconds_for(num, now)
                seconds += share
                if any(job == num for _, job in life.shifts):
                    part = Decimal(share / whole) if whole else Decimal(1)
                    dollars += cost(life.candidate, whole) * part
        return dollars, seconds

    def works_for(self, instance: str, num: int, since: float) -> Candidate | None:
        """A VM has taken up a job, perhaps another than it was made for; what and where the VM is."""
        with self._lock:
            life = self._lives.get(instance)
            if life is not None and all(job != num for _, job in life.shifts):
                life.shifts.append((max(life.shifts[-1][0], since), num))
            return life.candidate if life else None

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _place(self, num: int, attempt: int, round_: int) -> Placed | NotPlaced:
        """Asks one place after the other, cheapest first."""
        refused: list[tuple[Candidate, Refusal]] = []
        closed: set[str] = set()
        for candidate in self.candidates:
            if candidate.region in closed or candidate.zone in closed:
                continue
            known = self._recently(candidate)
            refusal = known or self._try(num, attempt, round_, candidate)
            if refusal is None:
                name = self.order.instance_name(num, attempt)
                with self._lock:
                    now = self.clock()
                    self._lives[name] = _Life(candidate, now, [(now, num)])
                return Placed(num, attempt, name, candidate)
            if refusal.reach is Reach.REQUEST:
                raise ConfigError(
                    f"hydra.launcher.vm: Compute Engine refuses the VM ({refusal.code}): {refusal.message}"
                )
            if known is None:
                self._remember(candidate, refusal)
            refused.append((candidate, refusal))
            if refusal.reach is Reach.EVERYWHERE:
                break
            closed.add(candidate.region if refusal.reach is Reach.REGION else candidate.zone)
        return NotPlaced(num, refused)

    def _try(self, num: int, attempt: int, round_: int, candidate: Candidate) -> Refusal | None:
        refusal = None
        for number in range(_TRIES_IN_PLACE):
            if number:
                self.pause(0.5 * 4 ** (number - 1))
            body = self.order.body(num, attempt, candidate)
            request = self.order.request_id(num, attempt, candidate.zone, round_ * _TRIES_IN_PLACE + number)
            refusal = self.compute.insert(candidate.zone, body, request)
            if refusal is None or refusal.reach is not Reach.ATTEMPT:
                return refusal
        return refusal

    def _recently(self, candidate: Candidate) -> Refusal | None:
        """The refusal that holds for this place since a moment ago, so that every job need not meet it again."""
        with self._lock:
            for reach in (candidate.zone, candidate.region, ""):
                at, refusal = self._refused.get(reach, (0.0, None))
                if refusal is not None and self.clock() - at < _REFUSAL_KEPT_S:
                    return refusal
        return None

    def _remember(self, candidate: Candidate, refusal: Refusal) -> None:
        place = {Reach.ZONE: candidate.zone, Reach.REGION: candidate.region}.get(refusal.reach, "")
        if refusal.reach is Reach.ATTEMPT:
            place = candidate.zone
        with self._lock:
            new = place not in self._refused
            self._refused[place] = (self.clock(), refusal)
        if new:
            self.tell(f"{place or 'the project'}: {refusal.message.strip()}")

    def forget_refusals(self) -> None:
        """A VM has left: what was full may have room."""
        with self._lock:
            self._refused.clear()
