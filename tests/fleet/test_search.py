"""One place after the other is asked for a VM, cheapest first; what is not known is asked again, never elsewhere."""

from __future__ import annotations

import itertools
import re
import threading
from collections.abc import Callable

import pytest

from hydra_gce import catalog
from hydra_gce.compute import OPERATION_S
from hydra_gce.errors import ConfigError
from hydra_gce.fleet import NotPlaced, Placed
from hydra_gce.machines import VMRequest, resolve
from hydra_gce.settings import VM
from tests.compute_stub import Dropped, Failed, Insert, Made, Outcome, Refused, StubbedCompute, Stuck
from tests.fleet.lab import CANDIDATES, STOCKOUT, ZONES, Lab, all_but, in_turn
from tests.patience import wait_until

Opened = Callable[..., Lab]

BUSY = Refused(503, "backendError", "Backend Error")
IN_USE = Failed("QUOTA_EXCEEDED", "Quota 'CPUS' exceeded.  Limit: 24.0 in region us-central1.")


def test_the_four_places_of_these_tests_are_two_in_each_of_two_regions() -> None:
    assert len(ZONES) == 4
    assert [candidate.region for candidate in CANDIDATES] == ["us-central1"] * 2 + ["europe-west1"] * 2


def test_every_zone_belongs_to_the_region_that_a_refusal_closes() -> None:
    assert all(zone.rpartition("-")[0] == region for zone, region in catalog.zones().items())


def test_the_cheapest_place_is_asked_first_and_taken(lab: Lab) -> None:
    placed = lab.place(3)
    assert placed == Placed(3, 1, "hg-calm-otter-3", CANDIDATES[0])
    assert lab.compute.asked == ZONES[:1]
    assert {name: one.status for name, one in lab.fleet.instances().items()} == {"hg-calm-otter-3": "RUNNING"}
    assert lab.compute.filters == ["labels.hydra-gce-sweep=calm-otter"]
    assert lab.paused == []


def test_a_zone_without_stock_is_followed_by_the_next_zone(lab: Lab) -> None:
    lab.compute.decide = all_but(*ZONES[:3])
    assert lab.place(0).candidate.zone == ZONES[3]
    assert lab.compute.asked == ZONES
    assert lab.compute.deleted == []  # there was nothing to delete, which is no error


def test_a_regions_quota_closes_its_other_zones(lab: Lab) -> None:
    lab.compute.decide = all_but(*ZONES[:2], outcome=IN_USE)
    assert lab.place(0).candidate.zone == ZONES[2]
    assert lab.compute.asked == [ZONES[0], ZONES[2]]


def test_a_quota_of_the_whole_project_ends_the_search(lab: Lab) -> None:
    quota = Failed("QUOTA_EXCEEDED", "Quota 'GPUS_ALL_REGIONS' exceeded.  Limit: 1.0 globally.")
    lab.compute.decide = lambda insert: quota
    refused = lab.refuse(0)
    assert lab.compute.asked == ZONES[:1]
    assert refused.may_pass


def test_what_has_no_quota_at_all_is_not_waited_for(lab: Lab) -> None:
    def none_here(insert: Insert) -> Outcome:
        region = insert.zone.rpartition("-")[0]
        return Failed("QUOTA_EXCEEDED", f"Quota 'NVIDIA_A100_GPUS' exceeded.  Limit: 0.0 in region {region}.")

    lab.compute.decide = none_here
    assert not lab.refuse(0).may_pass


def test_what_a_spot_vm_is_refused_a_standard_one_may_be_given(opened: Opened) -> None:
    places = resolve(VMRequest(provisioning="spot_else_standard", zones=["us-central1-a"]))
    assert [place.model.value for place in places] == ["SPOT", "STANDARD"]
    lab = opened(candidates=places)
    lab.compute.decide = in_turn(STOCKOUT, Made(), Made())
    assert lab.place(0).candidate == places[1]
    assert lab.place(1).candidate == places[1]  # and the next job does not ask for a spot one again
    models = [insert.body["scheduling"]["provisioningModel"] for insert in lab.compute.inserts]
    assert models == ["SPOT", "STANDARD", "STANDARD"]


def test_what_is_refused_whatever_the_model_is_not_asked_for_as_another_one(opened: Opened) -> None:
    places = resolve(VMRequest(provisioning="spot_else_standard", zones=["us-central1-a"]))
    lab = opened(candidates=places)
    message = "The resource 'projects/p/zones/us-central1-a' was not found"
    lab.compute.decide = lambda insert: Refused(404, "notFound", message)
    assert [candidate for candidate, _ in lab.refuse(0).refused] == places[:1]
    assert len(lab.compute.inserts) == 1


def test_the_answer_says_what_each_place_said(lab: Lab) -> None:
    lab.compute.decide = lambda insert: STOCKOUT
    refused = lab.refuse(0)
    assert [candidate.zone for candidate, _ in refused.refused] == ZONES
    assert {refusal.code for _, refusal in refused.refused} == {STOCKOUT.code}
    assert refused.may_pass


