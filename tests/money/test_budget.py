"""A budget that nothing fits is refused beforehand; one that is kept lets no VM start or run that would pass it."""

from __future__ import annotations

import re
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hydra_gce.errors import ConfigError
from hydra_gce.machines import Candidate, cost
from hydra_gce.money.budget import OVERTIME_S, Budget
from hydra_gce.money.ledger import Ledger
from hydra_gce.settings import VM, Settings
from tests.money.places import place

START = 1_790_000_000.0
DAY = 86_400.0


def waiting(limit: str, max_run_s: float = DAY) -> Budget:
    return Budget(Decimal(limit), "wait", max_run_s)


def ending(limit: str) -> Budget:
    return Budget(Decimal(limit), "end", DAY, grace_s=15)


def running(*places: Candidate, since: float = START) -> Ledger:
    ledger = Ledger()
    for num, candidate in enumerate(places):
        ledger.began(f"hg-{num}", num, 1, candidate, since)
    return ledger


def refused(budget: Budget, *places: Candidate) -> str:
    with pytest.raises(ConfigError) as refusal:
        budget.check(places)
    return str(refusal.value)


def test_settings_say_the_budget() -> None:
    assert Budget.of(Settings()) is None
    said = Settings(budget_usd=2.1, on_budget="end", preempt_grace_s=20.0, vm=VM(max_run_hours=1.5))
    assert Budget.of(said) == Budget(Decimal("2.1"), "end", 5400.0, 20.0)


def test_a_budget_that_one_vm_could_pass_is_refused_with_what_to_write_instead() -> None:
    said = refused(waiting("2"), place("1.00", "us-east1-c"), place("0.36"))
    assert said.startswith("hydra.launcher.budget_usd=2: no VM could be started.")
    assert "spot n1-standard-4 + T4 in us-central1-a, $0.360/h" in said  # the cheapest
    assert "can cost $8.66 until its vm.max_run_hours=24 are over" in said  # 0.36 * (24 h + 120 s) = 8.652
    assert "Say vm.max_run_hours=5.52 or less, budget_usd=8.66 or more, or on_budget=end" in said


def test_what_is_proposed_instead_is_accepted() -> None:
    said = refused(waiting("2"), place("0.36"))
    hours, dollars = re.findall(r"max_run_hours=([\d.]+) or less, budget_usd=([\d.]+) or more", said)[0]
    waiting("2", float(hours) * 3600).check([place("0.36")])
    waiting(dollars).check([place("0.36")])
    refused(waiting("2", (float(hours) + 0.01) * 3600), place("0.36"))
    refused(waiting(str(Decimal(dollars) - Decimal("0.01"))), place("0.36"))
    ending("2").check([place("0.36")])


def test_a_time_that_compute_engine_would_not_take_is_not_proposed() -> None:
    said = refused(waiting("0.01"), place("0.36"))
    assert "or less" not in said
    assert "Say budget_usd=8.66 or more" in said


def test_where_vms_end_at_the_budget_it_need_only_do_for_a_beginning() -> None:
    ending("0.04").check([place("0.36")])
    said = refused(ending("0.03"), place("0.36"))
    assert "Say budget_usd=0.04 at the very least" in said


def test_a_vm_waits_until_its_worst_case_fits() -> None:
    budget = waiting("20")  # one can come to 8.652
    ledger = running(place("0.36"))
    assert budget.may_start(ledger, place("0.36"), START)
    ledger.began("hg-1", 1, 1, place("0.36"), START)
    assert not budget.may_start(ledger, place("0.36"), START + 60)
    ledger.ended("hg-0", START + 3600)  # it has cost 0.36, and no more is to be feared of it
    assert budget.may_start(ledger, place("0.36"), START + 3600)
    assert not budget.may_start(ledger, place("0.72"), START + 3600)  # dearer places still do not fit


