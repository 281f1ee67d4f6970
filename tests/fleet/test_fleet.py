"""The sweep's VMs are listed, ended, put on the bill, and known again by the launcher after this one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

import pytest

from hydra_gce.compute import Instance
from hydra_gce.fleet import Adopted, NotPlaced, Placed
from hydra_gce.machines import VMRequest, resolve
from hydra_gce.money.ledger import Ledger
from tests.compute_stub import Failed, Made, StubbedCompute
from tests.fleet.lab import CANDIDATES, SWEEP, ZONES, Lab, in_turn, only_in

Opened = Callable[..., Lab]


def statuses(lab: Lab) -> dict[str, str]:
    return {name: instance.status for name, instance in lab.fleet.instances().items()}


def test_jobs_of_one_sweep_get_vms_of_their_own(lab: Lab) -> None:
    placed = lab.ask(*range(12))
    names = {answer.instance for answer in placed if isinstance(answer, Placed)}
    assert names == {f"hg-calm-otter-{num}" for num in range(12)} == set(lab.fleet.instances())


# The bill.


def test_the_bill_of_a_job_has_all_of_its_vms(lab: Lab) -> None:
    hourly = CANDIDATES[0].price.hourly
    bill = lab.ledger.bill
    first = lab.place(0)
    lab.place(1)
    lab.now += 1800
    assert bill(0, lab.now) == (bill(1, lab.now)[0], 1800)
    lab.fleet.delete(first.instance)
    lab.fleet.instances()
    lab.now += 600
    lab.place(0, attempt=2)
    lab.now += 3600
    lab.fleet.instances()
    dollars, seconds = bill(0, lab.now)
    assert seconds == 1800 + 3600
    assert abs(dollars - hourly * Decimal("1.5")) < Decimal("0.0001")
    assert bill(1, lab.now)[1] == 1800 + 600 + 3600
    assert bill(2, lab.now) == (Decimal(0), 0.0)


def test_a_vm_made_during_a_listing_stays_on_the_bill(lab: Lab) -> None:
    """The listing does not have it yet, which does not mean that it has ended."""
    done: list[Placed | NotPlaced] = []

    def place_one() -> None:
        lab.compute.before_listing = lambda: None
        done.extend(lab.ask(0))

    lab.place(1)
    lab.compute.before_listing = place_one
    assert list(lab.fleet.instances()) == ["hg-calm-otter-1"]
    assert isinstance(done[0], Placed)
    lab.now += 100
    assert lab.ledger.bill(0, lab.now)[1] == 100


def test_a_vm_that_is_shut_down_is_seen_and_paid_for_until_it_is_gone(lab: Lab) -> None:
    name = lab.place(0).instance
    lab.compute.instances[name]["status"] = "STOPPING"
    for _ in range(3):
        lab.now += 10
        assert statuses(lab) == {name: "STOPPING"}
    del lab.compute.instances[name]
    lab.fleet.instances()
    lab.now += 100
    assert statuses(lab) == {}
    assert lab.ledger.bill(0, lab.now)[1] == 30


def test_a_vm_that_is_off_is_on_the_bill_no_more(lab: Lab) -> None:
    name = lab.place(0).instance
    lab.now += 60
    lab.compute.instances[name]["status"] = "TERMINATED"
    assert statuses(lab) == {name: "TERMINATED"}
    lab.now += 600
    assert lab.ledger.bill(0, lab.now)[1] == 60


# Listing and deleting.


def test_vms_are_listed_in_their_few_zones_or_over_all_of_many(
    opened: Opened, compute: StubbedCompute
) -> None:
    candidates = resolve(VMRequest(regions=["us-*"]))
    lab = opened(candidates=candidates)
    for many in (1, 4, 6):
        compute.filters.clear()
        for num in range(len(compute.instances), many):
            compute.decide = only_in(candidates[num].zone)
            lab.now += 61  # refusals are forgotten
            lab.place(num)
        assert len(lab.fleet.instances()) == many
        assert compute.filters == ["labels.hydra-gce-sweep=calm-otter"] * (many if many <= 4 else 1)


def test_of_two_vms_of_one_name_the_one_on_the_bill_is_listed(lab: Lab) -> None:
    """The other's operation failed in its zone though it was made, and its deletion takes its time."""
    failed = Failed("ZONE_RESOURCE_POOL_EXHAUSTED", made=True)
    lab.compute.decide = in_turn(failed, Made())
    placed = lab.place(0)
    assert placed.candidate.zone == ZONES[1]
    lingering = {**lab.compute.instances[placed.instance], "status": "STOPPING"}
    lab.compute.former.append({**lingering, "zone": lingering["zone"].replace(ZONES[1], ZONES[0])})
    lab.fleet.adopt()  # lists all zones
    assert statuses(lab) == {placed.instance: "RUNNING"}
    again = Lab(lab.compute)
    assert [(one.status, one.candidate.zone) for one in again.fleet.adopt()] == [("RUNNING", ZONES[1])]
    again.fleet.close()