@pytest.mark.parametrize(
    ("outcome", "least_s"),
    [
        (BUSY, 0.0),
        (Refused(429, "rateLimitExceeded", "Rate Limit Exceeded"), 5.0),
        (Refused(500, "internalError", "Internal error"), 0.0),
        (Refused(429, "somethingNew", "Slow down"), 0.0),
        (Failed("RESOURCE_OPERATION_RATE_EXCEEDED", "Operation rate exceeded"), 5.0),
        (Failed("INTERNAL_ERROR", "Internal error"), 0.0),
    ],
)
def test_a_passing_trouble_is_met_with_patience_in_the_same_place(
    lab: Lab, outcome: Outcome, least_s: float
) -> None:
    lab.compute.decide = in_turn(outcome, outcome, Made())
    assert lab.place(0).candidate.zone == ZONES[0]
    assert lab.compute.asked == [ZONES[0]] * 3
    first, second = lab.paused
    assert max(least_s, 0.25) <= first <= max(0.75, 1.5 * least_s)
    assert max(least_s, 0.5) <= second <= max(1.5, 1.5 * least_s)
    # A requestId that came before would be answered with the failure of before.
    assert len({insert.request_id for insert in lab.compute.inserts}) == 3


def test_patience_ends_and_the_next_place_is_asked(lab: Lab) -> None:
    lab.compute.decide = all_but(ZONES[0], outcome=BUSY)
    assert lab.place(0).candidate.zone == ZONES[1]
    assert lab.compute.asked == [ZONES[0]] * 4 + [ZONES[1]]
    assert len(lab.paused) == 3


def test_no_two_searches_pause_in_step(lab: Lab) -> None:
    lab.compute.decide = all_but(ZONES[0], outcome=BUSY)
    lab.place(0)
    lab.now += 20  # a place that was only busy is asked again soon
    lab.place(1)
    assert len(lab.paused) == len(set(lab.paused)) == 6


def test_another_round_asks_with_numbers_of_its_own(lab: Lab) -> None:
    lab.compute.decide = lambda insert: STOCKOUT
    lab.refuse(0, round_=0)
    lab.now += 61
    lab.refuse(0, round_=1)
    assert len({insert.request_id for insert in lab.compute.inserts}) == 2 * len(ZONES)


@pytest.mark.parametrize("lost", [Made(answered=False), Dropped()], ids=["carried out", "not carried out"])
def test_a_request_whose_answer_is_lost_is_sent_again_as_it_was_and_to_nobody_else(
    lab: Lab, lost: Outcome
) -> None:
    lab.compute.decide = in_turn(lost, *[Made()] * 3)
    assert lab.place(0).candidate.zone == ZONES[0]
    assert [(insert.zone, insert.request_id) for insert in lab.compute.inserts] == [
        (ZONES[0], lab.compute.inserts[0].request_id)
    ] * 2
    assert list(lab.compute.instances) == ["hg-calm-otter-0"]
    assert lab.news == []


def test_no_time_without_an_answer_is_long_enough_to_go_elsewhere(lab: Lab) -> None:
    lab.compute.decide = in_turn(*[Dropped()] * 12, Made())
    assert lab.place(0).candidate.zone == ZONES[0]
    assert lab.compute.asked == [ZONES[0]] * 13
    assert len({insert.request_id for insert in lab.compute.inserts}) == 1
    assert len(lab.paused) == 12
    assert max(lab.paused) <= 45.0  # growing, up to half a minute and its half


def test_what_a_lost_answer_said_is_heard_in_the_end(lab: Lab) -> None:
    """The operation has failed meanwhile: that is the answer to the request, and the next place is asked."""
    failing = Failed("ZONE_RESOURCE_POOL_EXHAUSTED")
    lab.compute.decide = in_turn(Dropped(), failing, Made())
    assert lab.place(0).candidate.zone == ZONES[1]
    assert lab.compute.asked == [ZONES[0], ZONES[0], ZONES[1]]


def test_a_vm_that_was_made_in_spite_of_an_error_is_taken(lab: Lab) -> None:
    lab.compute.decide = lambda insert: Refused(503, "backendError", "Backend Error", made=True)
    assert lab.place(0).candidate.zone == ZONES[0]
    assert len(lab.compute.inserts) == 1
    assert lab.compute.deleted == []


def test_an_attempts_own_vm_that_is_there_already_is_taken(lab: Lab) -> None:
    lab.place(0, round_=0)
    assert lab.place(0, round_=1).candidate.zone == ZONES[0]  # 409: the request has another number
    assert len(lab.compute.inserts) == 2
    assert list(lab.compute.instances) == ["hg-calm-otter-0"]


