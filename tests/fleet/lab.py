"""A fleet at a Compute Engine that refuses at will; its clock and its pauses are the test's."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from hydra_gce.compute import HereCompute
from hydra_gce.compute.quotas import Quotas
from hydra_gce.fleet import Fleet, NotPlaced, Placed
from hydra_gce.machines import Candidate, VMRequest, resolve
from hydra_gce.money.ledger import Ledger
from hydra_gce.request import Order
from hydra_gce.settings import VM
from tests.compute_stub import Failed, Insert, Made, Outcome, StubbedCompute
from tests.patience import wait_until

# Four places, cheapest first: two zones in each of two regions.
CANDIDATES = resolve(VMRequest(machine_type="e2-standard-2", zones=["us-central1-[ab]", "europe-west1-[bc]"]))
ZONES = [candidate.zone for candidate in CANDIDATES]
STOCKOUT = Failed("ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS", "The zone does not have enough resources.")
SWEEP = "calm-otter"


@dataclass
class Lab:
    """``now`` stands still unless the test moves it; ``paused`` are the pauses that the fleet made, which take none."""

    compute: StubbedCompute
    candidates: list[Candidate] = field(default_factory=lambda: CANDIDATES)
    vm: VM = field(default_factory=VM)
    quotas: Quotas | None = None
    ledger: Ledger = field(default_factory=Ledger)
    now: float = 1_000_000.0
    news: list[str] = field(default_factory=list)
    paused: list[float] = field(default_factory=list)
    operations_clock: Callable[[], float] = lambda: 0.0

    def __post_init__(self) -> None:
        self.compute.clock = self.clock
        self.fleet = Fleet(
            HereCompute(self.compute.backend, self.operations_clock, self.paused.append),
            Order(SWEEP, "my-project", self.vm, None, {}),
            self.candidates,
            self.news.append,
            self.quotas,
            self.ledger,
            clock=self.clock,
            pause=self.paused.append,
            rng=random.Random(7),
        )

    def clock(self) -> float:
        return self.now

    def ask(self, *nums: int, attempt: int = 1, round_: int = 0) -> list[Placed | NotPlaced]:
        answers: list[Placed | NotPlaced] = []
        for num in nums:
            self.fleet.ask(num, attempt, round_)

        def answered() -> bool:
            answers.extend(self.fleet.answers())
            return len(answers) >= len(nums)

        wait_until(answered, "the fleet has answered")
        return sorted(answers, key=lambda answer: answer.num)

    def place(self, num: int, **more: int) -> Placed:
        (answer,) = self.ask(num, **more)
        assert isinstance(answer, Placed), str(answer)
        return answer

    def refuse(self, num: int, **more: int) -> NotPlaced:
        (answer,) = self.ask(num, **more)
        assert isinstance(answer, NotPlaced)
        return answer


def only_in(*zones: str) -> Callable[[Insert], Outcome]:
    return lambda insert: Made() if insert.zone in zones else STOCKOUT


def all_but(*zones: str, outcome: Outcome = STOCKOUT) -> Callable[[Insert], Outcome]:
    return lambda insert: outcome if insert.zone in zones else Made()


def in_turn(*outcomes: Outcome) -> Callable[[Insert], Outcome]:
    """The first insert meets the first of them, and so on."""
    following = iter(outcomes)
    return lambda insert: next(following)