def test_deleting_a_vm_that_is_gone_is_no_error(lab: Lab) -> None:
    placed = lab.place(0)
    lab.fleet.delete(placed.instance)
    lab.fleet.delete(placed.instance)
    lab.fleet.delete("never-was")
    assert lab.compute.deleted == [placed.instance]


# What is asked about one VM.


def test_the_end_of_a_console_is_read(lab: Lab) -> None:
    placed = lab.place(0)
    lab.compute.consoles[placed.instance] = "Kernel panic - not syncing"
    assert lab.fleet.last_words(placed.instance) == "Kernel panic - not syncing"
    assert lab.fleet.last_words("never-was") == ""


def test_only_a_vm_that_compute_engine_took_back_was_preempted(lab: Lab) -> None:
    first, second = lab.place(0).instance, lab.place(10).instance
    assert second.startswith(first[:-1])
    lab.compute.preempted.add(second)
    assert lab.fleet.was_preempted(second)
    assert not lab.fleet.was_preempted(first)
    assert not lab.fleet.was_preempted("never-was")


# After a launcher before this one.


def listed(instance: str, zone: str = ZONES[0], num: str = "3", **more: object) -> Instance:
    labels = {"hydra-gce-sweep": SWEEP, "hydra-gce-job": num}
    return Instance(instance, zone, "RUNNING", "e2-standard-2", labels, 900.0, **{"started": 950.0, **more})  # type: ignore[arg-type]


def test_the_vms_of_a_former_launcher_are_adopted_with_their_bill(opened: Opened) -> None:
    before = opened()
    before.place(0)
    before.place(1, attempt=2)
    after = opened(now=before.now + 1000)
    after.compute.instances["hg-calm-otter-1-a2"]["status"] = "STOPPING"
    adopted = sorted(after.fleet.adopt(), key=lambda one: one.num)
    assert adopted == [
        Adopted(0, 1, "hg-calm-otter-0", "RUNNING", CANDIDATES[0], before.now),
        Adopted(1, 2, "hg-calm-otter-1-a2", "STOPPING", CANDIDATES[0], before.now),
    ]
    assert after.ledger.bill(0, after.now)[1] == 1000
    assert after.compute.filters[-1:] == ["labels.hydra-gce-sweep=calm-otter"]


def test_the_bill_that_was_kept_counts_and_not_what_a_listing_says(opened: Opened) -> None:
    ledger = Ledger()
    ledger.began("hg-calm-otter-0", 0, 1, CANDIDATES[0], 999_000.0)
    lab = opened(ledger=ledger)
    lab.place(0)
    lab.fleet.adopt()
    assert lab.ledger.bill(0, lab.now)[1] == 1000


def test_what_a_former_launcher_still_asked_for_is_found_wherever_it_comes_up(
    opened: Opened, compute: StubbedCompute
) -> None:
    lab = opened()
    assert lab.fleet.adopt() == []
    compute.filters.clear()
    before = Lab(compute)
    before.place(7)
    assert statuses(lab) == {"hg-calm-otter-7": "RUNNING"}
    assert len(compute.filters) == 1
    lab.now += 61
    assert statuses(lab) == {}  # by then it was asked for in no zone that this launcher knows of
    before.fleet.close()