def test_a_name_that_is_being_given_up_is_waited_for_and_not_taken(lab: Lab) -> None:
    name = lab.place(0, round_=0).instance
    lab.compute.instances[name]["status"] = "STOPPING"
    assert lab.place(0, round_=1).candidate.zone == ZONES[1]
    assert lab.compute.asked == [ZONES[0]] * 5 + [ZONES[1]]
    assert len(lab.paused) == 3


def test_a_vm_of_an_operation_that_failed_is_deleted(lab: Lab) -> None:
    """Compute Engine may have made it, and it would go on costing."""
    failed = Failed("ZONE_RESOURCE_POOL_EXHAUSTED", "The zone does not have enough resources.", made=True)
    lab.compute.decide = all_but(ZONES[0], outcome=failed)
    assert lab.place(0).candidate.zone == ZONES[1]
    assert lab.compute.deleted == ["hg-calm-otter-0"]
    assert [one["zone"].rpartition("/")[2] for one in lab.compute.instances.values()] == [ZONES[1]]


def test_an_operation_that_is_stuck_is_given_up_with_its_vm(opened: Opened) -> None:
    clock = itertools.count(step=OPERATION_S / 4)
    lab = opened(operations_clock=lambda: next(clock))
    lab.compute.decide = in_turn(Stuck(), Made())
    assert lab.place(0).candidate.zone == ZONES[1]
    assert lab.compute.deleted == ["hg-calm-otter-0"]
    assert lab.compute.waits < 10
    said = "has not made it in the time that it takes elsewhere"
    assert lab.news == [f"{ZONES[0]} {said}; trying {ZONES[1]} (same price)"]


def test_googles_own_queue_may_take_its_time(opened: Opened) -> None:
    """A flex-start VM may wait for as long as was asked for, before its operation is stuck."""
    places = resolve(VMRequest(gpu="A100", provisioning="flex_start", zones=["us-central1-[ab]"]))
    clock = itertools.count(step=600.0)
    lab = opened(candidates=places, vm=VM(queue_minutes=90.0), operations_clock=lambda: next(clock))
    lab.compute.decide = in_turn(Stuck(), Made())
    lab.place(0)
    assert 8 <= lab.compute.waits <= 10


@pytest.mark.parametrize(
    "outcome",
    [
        Refused(400, "invalid", "Invalid value for field 'resource.disks[0].initializeParams.sourceImage'"),
        Refused(404, "notFound", "The resource 'projects/p/global/images/mine' was not found"),
    ],
)
def test_a_request_that_is_wrong_everywhere_is_said_at_once(lab: Lab, outcome: Refused) -> None:
    lab.compute.decide = lambda insert: outcome
    with pytest.raises(ConfigError, match=re.escape(outcome.message)):
        lab.ask(0)
    assert lab.compute.asked == ZONES[:1]


@pytest.mark.parametrize(
    "message",
    [
        "Invalid value for field 'resource.machineType': 'zones/z/machineTypes/e2-standard-2'. "
        "Machine type with name 'e2-standard-2' does not exist in zone 'z'.",
        "The resource 'projects/p/zones/z/acceleratorTypes/nvidia-tesla-t4' was not found",
        "The resource 'projects/p/zones/z' was not found",
    ],
)
def test_a_machine_that_a_zone_does_not_sell_is_looked_for_in_the_next(lab: Lab, message: str) -> None:
    lab.compute.decide = all_but(ZONES[0], outcome=Refused(400, "invalid", message))
    assert lab.place(0).candidate.zone == ZONES[1]


def test_a_field_that_the_api_does_not_have_starts_nothing(opened: Opened) -> None:
    lab = opened(vm=VM(instance={"machineTipe": "x"}))
    with pytest.raises(ConfigError, match=r"hydra\.launcher\.vm\.instance"):
        lab.ask(0)
    assert lab.compute.inserts == []


def test_a_fleet_that_is_closed_ends_its_searches(lab: Lab, compute: StubbedCompute) -> None:
    compute.decide = lambda insert: Dropped()
    for num in (0, 1):
        lab.fleet.ask(num, 1)
    wait_until(lambda: len(compute.inserts) > 3, "one search goes on and on, the other waits for it")
    closing = threading.Thread(target=lab.fleet.close)
    closing.start()
    wait_until(lambda: not closing.is_alive(), "both have ended")
    assert all(isinstance(answer, NotPlaced) for answer in lab.fleet.answers())
    assert compute.instances == {}


def test_many_zones_that_refuse_alike_are_not_told_one_by_one(opened: Opened) -> None:
    lab = opened(candidates=resolve(VMRequest(machine_type="e2-standard-2", zones=["us-*"])))
    lab.compute.decide = lambda insert: STOCKOUT
    assert isinstance(lab.ask(0)[0], NotPlaced)
    assert len({one.zone for one in lab.candidates}) > 8
    assert [line.partition("; ")[2].partition(" ")[0] for line in lab.news] == ["trying"] * 3 + [
        "other",
        "no",
    ]
