"""Whether a sweep's budget lets another VM start, and when those that run must end.

Two promises, `hydra.launcher.on_budget`. *wait*: a VM starts only if the budget would hold even if it, and every other,
ran until Compute Engine deletes it. *end*: a VM counts with what it has cost, and all end in time for that to be within
the budget.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal

from hydra_gce.display.figures import money
from hydra_gce.errors import ConfigError
from hydra_gce.machines import Candidate, cost
from hydra_gce.machines.prices import CENT, LEAST_SECONDS
from hydra_gce.money.ledger import Ledger
from hydra_gce.settings import Settings

OVERTIME_S = 120.0
"""A VM is on the bill until it is off: the end of `maxRunDuration` comes up to 30 seconds late
(https://cloud.google.com/compute/docs/instances/limit-vm-runtime), and a guest may take 90 to shut down
(https://cloud.google.com/compute/docs/shutdownscript)."""

_LEAST_RUN_S = 30.0  # of scheduling.maxRunDuration
_WORTH_STARTING_S = 300.0  # a VM that has to end before it has booted is money for nothing


def limit_of(settings: Settings) -> Decimal | None:
    """`hydra.launcher.budget_usd`, as it was typed: 10 is no 10.0."""
    return None if settings.budget_usd is None else Decimal(str(settings.budget_usd)).normalize()


@dataclass(frozen=True)
class Budget:
    """limit: US dollars for the whole sweep. mode: "wait" or "end". max_run_s: after which Compute Engine deletes a VM.

    grace_s: how long a program may take to save its work when it is told to end.
    """

    limit: Decimal
    mode: str
    max_run_s: float
    grace_s: float = 15.0

    @classmethod
    def of(cls, settings: Settings) -> Budget | None:
        """What the settings say; None where there is no limit."""
        limit = limit_of(settings)
        if limit is None:
            return None
        return cls(limit, settings.on_budget, settings.vm.max_run_hours * 3600, settings.preempt_grace_s)

    def check(self, candidates: Sequence[Candidate]) -> None:
        """:raises ConfigError: not even one VM, in the cheapest place, is within the budget."""
        cheapest = min(candidates, key=lambda candidate: candidate.price.hourly)
        if self.counted(cheapest) > self.limit:
            raise ConfigError(self._too_small_for(cheapest))

    def may_start(
        self, ledger: Ledger, candidate: Candidate, now: float, asked: Iterable[Candidate] = ()
    ) -> bool:
        """Whether another VM there would leave the sweep within its budget.

        :param asked: where VMs are asked for that Compute Engine has not made yet: they count like this one.
        """
        new = sum((self.counted(one) for one in asked), self.counted(candidate))
        return self.committed(ledger, now) + new <= self.limit

    def exhausted(self, ledger: Ledger, candidates: Iterable[Candidate], now: float) -> bool:
        """Whether no VM can start any more, ever: none runs whose end could make room for another."""
        return not ledger.running() and not any(self.may_start(ledger, one, now) for one in candidates)

    def reached(self, ledger: Ledger, now: float) -> bool:
        """Whether the VMs that run must end now. Never, where jobs wait instead.

        Once it is, it is for good: what ending leaves over is no reason to begin again.
        """
        return self.mode == "end" and self.committed(ledger, now) >= self.limit

    def counted(self, candidate: Candidate) -> Decimal:
        """What a VM that does not run yet counts for: all that it can cost, or a beginning and an end of work."""
        if self.mode == "wait":
            return cost(candidate, self.max_run_s + OVERTIME_S)
        return cost(candidate, _WORTH_STARTING_S + self.grace_s + LEAST_SECONDS)

    def committed(self, ledger: Ledger, now: float) -> Decimal:
        """What is spent, and what the VMs that run count for beside."""
        if self.mode == "wait":
            return ledger.exposure(now, self.max_run_s + OVERTIME_S)
        running = [candidate for name in ledger.running() if (candidate := ledger.candidate(name))]
        return ledger.spent(now) + sum((self._ending(one) for one in running), Decimal(0))

    def said(self, ledger: Ledger, now: float) -> str:
        """Where the sweep stands, in a few words for a person."""
        spent, more = ledger.spent(now), self.committed(ledger, now) - ledger.spent(now)
        can = f", and {money(more)} more can be before the VMs that run are gone" if more else ""
        return f"{money(spent)} of budget_usd={self.limit:f} is spent{can}"

    def _ending(self, candidate: Candidate) -> Decimal:
        """The price of saving the work, and of a minute until the VM is gone."""
        return cost(candidate, self.grace_s + LEAST_SECONDS)

    def _too_small_for(self, candidate: Candidate) -> str:
        least = self.counted(candidate).quantize(CENT, rounding=ROUND_CEILING)
        where = (
            f"hydra.launcher.budget_usd={self.limit:f}: no VM could be started. The cheapest ({candidate},"
        )
        where += f" {candidate.price})"
        if self.mode == "end":
            return (
                f"{where} costs more than that before it has begun its work and ended it."
                f" Say budget_usd={least} at the very least, and all that the work itself takes."
            )
        hours = self._hours_within(candidate)
        shorter = f"vm.max_run_hours={hours} or less, " if hours else ""
        return (
            f"{where} can cost {money(least)} until its vm.max_run_hours={self.max_run_s / 3600:g} are over."
            f" Say {shorter}budget_usd={least} or more, or on_budget=end: a VM then counts with what it has cost."
        )

    def _hours_within(self, candidate: Candidate) -> str:
        """The largest vm.max_run_hours with which this VM is within the budget; nothing where there is none."""
        seconds = self.limit * 3600 / candidate.price.hourly - Decimal(OVERTIME_S)
        hours = (seconds // 36) / 100
        return f"{hours:f}" if hours * 3600 >= Decimal(_LEAST_RUN_S) else ""
