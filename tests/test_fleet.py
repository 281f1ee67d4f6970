"""One place after the other is asked for a VM, what was refused is not asked again at once, and the bill adds up."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal

import pytest

from hydra_gce import catalog
from hydra_gce.compute import HereCompute
from hydra_gce.errors import ConfigError
from hydra_gce.fleet import Fleet, NotPlaced, Placed
from hydra_gce.machines import Candidate, VMRequest, resolve
from hydra_gce.refusals import Reach, judge
from hydra_gce.request import Order
from hydra_gce.settings import VM
from tests.compute_stub import Failed, Insert, Made, Outcome, Refused, StubbedCompute, stubbed_compute
from tests.patience import wait_until

# Four places, cheapest first: two zones in each of two regions.
CANDIDATES = resolve(VMRequest(zones=["us-central1-[ab]", "europe-west1-[bc]"]))
ZONES = [candidate.zone for candidate in CANDIDATES]
STOCKOUT = Failed("ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS", "The zone does not have enough resources.")


@pytest.fixture
def compute() -> Iterator[StubbedCompute]:
    with stubbed_compute() as stub:
        yield stub


@dataclass
class Lab:
    compute: StubbedCompute
    candidates: list[Candidate] = field(default_factory=lambda: CANDIDATES)
    vm: VM = field(default_factory=VM)
    now: float = 1000.0
    news: list[str] = field(default_factory=list)
    paused: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        order = Order("calm-otter", "my-project", self.vm, None, {})
        self.fleet = Fleet(
            HereCompute(self.compute.backend),
            order,
            self.candidates,
            self.news.append,
            clock=lambda: self.now,
            pause=self.paused.append,
        )

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


@pytest.fixture
def lab(compute: StubbedCompute) -> Iterator[Lab]:
    made = Lab(compute)
    yield made
    made.fleet.close()


def test_the_four_places_of_these_tests_are_two_in_each_of_two_regions() -> None:
    assert len(ZONES) == 4
    assert [candidate.region for candidate in CANDIDATES] == ["us-central1"] * 2 + ["europe-west1"] * 2


def test_the_cheapest_place_is_asked_first_and_taken(lab: Lab) -> None:
    placed = lab.place(3)
    assert placed == Placed(3, 1, "hg-calm-otter-3", CANDIDATES[0])
    assert lab.compute.asked == ZONES[:1]
    assert lab.fleet.instances() == {"hg-calm-otter-3": "RUNNING"}
    assert lab.compute.filters == ["labels.hydra-gce-sweep=calm-otter"]


def test_a_zone_without_stock_is_followed_by_the_next_zone(lab: Lab) -> None:
    lab.compute.decide = lambda insert: STOCKOUT if insert.zone in ZONES[:3] else Made()
    assert lab.place(0).candidate.zone == ZONES[3]
    assert lab.compute.asked == ZONES
    assert len(lab.news) == 3
    assert "does not have enough resources" in lab.news[0]


def test_a_regions_quota_closes_its_other_zones(lab: Lab) -> None:
    quota = Failed("QUOTA_EXCEEDED", "Quota 'CPUS' exceeded.  Limit: 24.0 in region us-central1.")
    lab.compute.decide = lambda insert: quota if insert.zone.startswith("us-") else Made()
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


def test_the_answer_says_what_each_place_said(lab: Lab) -> None:
    lab.compute.decide = lambda insert: STOCKOUT
    refused = lab.refuse(0)
    assert [candidate.zone for candidate, _ in refused.refused] == ZONES
    assert {refusal.code for _, refusal in refused.refused} == {STOCKOUT.code}
    assert refused.may_pass
    assert "4 places asked" in str(refused)


@pytest.mark.parametrize(
    "outcome",
    [
        Refused(503, "backendError", "Backend Error"),
        Refused(429, "rateLimitExceeded", "Rate Limit Exceeded"),
        Refused(500, "internalError", "Internal error"),
        Refused(429, "somethingNew", "Slow down"),
        Failed("RESOURCE_OPERATION_RATE_EXCEEDED", "Operation rate exceeded"),
        Failed("INTERNAL_ERROR", "Internal error"),
    ],
)
def test_a_passing_trouble_is_met_with_patience_in_the_same_place(lab: Lab, outcome: Outcome) -> None:
    answers = iter([outcome, outcome, Made()])
    lab.compute.decide = lambda insert: next(answers)
    assert lab.place(0).candidate.zone == ZONES[0]
    assert lab.compute.asked == [ZONES[0]] * 3
    assert lab.paused == [0.5, 2.0]
    # A requestId that came before would be answered with the failure of before.
    assert len({insert.request_id for insert in lab.compute.inserts}) == 3


def test_patience_ends_and_the_next_place_is_asked(lab: Lab) -> None:
    lab.compute.decide = lambda insert: (
        Refused(503, "backendError", "Backend Error") if insert.zone == ZONES[0] else Made()
    )
    assert lab.place(0).candidate.zone == ZONES[1]
    assert lab.compute.asked == [ZONES[0]] * 3 + [ZONES[1]]
    assert len(lab.paused) == 2


def test_a_vm_whose_answer_was_lost_is_found_and_not_made_twice(lab: Lab) -> None:
    lab.compute.decide = lambda insert: Made(answered=False)
    assert lab.place(0).candidate.zone == ZONES[0]
    assert list(lab.compute.instances) == ["hg-calm-otter-0"]


@pytest.mark.parametrize(
    "outcome",
    [
        Refused(400, "invalid", "Invalid value for field 'resource.disks[0].initializeParams.sourceImage'"),
        Refused(404, "notFound", "The resource 'projects/p/global/images/mine' was not found"),
    ],
)
def test_a_request_that_is_wrong_everywhere_is_said_at_once(lab: Lab, outcome: Outcome) -> None:
    lab.compute.decide = lambda insert: outcome
    assert isinstance(outcome, Refused)
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
    lab.compute.decide = lambda insert: (
        Refused(400, "invalid", message) if insert.zone == ZONES[0] else Made()
    )
    assert lab.place(0).candidate.zone == ZONES[1]


def test_a_field_that_the_api_does_not_have_starts_nothing(compute: StubbedCompute) -> None:
    lab = Lab(compute, vm=VM(instance={"machineTipe": "x"}))
    with pytest.raises(ConfigError, match=r"hydra\.launcher\.vm\.instance"):
        lab.ask(0)
    assert compute.inserts == []
    lab.fleet.close()


def test_what_one_job_was_refused_the_next_does_not_ask_for_a_while(lab: Lab) -> None:
    lab.compute.decide = lambda insert: STOCKOUT if insert.zone == ZONES[0] else Made()
    lab.place(0)
    lab.now += 59
    lab.place(1)
    assert lab.compute.asked == [ZONES[0], ZONES[1], ZONES[1]]
    assert len(lab.news) == 1


def test_a_refusal_is_forgotten_after_a_minute(lab: Lab) -> None:
    lab.compute.decide = lambda insert: STOCKOUT if insert.zone == ZONES[0] else Made()
    lab.place(0)
    lab.now += 61
    lab.place(1)
    assert lab.compute.asked == [ZONES[0], ZONES[1]] * 2


def test_a_vm_that_leaves_makes_room_to_ask_for(lab: Lab) -> None:
    lab.compute.decide = lambda insert: STOCKOUT if insert.zone == ZONES[0] else Made()
    lab.place(0)
    lab.fleet.forget_refusals()
    lab.compute.decide = lambda insert: Made()
    assert lab.place(1).candidate.zone == ZONES[0]


def test_a_regions_refusal_is_remembered_for_all_of_its_zones(lab: Lab) -> None:
    quota = Failed("QUOTA_EXCEEDED", "Quota 'CPUS' exceeded.  Limit: 24.0 in region us-central1.")
    lab.compute.decide = lambda insert: quota if insert.zone.startswith("us-") else Made()
    lab.place(0)
    lab.place(1)
    assert lab.compute.asked == [ZONES[0], ZONES[2], ZONES[2]]


def test_many_jobs_do_not_all_ask_all_places(compute: StubbedCompute) -> None:
    candidates = resolve(VMRequest(regions=["europe-*"]))
    assert len(candidates) > 30
    lab = Lab(compute, candidates)
    compute.decide = lambda insert: STOCKOUT
    answers = lab.ask(*range(40))
    assert all(isinstance(answer, NotPlaced) and len(answer.refused) == len(candidates) for answer in answers)
    # At worst the eight that ask at the same time ask the same; all others know already.
    assert len(compute.inserts) <= 8 * len(candidates)
    assert len(compute.inserts) < 40 * len(candidates) / 4
    assert len(lab.news) == len(candidates)
    lab.fleet.close()


def test_jobs_of_one_sweep_get_vms_of_their_own(lab: Lab) -> None:
    placed = lab.ask(*range(12))
    names = {answer.instance for answer in placed if isinstance(answer, Placed)}
    assert names == {f"hg-calm-otter-{num}" for num in range(12)} == set(lab.fleet.instances())


def test_the_bill_of_a_job_has_all_of_its_vms(lab: Lab) -> None:
    hourly = CANDIDATES[0].price.hourly
    first = lab.place(0)
    lab.place(1)
    lab.now += 1800
    assert lab.fleet.bill(0) == (lab.fleet.bill(1)[0], 1800)
    lab.fleet.delete(first.instance)
    lab.fleet.instances()
    lab.now += 600
    lab.place(0, attempt=2)
    lab.now += 3600
    lab.fleet.instances()
    dollars, seconds = lab.fleet.bill(0)
    assert seconds == 1800 + 3600
    assert abs(dollars - hourly * Decimal("1.5")) < Decimal("0.0001")
    assert lab.fleet.bill(1)[1] == 1800 + 600 + 3600
    assert lab.fleet.bill(2) == (Decimal(0), 0.0)


def test_jobs_that_share_a_vm_share_its_bill(lab: Lab) -> None:
    placed = lab.place(0)
    made = lab.now
    assert lab.fleet.works_for(placed.instance, 0, made + 60) == placed.candidate
    assert lab.fleet.works_for(placed.instance, 1, made + 600) == placed.candidate
    assert lab.fleet.works_for("never-was", 2, made + 600) is None
    lab.now += 800
    (first, first_s), (second, second_s) = lab.fleet.bill(0), lab.fleet.bill(1)
    assert (first_s, second_s) == (600, 200)
    assert abs(first - 3 * second) < Decimal("0.000001")
    assert abs(first + second - CANDIDATES[0].price.hourly * 800 / 3600) < Decimal("0.0001")


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
    assert lab.fleet.bill(0)[1] == 100


def test_a_vm_that_is_shut_down_is_seen_and_paid_for_until_it_is_gone(lab: Lab) -> None:
    name = lab.place(0).instance
    lab.compute.instances[name]["status"] = "STOPPING"
    for _ in range(3):
        lab.now += 10
        assert lab.fleet.instances() == {name: "STOPPING"}
    del lab.compute.instances[name]
    lab.fleet.instances()
    lab.now += 100
    assert lab.fleet.instances() == {}
    assert lab.fleet.bill(0)[1] == 30


def only_in(zone: str) -> Callable[[Insert], Outcome]:
    return lambda insert: Made() if insert.zone == zone else STOCKOUT


def test_vms_are_listed_in_their_few_zones_or_over_all_of_many(compute: StubbedCompute) -> None:
    candidates = resolve(VMRequest(regions=["us-*"]))
    lab = Lab(compute, candidates)
    for many in (1, 4, 6):
        compute.filters.clear()
        for num in range(len(compute.instances), many):
            compute.decide = only_in(candidates[num].zone)
            lab.fleet.forget_refusals()
            lab.place(num)
        assert len(lab.fleet.instances()) == many
        assert compute.filters == ["labels.hydra-gce-sweep=calm-otter"] * (many if many <= 4 else 1)
    lab.fleet.close()


def test_deleting_a_vm_that_is_gone_is_no_error(lab: Lab) -> None:
    placed = lab.place(0)
    lab.fleet.delete(placed.instance)
    lab.fleet.delete(placed.instance)
    lab.fleet.delete("never-was")
    assert lab.compute.deleted == [placed.instance]


@pytest.mark.parametrize(
    "code, message, status, reach",
    [
        ("ZONE_RESOURCE_POOL_EXHAUSTED", "", None, Reach.ZONE),
        ("UNSUPPORTED_OPERATION", "", None, Reach.ZONE),
        ("SOMETHING_NEW", "nobody knows it", None, Reach.ZONE),
        ("somethingNew", "nobody knows it", 503, Reach.ATTEMPT),
        ("somethingNew", "nobody knows it", 500, Reach.ATTEMPT),
        ("somethingNew", "nobody knows it", 400, Reach.REQUEST),
        ("quotaExceeded", "Quota 'CPUS' exceeded.  Limit: 8.0 in region r.", 403, Reach.REGION),
        (
            "QUOTA_EXCEEDED",
            "Quota 'CPUS_ALL_REGIONS' exceeded.  Limit: 12.0 globally.",
            None,
            Reach.EVERYWHERE,
        ),
        ("forbidden", "Required 'compute.instances.create' permission", 403, Reach.EVERYWHERE),
    ],
)
def test_how_far_a_refusal_reaches(code: str, message: str, status: int | None, reach: Reach) -> None:
    assert judge(code, message, status).reach is reach


def test_only_what_can_change_by_itself_is_waited_for() -> None:
    assert judge("ZONE_RESOURCE_POOL_EXHAUSTED", "").may_pass
    assert judge("QUOTA_EXCEEDED", "Quota 'CPUS' exceeded.  Limit: 8.0 in region r.").may_pass
    assert not judge("QUOTA_EXCEEDED", "Quota 'NVIDIA_T4_GPUS' exceeded.  Limit: 0.0 in region r.").may_pass
    assert not judge("forbidden", "Required 'compute.instances.create' permission", 403).may_pass
    assert not judge("invalid", "", 400).may_pass


def test_every_zone_belongs_to_the_region_that_a_refusal_closes() -> None:
    assert all(zone.rpartition("-")[0] == region for zone, region in catalog.zones().items())
