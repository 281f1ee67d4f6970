"""What a sweep may come to: said before the first VM, and again as soon as jobs have shown how long they take."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from decimal import Decimal
from statistics import median

from hydra_gce.display.figures import money
from hydra_gce.machines import Candidate, dollars, estimate
from hydra_gce.machines.prices import rounded
from hydra_gce.money.budget import limit_of
from hydra_gce.money.ledger import Ledger
from hydra_gce.settings import Settings

_IN_CENTS = Decimal("0.1")


@dataclass(frozen=True)
class Span:
    """US dollars, from the cheapest place to the dearest. `estimated`: a price in it is in no source of ours."""

    least: Decimal
    most: Decimal
    cheapest: Candidate
    estimated: bool
    regions: int

    @classmethod
    def of(cls, candidates: Sequence[Candidate], hours: Decimal) -> Span:
        """So many VM hours, over these places."""
        least, most = estimate(candidates, hours)
        by_price = sorted(candidates, key=lambda candidate: candidate.price.hourly)
        return cls(
            least=least,
            most=most,
            cheapest=by_price[0],
            estimated=by_price[0].price.estimated or by_price[-1].price.estimated,
            regions=len({candidate.region for candidate in candidates}),
        )

    def __str__(self) -> str:
        """``about $0.16-0.31``."""
        least, most = _amount(self.least), _amount(self.most)
        both = least if least == most else f"{least}-{most.removeprefix('$')}"
        return f"about {both}" if self.estimated else both

    @property
    def where(self) -> str:
        return f"({self.cheapest.region} cheapest)" if self.regions > 1 else f"({self.cheapest.region})"


@dataclass(frozen=True)
class Outlook:
    """US dollars: what is spent, what the jobs that are left will take, and both together."""

    spent: Decimal
    more: Decimal

    @property
    def in_all(self) -> Decimal:
        return self.spent + self.more

    def __str__(self) -> str:
        return f"about {_amount(self.in_all)} in all"


def before(candidates: Sequence[Candidate], points: int, settings: Settings) -> str:
    """The estimate of a sweep of so many points, in the words that its title has.

    With `expected_hours`: all of it. Without: by the hour, and the most that the VMs which run at once can come to in
    their `max_run_hours`.
    """
    if settings.expected_hours is None:
        return _by_the_hour(candidates, points, settings)
    span = Span.of(candidates, points * Decimal(str(settings.expected_hours)))
    return f"{span} {span.where}{_beside_budget(span, settings)}"


def outlook(ledger: Ledger, jobs: Collection[int], finished: Collection[int], now: float) -> Outlook | None:
    """What a sweep will come to, if each job that is left takes as long as the median of the finished ones.

    A job that runs has had a part of its time already, and goes on at the price of the VM that it has; one that has
    taken longer is thought to be about to end. None while no finished job has had a VM.
    """
    known = [ledger.bill(num, now) for num in jobs if num in finished]
    if not any(seconds for _, seconds in known):
        return None
    dollars, seconds = median(cost for cost, _ in known), median(time for _, time in known)
    left = (_left(ledger, num, now, dollars, seconds) for num in jobs if num not in finished)
    return Outlook(ledger.spent(now), rounded(sum(left, Decimal(0))))


def _left(ledger: Ledger, num: int, now: float, dollars: Decimal, seconds: float) -> Decimal:
    """What a job will still cost, where others took so many dollars and seconds."""
    attempts = ledger.attempts(num, now)
    if not attempts:
        return dollars
    had = sum(one.seconds for one in attempts)
    return attempts[-1].hourly * Decimal(max(0.0, seconds - had)) / 3600


def _by_the_hour(candidates: Sequence[Candidate], points: int, settings: Settings) -> str:
    hourly = Span.of(candidates, Decimal(1))
    vms = min(points, settings.max_vms or points)
    hours = Decimal(str(settings.vm.max_run_hours))
    most = Span.of(candidates, vms * hours).most
    rate = f"{hourly}/h{'' if vms == 1 else ' each'} {hourly.where}"
    limit = limit_of(settings)
    if limit is not None and limit <= most:
        return f"{rate}, at most {_amount(limit)} (budget_usd)"
    whose = "" if vms == 1 else f"all {vms} "
    return f"{rate}, {whose}at most {_amount(most)} in {settings.vm.max_run_hours:g} h"


def _beside_budget(span: Span, settings: Settings) -> str:
    limit = limit_of(settings)
    if limit is None or span.most <= limit:
        return ""
    verb = "is" if span.least > limit else "may be"
    return f", which {verb} more than budget_usd={limit:f}"


def _amount(amount: Decimal) -> str:
    """To the cent; what is less than ten of them, with the digits that say something."""
    if amount < _IN_CENTS:
        return money(amount)
    return f"${dollars(amount):,}"
