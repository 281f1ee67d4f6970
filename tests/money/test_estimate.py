"""What a sweep may come to is said in one line, with its range and its doubts, and anew once jobs have ended."""

from __future__ import annotations

from decimal import Decimal

import pytest

from hydra_gce.money.estimate import Outlook, before, outlook
from hydra_gce.money.ledger import Ledger
from hydra_gce.settings import VM, Settings
from tests.money.places import place

START = 1_790_000_000.0
CHEAP, DEAR = place("0.24"), place("0.46", "us-east1-c")


def test_with_the_hours_of_a_point_all_of_the_sweep_is_estimated() -> None:
    said = before([CHEAP, DEAR], 3, Settings(expected_hours=0.225))
    assert said == "$0.16-0.31 (us-central1 cheapest)"  # 3 * 0.225 h * 0.24 = 0.162, * 0.46 = 0.3105


def test_without_them_it_is_by_the_hour_with_the_most_that_the_vms_can_come_to() -> None:
    said = before([DEAR, CHEAP], 3, Settings(vm=VM(max_run_hours=10)))
    assert said == "$0.24-0.46/h each (us-central1 cheapest), all 3 at most $13.80 in 10 h"
    said = before([DEAR, CHEAP], 3, Settings(max_vms=2))
    assert said == "$0.24-0.46/h each (us-central1 cheapest), all 2 at most $22.08 in 24 h"
    assert before([CHEAP], 1, Settings()) == "$0.24/h (us-central1), at most $5.76 in 24 h"


def test_a_budget_is_the_most_that_it_can_come_to() -> None:
    assert (
        before([CHEAP], 3, Settings(budget_usd=10.0))
        == "$0.24/h each (us-central1), at most $10.00 (budget_usd)"
    )
    assert before([CHEAP], 1, Settings(budget_usd=10.0)) == "$0.24/h (us-central1), at most $5.76 in 24 h"


@pytest.mark.parametrize(
    ("budget", "said"),
    [
        (5.0, ""),
        (4.0, ", which may be more than budget_usd=4"),
        (2.0, ", which is more than budget_usd=2"),
    ],
)
def test_an_estimate_that_the_budget_will_not_do_for_says_so(budget: float, said: str) -> None:
    settings = Settings(expected_hours=1.0, budget_usd=budget)
    assert before([CHEAP, DEAR], 10, settings) == f"$2.40-4.60 (us-central1 cheapest){said}"


def test_a_price_that_is_in_no_source_is_said_to_be_about_that() -> None:
    guessed = place("0.46", "us-east1-c", estimated=True)
    assert before([CHEAP, guessed], 10, Settings(expected_hours=1.0)).startswith("about $2.40-4.60 ")
    between = place("0.30", "us-east1-c", estimated=True)  # neither end of the range rests on it
    assert before([CHEAP, between, DEAR], 10, Settings(expected_hours=1.0)).startswith("$2.40-4.60 ")


def test_places_at_one_price_are_no_range() -> None:
    zones = [CHEAP, place("0.24", "us-central1-b")]
    assert before(zones, 10, Settings(expected_hours=1.0)) == "$2.40 (us-central1)"


def test_a_small_amount_keeps_the_digits_that_say_something() -> None:
    assert before([place("0.02")], 1, Settings(expected_hours=0.01)) == "$0.00020 (us-central1)"


def sweep() -> Ledger:
    """Jobs 0, 1, 2 have ended and cost 0.01, 0.04 and 0.02; 3 runs; 4 and 5 have not begun."""
    ledger = Ledger()
    for num, lived in enumerate((100, 400, 200)):
        ledger.began(f"hg-{num}", num, 1, place("0.36"), START)
        ledger.ended(f"hg-{num}", START + lived)
    ledger.began("hg-3", 3, 1, place("0.36"), START + 400)
    return ledger


def test_finished_jobs_tell_what_the_others_will_cost() -> None:
    seen = outlook(sweep(), range(6), {0, 1, 2}, START + 500)
    assert seen is not None
    assert seen.spent == Decimal("0.08")  # 0.07, and 100 s of job 3
    assert seen.more == Decimal("0.01") + 2 * Decimal("0.02")  # 100 more of it, and two whole jobs
    assert seen.in_all == Decimal("0.13")
    assert str(seen) == "about $0.13 in all"


def test_a_job_goes_on_at_the_price_of_the_vm_that_it_has_now() -> None:
    ledger = sweep()
    ledger.ended("hg-3", START + 450)
    ledger.began("hg-3-a2", 3, 2, place("3.60"), START + 450)
    seen = outlook(ledger, range(4), {0, 1, 2}, START + 550)
    assert seen is not None
    assert seen.more == Decimal("0.05")  # 50 of its 200 s are left


def test_a_job_that_has_taken_longer_than_the_others_is_about_to_end() -> None:
    seen = outlook(sweep(), range(4), {0, 1, 2}, START + 4000)
    assert seen == Outlook(Decimal("0.43"), Decimal(0))


def test_before_a_job_has_ended_there_is_nothing_to_go_by() -> None:
    assert outlook(sweep(), range(6), set(), START + 450) is None
    assert outlook(Ledger(), range(6), {0}, START) is None