def test_a_listed_vm_is_recognized_by_its_label_name_and_place(lab: Lab) -> None:
    adopted = lab.fleet.recognized(listed("hg-calm-otter-3-a4"))
    assert adopted == Adopted(3, 4, "hg-calm-otter-3-a4", "RUNNING", CANDIDATES[0], 950.0)
    not_started = lab.fleet.recognized(listed("hg-calm-otter-3", started=0.0))
    assert not_started is not None and not_started.created == 900.0


def test_a_vm_is_on_no_bill_while_a_search_asks_for_it(lab: Lab) -> None:
    """Compute Engine lists it as soon as it is asked for, and takes it away again where it has no place for it."""
    adopted = lab.fleet.recognized(listed("hg-calm-otter-3"))
    assert adopted is not None
    assert lab.ledger.running() == []
    lab.fleet.take_over(adopted)
    assert lab.ledger.running() == ["hg-calm-otter-3"]


@pytest.mark.parametrize(
    "strange",
    [
        listed("hg-calm-otter-3", num=""),
        listed("hg-calm-otter-3", num="three"),
        listed("hg-calm-otter-3", zone="asia-east1-a"),
        listed("hg-calm-otter-3", model="SPOT"),
        listed("hg-calm-otter-3", model="RESERVATION_BOUND"),
        replace(listed("hg-calm-otter-3"), machine_type="n1-standard-1"),
    ],
    ids=["no label", "no number", "another zone", "another model", "a model not known", "another machine"],
)
def test_a_vm_that_was_not_made_for_this_sweep_is_not_recognized(lab: Lab, strange: Instance) -> None:
    assert lab.fleet.recognized(strange) is None
    assert lab.ledger.running() == []


def test_a_vm_that_went_while_nobody_looked_is_on_the_bill_for_its_time(opened: Opened) -> None:
    lab = opened(candidates=resolve(VMRequest(provisioning="spot_else_standard", zones=["us-central1-[ab]"])))
    machine = lab.candidates[0].machine_type
    lab.fleet.remember("hg-calm-otter-3-a2", "us-central1-b", machine, True, 1000.0, 1600.0)
    lab.fleet.remember("hg-calm-otter-4", "us-central1-b", machine, False, 1000.0, 1900.0)
    (spot,), (standard,) = lab.ledger.attempts(3, lab.now), lab.ledger.attempts(4, lab.now)
    assert (spot.model.value, spot.zone, spot.seconds) == ("SPOT", "us-central1-b", 600.0)
    assert (standard.model.value, standard.seconds) == ("STANDARD", 900.0)
    assert lab.ledger.running() == []
    assert lab.fleet.attempts_made(3) == 2


def test_a_vm_that_the_bill_has_already_only_gets_its_end(lab: Lab) -> None:
    began = lab.now
    lab.place(3)
    lab.now += 1000
    lab.fleet.remember("hg-calm-otter-3", ZONES[0], "e2-standard-2", False, began + 30, began + 500)
    assert lab.ledger.bill(3, lab.now)[1] == 500


def test_what_no_place_of_this_sweep_could_have_made_is_not_remembered(lab: Lab) -> None:
    lab.fleet.remember("hg-calm-otter-3", "asia-east1-a", "e2-standard-2", False, 1000.0, 1600.0)
    lab.fleet.remember("somebodys", ZONES[0], "e2-standard-2", False, 1000.0, 1600.0)
    assert lab.ledger.jobs() == []


def test_attempts_are_counted_over_launchers(lab: Lab) -> None:
    assert lab.fleet.attempts_made(0) == 0
    assert lab.fleet.attempts_made(0, "") == 0
    lab.place(0)
    assert lab.fleet.attempts_made(0) == 1
    lab.place(0, attempt=3)
    assert lab.fleet.attempts_made(0) == 3
    assert lab.fleet.attempts_made(0, "hg-calm-otter-0-a5", "hg-calm-otter-1-a9") == 5
