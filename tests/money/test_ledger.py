"""The ledger bills VMs as Compute Engine does, shares them among jobs without losing a millionth, and lasts."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hydra_gce.machines import ProvisioningModel, VMRequest, cost, resolve
from hydra_gce.money.ledger import Ledger
from tests.money.places import place

START = 1_790_000_000.0
HOUR = 3600.0


def test_a_vm_is_billed_by_the_second_from_its_start_to_its_end() -> None:
    ledger = Ledger()
    ledger.began("hg-0", 0, 1, place("0.36"), START)
    assert ledger.bill(0, START + 100) == (Decimal("0.010000"), 100)
    assert ledger.bill(0, START + 100.2)[0] == Decimal("0.010100")  # a begun second is billed
    ledger.ended("hg-0", START + 200)
    assert ledger.bill(0, START + HOUR) == (Decimal("0.020000"), 200)
    assert ledger.spent(START + HOUR) == Decimal("0.020000")


def test_a_vm_costs_a_minute_at_least_and_nothing_if_it_never_ran() -> None:
    ledger = Ledger()
    ledger.began("short", 0, 1, place("0.36"), START)
    ledger.ended("short", START + 5)
    ledger.began("never", 1, 1, place("0.36"), START)
    ledger.ended("never", START)
    assert ledger.bill(0, START + 100) == (Decimal("0.006000"), 5)
    assert ledger.bill(1, START + 100) == (Decimal(0), 0)


def test_a_job_without_a_vm_costs_nothing() -> None:
    assert Ledger().bill(7, START) == (Decimal(0), 0)
    assert Ledger().attempts(7, START) == []
    assert Ledger().spent(START) == Ledger().exposure(START, HOUR) == 0


def test_what_is_said_twice_counts_once() -> None:
    ledger = Ledger()
    ledger.began("hg-0", 0, 1, place("0.36"), START)
    ledger.began("hg-0", 0, 1, place("3.60"), START + 50)
    ledger.works_for("hg-0", 0, START + 20)
    ledger.works_for("hg-0", 1, START + 100)
    version = ledger.version
    ledger.works_for("hg-0", 1, START + 100)
    ledger.works_for("hg-0", 0, START + 20)  # an old status, read once more
    ledger.ended("hg-0", START + 200)
    ledger.ended("hg-0", START + 900)
    ledger.ended("who?", START + 900)
    assert ledger.bill(0, START + HOUR) == ledger.bill(1, START + HOUR) == (Decimal("0.010000"), 100)
    assert ledger.version == version + 1


def test_a_vm_of_a_name_whose_vm_has_ended_is_another_one() -> None:
    ledger = Ledger()
    ledger.began("hg-0", 0, 1, place("0.36"), START)
    ledger.ended("hg-0", START + 100)
    ledger.began("hg-0", 0, 1, place("0.36"), START + 200)
    assert ledger.running() == ["hg-0"]
    ledger.ended("hg-0", START + 300)
    for known in (ledger, Ledger.from_json(ledger.to_json())):
        assert known.bill(0, START + HOUR) == (Decimal("0.020000"), 200)
        assert known.spent(START + HOUR) == Decimal("0.020000")


def test_an_end_before_the_start_is_a_start_that_came_to_nothing() -> None:
    ledger = Ledger()
    ledger.began("hg-0", 0, 1, place("0.36"), START)
    ledger.ended("hg-0", START - 3)
    assert ledger.bill(0, START + 100) == (Decimal(0), 0)
    assert Ledger().spent(START - 100) == 0


def test_a_laptop_whose_clock_went_back_pays_nothing_rather_than_failing() -> None:
    ledger = Ledger()
    ledger.began("hg-0", 0, 1, place("0.36"), START)
    assert ledger.bill(0, START - 10) == (Decimal(0), 0)
    assert ledger.spent(START - 10) == 0


def test_jobs_that_share_a_vm_share_its_bill_booting_and_idling_included() -> None:
    ledger = Ledger()
    ledger.began("hg-0", 0, 1, place("0.36"), START)
    assert ledger.works_for("hg-0", 0, START + 90) == place("0.36")
    assert ledger.works_for("hg-0", 1, START + 1000) == place("0.36")
    assert ledger.works_for("who?", 2, START + 1000) is None
    ledger.ended("hg-0", START + 1800)
    assert ledger.bill(0, START + HOUR) == (Decimal("0.100000"), 1000)
    assert ledger.bill(1, START + HOUR) == (Decimal("0.080000"), 800)
    assert ledger.bill(2, START + HOUR) == (Decimal(0), 0)


def test_the_minute_of_a_short_vm_is_shared_too() -> None:
    ledger = Ledger()
    ledger.began("hg-0", 0, 1, place("0.36"), START)
    ledger.works_for("hg-0", 1, START + 10)
    ledger.ended("hg-0", START + 30)
    assert ledger.bill(0, START + 60) == (Decimal("0.002000"), 10)
    assert ledger.bill(1, START + 60) == (Decimal("0.004000"), 20)


def test_shifts_may_be_heard_of_in_any_order() -> None:
    ledger = Ledger()
    ledger.began("hg-0", 0, 1, place("0.36"), START)
    ledger.works_for("hg-0", 2, START + 300)
    ledger.works_for("hg-0", 1, START + 100)
    ledger.works_for("hg-0", 2, START + 200)  # it began earlier than was known
    ledger.ended("hg-0", START + 600)
    assert [ledger.bill(num, START + HOUR)[1] for num in (0, 1, 2)] == [100, 100, 400]


def test_a_vm_that_comes_back_to_a_job_works_for_it_twice() -> None:
    ledger = Ledger()
    ledger.began("hg-0", 0, 1, place("0.36"), START)
    ledger.works_for("hg-0", 1, START + 100)
    ledger.works_for("hg-0", 0, START + 300)
    ledger.ended("hg-0", START + 1000)
    assert ledger.bill(0, START + HOUR)[1] == 100 + 700
    assert ledger.bill(1, START + HOUR)[1] == 200


def test_a_vm_whose_clock_is_behind_never_worked_before_it_was_made() -> None:
    ledger = Ledger()
    ledger.began("hg-0", 0, 1, place("0.36"), START)
    ledger.works_for("hg-0", 1, START - 50)
    ledger.ended("hg-0", START + 100)
    assert ledger.bill(0, START + HOUR) == (Decimal(0), 0)
    assert ledger.bill(1, START + HOUR) == (Decimal("0.010000"), 100)


def test_a_shift_that_is_said_to_begin_after_the_end_costs_nothing() -> None:
    ledger = Ledger()
    ledger.began("hg-0", 0, 1, place("0.36"), START)
    ledger.works_for("hg-0", 1, START + 500)
    ledger.ended("hg-0", START + 100)
    assert ledger.bill(0, START + HOUR) == (Decimal("0.010000"), 100)
    assert ledger.bill(1, START + HOUR) == (Decimal(0), 0)


def test_attempts_are_a_jobs_vms_one_after_the_other() -> None:
    standard = place("0.72", "us-east1-c", ProvisioningModel.STANDARD, estimated=True)
    ledger = Ledger()
    ledger.began("hg-0", 0, 1, place("0.36"), START)
    ledger.ended("hg-0", START + 100)
    ledger.began("hg-0-a2", 0, 2, standard, START + 150)
    ledger.works_for("hg-0-a2", 1, START + 350)
    first, second = ledger.attempts(0, START + 1150)
    assert (first.num, first.attempt, first.instance, first.zone) == (0, 1, "hg-0", "us-central1-a")
    assert (first.machine, first.model) == ("n1-standard-4 + T4", ProvisioningModel.SPOT)
    assert (first.start, first.end, first.seconds, first.dollars) == (
        START,
        START + 100,
        100,
        Decimal("0.01"),
    )
    assert (first.hourly, first.estimated) == (Decimal("0.36"), False)
    assert (second.attempt, second.model, second.estimated) == (2, ProvisioningModel.STANDARD, True)
    assert (second.start, second.end, second.dollars) == (START + 150, START + 350, Decimal("0.04"))
    (other,) = ledger.attempts(1, START + 1150)
    assert (other.attempt, other.instance, other.start, other.end) == (1, "hg-0-a2", START + 350, None)
    assert other.dollars == Decimal("0.16")


def test_it_knows_which_vms_run_and_where() -> None:
    ledger = Ledger()
    ledger.began("hg-0", 0, 1, place("0.36"), START)
    ledger.began("hg-1", 1, 1, place("0.36", "us-east1-c"), START)
    ledger.began("hg-2", 2, 1, place("0.36", "us-east1-d"), START)
    ledger.ended("hg-1", START + 1)
    assert (ledger.running(), ledger.zones()) == (["hg-0", "hg-2"], {"us-central1-a", "us-east1-d"})
    assert ledger.candidate("hg-1") == place("0.36", "us-east1-c")
    assert ledger.candidate("who?") is None
    assert ledger.jobs() == [0, 1, 2]


def test_exposure_is_what_running_vms_can_still_come_to() -> None:
    ledger = Ledger()
    ledger.began("gone", 0, 1, place("0.36"), START)
    ledger.ended("gone", START + 100)
    ledger.began("runs", 1, 1, place("0.36"), START + 50)
    assert ledger.exposure(START + 200, HOUR) == Decimal("0.01") + Decimal("0.36")
    # One that Compute Engine should have ended has cost what it has cost.
    assert ledger.exposure(START + 50 + 2 * HOUR, HOUR) == Decimal("0.01") + Decimal("0.72")


def test_it_comes_back_from_json_as_it_was() -> None:
    first, *_, last = resolve(VMRequest(gpu="T4", provisioning="spot_else_standard"))
    custom = resolve(VMRequest(machine_type="n2-custom-4-65536-ext", zones=["us-central1-a"]))[0]
    ledger = Ledger()
    for num, candidate in enumerate((first, last, custom, first, place("0.123456789"))):
        ledger.began(f"hg-{num}", num, num + 1, candidate, START + num / 7)
    ledger.works_for("hg-0", 9, START + 100.1)
    ledger.ended("hg-0", START + 1000 / 3)
    again = Ledger.from_json(ledger.to_json())
    now = START + 5000
    assert again.to_json() == ledger.to_json()
    assert again.version == ledger.version
    assert (again.running(), again.zones(), again.jobs()) == (ledger.running(), ledger.zones(), ledger.jobs())
    for num in ledger.jobs():
        assert again.bill(num, now) == ledger.bill(num, now)
        assert again.attempts(num, now) == ledger.attempts(num, now)
        assert again.candidate(f"hg-{num}") == ledger.candidate(f"hg-{num}")
    assert (again.spent(now), again.exposure(now, HOUR)) == (ledger.spent(now), ledger.exposure(now, HOUR))
    again.ended("hg-1", now)
    assert again.version == ledger.version + 1


def test_the_price_at_the_start_counts_whatever_the_catalogue_says_later() -> None:
    ledger = Ledger()
    ledger.began("hg-0", 0, 1, place("0.36"), START)
    dearer = replace(place("0.36"), price=place("0.72").price)
    again = Ledger.from_json(ledger.to_json(), [dearer])
    assert again.bill(0, START + HOUR)[0] == Decimal("0.36")
    again.began("hg-0-a2", 0, 2, dearer, START)
    assert again.bill(0, START + HOUR)[0] == Decimal("0.36") + Decimal("0.72")


def test_a_place_at_hand_is_the_same_object() -> None:
    ledger = Ledger()
    ledger.began("hg-0", 0, 1, place("0.36"), START)
    assert Ledger.from_json(ledger.to_json(), [place("0.36")]).candidate("hg-0") is place("0.36")


def test_a_place_that_many_vms_were_in_is_written_once() -> None:
    ledger = Ledger()
    for num in range(50):
        ledger.began(f"hg-{num}", num, 1, place("0.36"), START)
    assert len(json.loads(ledger.to_json())["places"]) == 1


def test_a_ledger_of_a_version_to_come_is_not_guessed_at() -> None:
    with pytest.raises(ValueError, match="format 99"):
        Ledger.from_json(b'{"format": 99}')


def test_many_threads_may_write_at_once() -> None:
    ledger = Ledger()

    def write(first: int) -> None:
        for num in range(first, first + 50):
            ledger.began(f"hg-{num}", num, 1, place("0.36"), START)
            ledger.works_for(f"hg-{num}", 1000 + num, START + 10)
            ledger.to_json()
            ledger.ended(f"hg-{num}", START + 100)

    threads = [threading.Thread(target=write, args=(50 * number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ledger.version == 4 * 50 * 3
    assert ledger.spent(START + HOUR) == 200 * Decimal("0.01")


moments = st.floats(min_value=0, max_value=20_000, allow_nan=False).map(lambda after: START + after)
hourly_prices = st.decimals(min_value="0.000001", max_value="100", places=6).map(str)


@st.composite
def ledgers(draw: st.DrawFn) -> Ledger:
    """Up to five VMs, each with jobs that it took up at any time, heard of in any order, ended or not."""
    ledger = Ledger()
    for number in range(draw(st.integers(1, 5))):
        name = f"hg-{number}"
        ledger.began(name, draw(st.integers(0, 4)), 1, place(draw(hourly_prices)), draw(moments))
        for num, since in draw(st.lists(st.tuples(st.integers(0, 4), moments), max_size=6)):
            ledger.works_for(name, num, since)
        if (end := draw(st.none() | moments)) is not None:
            ledger.ended(name, end)
    return ledger


@given(ledgers(), moments)
def test_the_shares_of_the_jobs_add_up_to_the_bill(ledger: Ledger, now: float) -> None:
    bills = [ledger.bill(num, now) for num in ledger.jobs()]
    assert sum(dollars for dollars, _ in bills) == ledger.spent(now)
    assert all(dollars >= 0 and seconds >= 0 for dollars, seconds in bills)
    for num, (dollars, seconds) in zip(ledger.jobs(), bills, strict=True):
        attempts = ledger.attempts(num, now)
        assert sum(one.dollars for one in attempts) == dollars
        assert sum(one.seconds for one in attempts) == pytest.approx(seconds)


@given(ledgers(), moments, moments)
def test_what_is_spent_only_grows_and_stays_within_the_exposure(
    ledger: Ledger, one: float, other: float
) -> None:
    before, after = sorted((one, other))
    assert ledger.spent(before) <= ledger.spent(after) <= ledger.exposure(after, HOUR)
    assert ledger.exposure(before, 30_000) == ledger.exposure(after, 30_000)


@given(ledgers(), moments)
def test_nothing_is_lost_in_json(ledger: Ledger, now: float) -> None:
    again = Ledger.from_json(ledger.to_json())
    assert again.to_json() == ledger.to_json()
    assert [again.bill(num, now) for num in ledger.jobs()] == [ledger.bill(num, now) for num in ledger.jobs()]


@given(hourly_prices, st.floats(0.001, 100_000))
def test_a_job_that_has_a_vm_for_itself_has_its_whole_bill(hourly: str, seconds: float) -> None:
    ledger = Ledger()
    ledger.began("hg-0", 0, 1, place(hourly), START)
    ledger.works_for("hg-0", 0, START + seconds / 2)
    ledger.ended("hg-0", START + seconds)
    lived = START + seconds - START  # as far as floats of this size can tell
    assert ledger.bill(0, START + 10 * HOUR)[0] == cost(place(hourly), lived)
