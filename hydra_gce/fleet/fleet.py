"""The sweep's VMs: asked for, listed, deleted, put on the bill.

Nothing here remembers more than the ledger and a listing could tell it again, except what was refused a moment ago.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from hydra_gce.compute import GONE, LEAVING, OFF, OPERATION_S, QUEUED, Compute, Instance
from hydra_gce.compute.quotas import Quotas
from hydra_gce.errors import Unreachable
from hydra_gce.fleet.market import Market
from hydra_gce.fleet.pace import Pace
from hydra_gce.fleet.search import Closed, NotPlaced, Placed, Search
from hydra_gce.fleet.waiting import Asked, Waiting, may_wait, unqueued
from hydra_gce.labels import JOB_LABEL
from hydra_gce.machines import Candidate, ProvisioningModel
from hydra_gce.money.ledger import Ledger
from hydra_gce.refusals import Refusal
from hydra_gce.request import Order

_PARALLEL_SEARCHES = 64
_LOOK_EVERYWHERE_S = 60.0
"""For so long after a launch was taken up again, a request that its former launcher sent may still make a VM."""


@dataclass(frozen=True)
class Adopted:
    """A VM that a launcher before this one made, which is still there."""

    num: int
    attempt: int
    instance: str
    status: str
    candidate: Candidate
    created: float


@dataclass
class Fleet:
    """The VMs of one sweep. ``tell`` gets a line for the person at each decision.

    ``clock`` gives seconds since the epoch, ``steady`` those that no change of the laptop's clock moves.
    """

    compute: Compute
    order: Order
    candidates: Sequence[Candidate]
    tell: Callable[[str], None]
    quotas: Quotas | None = None
    ledger: Ledger = field(default_factory=Ledger)
    clock: Callable[[], float] = time.time
    steady: Callable[[], float] | None = None
    pause: Callable[[float], None] | None = None
    rng: random.Random = field(default_factory=random.Random)

    def __post_init__(self) -> None:
        self._closing = threading.Event()
        self._pool = ThreadPoolExecutor(_PARALLEL_SEARCHES, "insert")
        self._asked: dict[Future[Placed | NotPlaced | Waiting], int] = {}
        self._queue: dict[str, Waiting] = {}
        self._out_of_queue: list[Placed] = []
        self._everywhere_until = 0.0
        pause = self.pause or self._until_closing
        steady = self.steady or self.clock
        self._market = Market(steady, self.quotas)
        self._search = Search(
            self.compute,
            self.order,
            self._market,
            Pace(steady, pause),
            self.tell,
            pause,
            self.rng,
        )

    def _until_closing(self, seconds: float) -> None:
        self._closing.wait(seconds)

    def without_quota(self) -> list[tuple[Candidate, Refusal]]:
        """The places where the project may not have such a VM at all, and why; nobody asks there."""
        return [
            (candidate, refusal)
            for candidate in self.candidates
            if (refusal := self._market.without_quota(candidate)) is not None
        ]

    def ask(
        self, num: int, attempt: int, round_: int = 0, candidates: Sequence[Candidate] | None = None
    ) -> None:
        """Begins to look for a VM; ``answers`` has it later. ``round_`` tells repeated requests apart."""
        asked = Asked(num, attempt, round_, candidates or self.candidates)
        self._asked[self._pool.submit(self._place, asked)] = num

    def answers(self) -> list[Placed | NotPlaced]:
        """What has been decided since the last call. A VM in Google's queue is decided when it leaves that.

        :raises ConfigError: Compute Engine says that the request itself is wrong.
        """
        answers: list[Placed | NotPlaced] = [*self._out_of_queue]
        self._out_of_queue.clear()
        for asked in [asked for asked in self._asked if asked.done()]:
            del self._asked[asked]
            answer = asked.result()
            if isinstance(answer, Waiting):
                self._queue[answer.placed.instance] = answer
            else:
                answers.append(answer)
        return answers

    @property
    def asking(self) -> int:
        """For how many VMs there is no answer yet."""
        return self.searching + len(self._queue) + len(self._out_of_queue)

    @property
    def searching(self) -> int:
        """For how many VMs places are being asked; those that wait in Google's queue have found one."""
        return len(self._asked)

    @property
    def waiting(self) -> dict[int, Candidate]:
        """The jobs whose VM waits in Google's queue, and where."""
        return {one.placed.num: one.candidate for one in self._queue.values()}

    def cancel(self, num: int) -> None:
        """The job's VM in Google's queue is wanted no more."""
        for name, one in list(self._queue.items()):
            if one.placed.num == num:
                self.compute.delete(one.candidate.zone, name)
                del self._queue[name]

    def instances(self) -> dict[str, Instance]:
        """The sweep's VMs that exist, by name.

        One listing for each of the few zones that they are in, or one over all zones where those are many.
        """
        known = self.ledger.running()  # one that is made from here on may be missing in the listing
        queue = {one.candidate.zone for one in self._queue.values()}
        zones = None if self.clock() < self._everywhere_until else self.ledger.zones() | queue
        found = self._by_name(self.compute.instances(self.order.sweep, zones))
        now = self.clock()
        for name in known:
            if name not in found or found[name].status in OFF:
                self.ledger.ended(name, now)
        for name, waiting in list(self._queue.items()):
            self._follow(waiting, found.get(name), now)
        return found

    def _follow(self, waiting: Waiting, listed: Instance | None, now: float) -> None:
        """Whether a VM still waits in the queue, has left it, or is gone."""
        name = waiting.placed.instance
        if (listed is None or listed.status in OFF) and not waiting.missed:
            # It may have come and gone between two listings: its agent's word may be heard until the next.
            self._queue[name] = replace(waiting, missed=True)
        elif listed is None or listed.status in OFF:
            del self._queue[name]
            self._asked[self._pool.submit(self._after_queue, waiting)] = waiting.placed.num
        elif listed.status == QUEUED:
            if now - waiting.since > self._queue_s + OPERATION_S:  # Google should have ended it
                self.compute.delete(waiting.candidate.zone, name)
        elif listed.status not in LEAVING:
            self.has_run(name, listed.started or now)

    def has_run(self, instance: str, since: float) -> None:
        """A VM, if it is one of the queue, has left it by then: also where it came and went between two listings."""
        waiting = self._queue.pop(instance, None)
        if waiting is not None:
            self._bill(waiting.placed, since)
            self._out_of_queue.append(waiting.placed)

    @property
    def _queue_s(self) -> float:
        return self.order.vm.queue_minutes * 60

    def adopt(self) -> list[Adopted]:
        """The VMs that a launcher before this one left, put on the bill. Those in Google's queue are in ``waiting``."""
        self._everywhere_until = self.clock() + _LOOK_EVERYWHERE_S
        listed = self._by_name(self.compute.instances(self.order.sweep)).values()
        for instance in listed:
            if instance.status == QUEUED:
                self._queue_up(instance)
        found = [adopted for instance in listed if (adopted := self.recognized(instance)) is not None]
        for adopted in found:
            self.take_over(adopted)
        return found

    def _queue_up(self, instance: Instance) -> None:
        """A VM in the queue that a launcher before this one has asked for."""
        num, candidate = instance.labels.get(JOB_LABEL, ""), self._candidate_of(instance)
        if num.isdigit() and candidate is not None:
            attempt = self.order.attempt_of(instance.name, int(num))
            asked = Asked(int(num), attempt, int(self.clock()), self.candidates)
            placed = Placed(int(num), attempt, instance.name, candidate)
            self._queue[instance.name] = Waiting(asked, placed, instance.created)

    def _by_name(self, listed: Iterable[Instance]) -> dict[str, Instance]:
        """Where two zones have a VM of one name, the one that counts: the other failed there, and is being deleted."""
        found: dict[str, Instance] = {}
        for one in listed:
            queued = self._queue.get(one.name)
            known = queued.candidate if queued else self.ledger.candidate(one.name)
            counts = one.zone == known.zone if known is not None else one.status not in GONE
            if counts or one.name not in found:
                found[one.name] = one
        return found

    def recognized(self, instance: Instance) -> Adopted | None:
        """A listed VM as one that was made for a job of this sweep; None where it tells none, or is not made yet."""
        if instance.status == QUEUED:
            return None
        num = instance.labels.get(JOB_LABEL, "")
        candidate = self.ledger.candidate(instance.name) or self._candidate_of(instance)
        if not num.isdigit() or candidate is None:
            return None
        attempt = self.order.attempt_of(instance.name, int(num))
        since = instance.started or instance.created
        return Adopted(int(num), attempt, instance.name, instance.status, candidate, since)

    def take_over(self, adopted: Adopted) -> None:
        """Puts a VM on the bill that no search of this launcher has found.

        One that a search is asking for must not come here: Compute Engine lists it before it knows of a place for it.
        """
        self.ledger.began(adopted.instance, adopted.num, adopted.attempt, adopted.candidate, adopted.created)

    def remember(
        self, instance: str, zone: str, machine_type: str, spot: bool, since: float, until: float
    ) -> None:
        """Puts a VM on the bill that came and went, or only went, while no launcher looked."""
        num = self.order.job_of(instance)
        model = ProvisioningModel.SPOT if spot else None
        candidate = self.ledger.candidate(instance) or self._place_like(zone, machine_type, model)
        if num is not None and candidate is not None:
            self.ledger.began(instance, num, self.order.attempt_of(instance, num), candidate, since)
            self.ledger.ended(instance, until)

    def _candidate_of(self, instance: Instance) -> Candidate | None:
        return self._place_like(instance.zone, instance.machine_type, ProvisioningModel(instance.model))

    def _place_like(self, zone: str, machine_type: str, model: ProvisioningModel | None) -> Candidate | None:
        """The candidate of that zone and machine; ``model`` None: any but spot."""
        for candidate in self.candidates:
            fits = candidate.model is model or (
                model is None and candidate.model is not ProvisioningModel.SPOT
            )
            if fits and (candidate.zone, candidate.machine_type) == (zone, machine_type):
                return candidate
        return None

    def attempts_made(self, num: int, *others: str) -> int:
        """For how many attempts at a job VMs were asked for, as far as the bill and ``others``, names of VMs, tell."""
        names = [*(one.instance for one in self.ledger.attempts(num, self.clock())), *self._queue, *others]
        return max((self.order.attempt_of(name, num) for name in names), default=0)

    def delete(self, instance: str) -> None:
        """Asks for its deletion. It is on the bill until a listing has it no more."""
        candidate = self.ledger.candidate(instance)
        if candidate is not None:
            self.compute.delete(candidate.zone, instance)

    def last_words(self, instance: str) -> str:
        """The end of what the VM wrote to its serial console."""
        candidate = self.ledger.candidate(instance)
        return self.compute.console(candidate.zone, instance) if candidate else ""

    def was_preempted(self, instance: str) -> bool:
        candidate = self.ledger.candidate(instance)
        return candidate is not None and self.compute.was_preempted(candidate.zone, instance)

    def left(self, instance: str) -> None:
        """A VM is gone: where it was may be room."""
        candidate = self.ledger.candidate(instance)
        if candidate is not None:
            self._market.left(candidate)

    def close(self) -> None:
        """No search goes on; those that have sent a request wait for its answer."""
        self._closing.set()
        self._market.close()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _place(self, asked: Asked) -> Placed | NotPlaced | Waiting:
        try:
            answer = self._search.place(
                asked.num, asked.attempt, asked.round_, asked.candidates, asked.refused
            )
        except Closed:
            return NotPlaced(asked.num, [])
        if isinstance(answer, NotPlaced):
            return replace(answer, queued_s=asked.queued_s)
        if may_wait(answer.candidate) and self._is_queued(answer):
            return Waiting(asked, answer, self.clock())
        self._bill(answer, self.clock())
        return answer

    def _is_queued(self, placed: Placed) -> bool:
        try:
            found = self.compute.find(placed.candidate.zone, placed.instance)
        except Unreachable:
            return True  # the next listing tells
        return found is None or found.status == QUEUED

    def _after_queue(self, waiting: Waiting) -> Placed | NotPlaced | Waiting:
        """A listing has a VM of the queue no more: the search goes on elsewhere, unless it is there after all."""
        zone, name = waiting.candidate.zone, waiting.placed.instance
        try:
            found = self.compute.find(zone, name)
            if found is not None and found.status not in OFF:
                return waiting
            why = self.compute.why_not_made(zone, name)
        except Unreachable:
            return waiting
        asked, waited_s = waiting.asked, self.clock() - waiting.since
        refusal = unqueued(waiting.candidate, why, waited_s, self._queue_s)
        refused = (*asked.refused, (waiting.candidate, refusal))
        return self._place(replace(asked, refused=refused, queued_s=asked.queued_s + waited_s))

    def _bill(self, placed: Placed, since: float) -> None:
        self.ledger.began(placed.instance, placed.num, placed.attempt, placed.candidate, since)