def test_vms_that_are_asked_for_count_as_if_they_ran() -> None:
    budget = waiting("20")
    assert budget.may_start(Ledger(), place("0.36"), START, [place("0.36")])
    assert not budget.may_start(Ledger(), place("0.36"), START, [place("0.36"), place("0.36")])
    assert not ending("0.1").may_start(Ledger(), place("0.36"), START, [place("0.36")] * 2)


def test_jobs_that_wait_are_never_ended() -> None:
    assert not waiting("9").reached(running(place("0.36")), START + 100 * DAY)


def test_running_vms_end_in_time_to_be_gone_within_the_budget() -> None:
    budget = ending("1.00")
    ledger = running(place("0.36"), place("0.36"))
    # Two VMs take 0.72 an hour, and 75 seconds of each, 0.015 in all, are kept for the end: 0.985 / 0.72 * 3600 s
    assert not budget.reached(ledger, START + 4924)
    assert budget.reached(ledger, START + 4925)
    for name in ledger.running():
        ledger.ended(name, START + 4925 + 75)
    assert ledger.spent(START + DAY) <= Decimal("1.00")


def test_a_vm_that_would_have_to_end_at_once_is_not_started() -> None:
    budget = ending("1.00")
    ledger = running(place("0.36"))
    ledger.ended("hg-0", START + 9700)  # 0.97
    assert not budget.reached(ledger, START + DAY)
    assert not budget.may_start(ledger, place("0.36"), START + DAY)
    assert budget.may_start(ledger, place("0.18"), START + DAY)


def test_a_budget_is_exhausted_when_nothing_can_make_room_any_more() -> None:
    budget = waiting("9")
    ledger = running(place("0.36"))
    assert not budget.exhausted(Ledger(), [place("0.36")], START)
    assert not budget.exhausted(ledger, [place("0.36")], START + 3600)  # it may end, and make room
    ledger.ended("hg-0", START + 3600)
    assert budget.exhausted(ledger, [place("0.36")], START + 3600)
    assert not budget.exhausted(ledger, [place("0.72"), place("0.18")], START + 3600)


def test_a_person_is_told_where_the_budget_stands() -> None:
    ledger = running(place("0.36"))
    assert waiting("9").said(ledger, START + 3600) == (
        "$0.360 of budget_usd=9 is spent, and $8.29 more can be before the VMs that run are gone"
    )
    ledger.ended("hg-0", START + 3600)
    assert waiting("9").said(ledger, START + 9000) == "$0.360 of budget_usd=9 is spent"


hourly = st.decimals(min_value="0.01", max_value="5", places=3).map(str)
lifetimes = st.lists(st.tuples(hourly, st.floats(1, DAY + OVERTIME_S)), min_size=1, max_size=12)


@given(
    limit=st.decimals(min_value="0.5", max_value="200", places=2).map(str),
    vms=lifetimes,
    together=st.booleans(),
)
def test_whatever_happens_to_the_vms_the_budget_holds(
    limit: str, vms: list[tuple[str, float]], together: bool
) -> None:
    budget, ledger, now = waiting(limit), Ledger(), START
    for num, (price, lives) in enumerate(vms):
        if budget.may_start(ledger, place(price), now):
            ledger.began(f"hg-{num}", num, 1, place(price), now)
            if not together:
                now += lives
                ledger.ended(f"hg-{num}", now)
    assert ledger.spent(START + DAY + OVERTIME_S if together else now) <= Decimal(limit)


@given(limit=st.decimals(min_value="0.05", max_value="90", places=2).map(str), price=hourly)
def test_the_longest_time_proposed_is_the_longest_that_fits(limit: str, price: str) -> None:
    candidate = place(price)
    if cost(candidate, DAY + OVERTIME_S) <= Decimal(limit):
        return
    proposed = re.search(r"max_run_hours=([\d.]+) or less", refused(waiting(limit), candidate))
    if proposed:
        waiting(limit, float(proposed[1]) * 3600).check([candidate])
        refused(waiting(limit, (float(proposed[1]) + 0.011) * 3600), candidate)
