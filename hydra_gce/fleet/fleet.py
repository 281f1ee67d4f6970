"""The sweep's VMs: asked for, listed, deleted, put on the bill.

Nothing here remembers more than the ledger and a listing could tell it again, except what was refused a moment ago.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from hydra_gce.compute import GONE, OFF, Compute, Instance
from hydra_gce.fleet.market import Market
from hydra_gce.fleet.pace import Pace
from hydra_gce.fleet.search import Closed, NotPlaced, Placed, Search
from hydra_gce.machines import Candidate, ProvisioningModel
from hydra_gce.money.ledger import Ledger
from hydra_gce.quotas import Quotas
from hydra_gce.request import JOB_LABEL, Order

_PARALLEL_SEARCHES = 32
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
    """The VMs of one sweep. ``tell`` gets a line for the person at each decision."""

    compute: Compute
    order: Order
    candidates: Sequence[Candidate]
    tell: Callable[[str], None]
    quotas: Quotas | None = None
    ledger: Ledger = field(default_factory=Ledger)
    clock: Callable[[], float] = time.time
    pause: Callable[[float], None] | None = None
    rng: random.Random = field(default_factory=random.Random)

    def __post_init__(self) -> None:
        self._closing = threading.Event()
        self._pool = ThreadPoolExecutor(_PARALLEL_SEARCHES, "insert")
        self._asked: dict[Future[Placed | NotPlaced], int] = {}
        self._everywhere_until = 0.0
        pause = self.pause or self._until_closing
        self._market = Market(self.clock, self.quotas)
        self._search = Search(
            self.compute,
            self.order,
            self._market,
            Pace(self.clock, pause),
            self.tell,
            pause,
            self.rng,
        )

    def _until_closing(self, seconds: float) -> None:
        self._closing.wait(seconds)

    def ask(
        self, num: int, attempt: int, round_: int = 0, candidates: Sequence[Candidate] | None = None
    ) -> None:
        """Begins to look for a VM; ``answers`` has it later. ``round_`` tells repeated requests apart."""
        found = self._pool.submit(self._place, num, attempt, round_, candidates or self.candidates)
        self._asked[found] = num

    def answers(self) -> list[Placed | NotPlaced]:
        """What has been decided since the last call.

        :raises ConfigError: Compute Engine says that the request itself is wrong.
        """
        done = [asked for asked in self._asked if asked.done()]
        for asked in done:
            del self._asked[asked]
        return [asked.result() for asked in done]

    @property
    def asking(self) -> int:
        return len(self._asked)

    def instances(self) -> dict[str, Instance]:
        """The sweep's VMs that exist, by name.

        One listing for each of the few zones that they are in, or one over all zones where those are many.
        """
        known = self.ledger.running()  # one that is made from here on may be missing in the listing
        zones = None if self.clock() < self._everywhere_until else self.ledger.zones()
        found = self._by_name(self.compute.instances(self.order.sweep, zones))
        now = self.clock()
        for name in known:
            if name not in found or found[name].status in OFF:
                self.ledger.ended(name, now)
        return found

    def adopt(self) -> list[Adopted]:
        """The VMs that a launcher before this one left, put on the bill."""
        self._everywhere_until = self.clock() + _LOOK_EVERYWHERE_S
        return [
            adopted
            for instance in self._by_name(self.compute.instances(self.order.sweep)).values()
            if (adopted := self.recognized(instance)) is not None
        ]

    def _by_name(self, listed: Iterable[Instance]) -> dict[str, Instance]:
        """Where two zones have a VM of one name, the one that counts: the other failed there, and is being deleted."""
        found: dict[str, Instance] = {}
        for one in listed:
            known = self.ledger.candidate(one.name)
            counts = one.zone == known.zone if known is not None else one.status not in GONE
            if counts or one.name not in found:
                found[one.name] = one
        return found

    def recognized(self, instance: Instance) -> Adopted | None:
        """A listed VM as one that was made for a job of this sweep; None where it tells none."""
        num = instance.labels.get(JOB_LABEL, "")
        candidate = self.ledger.candidate(instance.name) or self._candidate_of(instance)
        if not num.isdigit() or candidate is None:
            return None
        attempt = self.order.attempt_of(instance.name, int(num))
        since = instance.started or instance.created
        self.ledger.began(instance.name, int(num), attempt, candidate, since)
        return Adopted(int(num), attempt, instance.name, instance.status, candidate, since)

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
        """For how many attempts at a job VMs were made, as far as the bill and ``others``, names of VMs, tell."""
        names = [*(one.instance for one in self.ledger.attempts(num, self.clock())), *others]
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

    def _place(
        self, num: int, attempt: int, round_: int, candidates: Sequence[Candidate]
    ) -> Placed | NotPlaced:
        try:
            answer = self._search.place(num, attempt, round_, candidates)
        except Closed:
            return NotPlaced(num, [])
        if isinstance(answer, Placed):
            self.ledger.began(answer.instance, num, attempt, answer.candidate, self.clock())
        return answer
