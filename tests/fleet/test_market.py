"""What one search learns of a place, all others know; where nobody knows, one asks and the others wait."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from hydra_gce.compute.quotas import Quota, Quotas
from hydra_gce.errors import ConfigError
from hydra_gce.fleet import NotPlaced, Placed
from hydra_gce.fleet.market import BUSY_KEPT_S, REFUSAL_KEPT_S, ROOM_KEPT_S, Market
from hydra_gce.machines import Candidate, VMRequest, resolve
from hydra_gce.refusals import Reach, Refusal
from tests.compute_stub import Failed, Refused, StubbedCompute
from tests.fleet.lab import CANDIDATES, STOCKOUT, ZONES, Lab, all_but, only_in
from tests.patience import wait_until

Opened = Callable[..., Lab]

FULL = Refusal("ZONE_RESOURCE_POOL_EXHAUSTED", "sold out", Reach.ZONE, for_all_models=False)
SPOT, STANDARD = resolve(VMRequest(provisioning="spot_else_standard", zones=["us-central1-a"]))


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def market(clock: Clock) -> Market:
    return Market(clock)


# One search after the other.


def test_what_one_job_was_refused_the_next_does_not_ask_for_a_while(lab: Lab) -> None:
    lab.compute.decide = all_but(ZONES[0])
    lab.place(0)
    lab.now += REFUSAL_KEPT_S - 1
    lab.place(1)
    assert lab.compute.asked == [ZONES[0], ZONES[1], ZONES[1]]
    assert len(lab.news) == 1


def test_a_refusal_is_forgotten_after_a_minute(lab: Lab) -> None:
    lab.compute.decide = all_but(ZONES[0])
    lab.place(0)
    lab.now += REFUSAL_KEPT_S + 1
    lab.place(1)
    assert lab.compute.asked == [ZONES[0], ZONES[1]] * 2


def test_a_place_that_was_only_busy_is_asked_again_soon(lab: Lab) -> None:
    lab.compute.decide = all_but(ZONES[0], outcome=Refused(503, "backendError", "Backend Error"))
    lab.place(0)
    lab.now += BUSY_KEPT_S - 1
    assert lab.place(1).candidate.zone == ZONES[1]
    lab.compute.decide = all_but()
    lab.now += 2
    assert lab.place(2).candidate.zone == ZONES[0]


def test_a_vm_that_leaves_makes_room_where_it_was(lab: Lab) -> None:
    first = lab.place(0)
    lab.compute.decide = all_but(ZONES[0])
    second = lab.place(1)
    assert (first.candidate.zone, second.candidate.zone) == (ZONES[0], ZONES[1])
    lab.fleet.left(second.instance)
    lab.place(2)
    assert lab.compute.asked == [*ZONES[:1], *ZONES[:2], ZONES[1]]
    lab.fleet.left(first.instance)
    lab.compute.decide = all_but()
    assert lab.place(3).candidate.zone == ZONES[0]


def test_a_vm_that_leaves_gives_back_the_quota_of_its_region(lab: Lab) -> None:
    first = lab.place(0)
    quota = Failed("QUOTA_EXCEEDED", "Quota 'CPUS' exceeded.  Limit: 24.0 in region us-central1.")
    lab.compute.decide = all_but(*ZONES[:2], outcome=quota)
    assert lab.place(1).candidate.zone == ZONES[2]
    lab.compute.decide = all_but()
    lab.fleet.left(first.instance)
    assert lab.place(2).candidate.zone == ZONES[0]
    lab.fleet.left("never-was")


def test_a_regions_refusal_is_remembered_for_all_of_its_zones(lab: Lab) -> None:
    quota = Failed("QUOTA_EXCEEDED", "Quota 'CPUS' exceeded.  Limit: 24.0 in region us-central1.")
    lab.compute.decide = all_but(*ZONES[:2], outcome=quota)
    lab.place(0)
    lab.place(1)
    assert lab.compute.asked == [ZONES[0], ZONES[2], ZONES[2]]


def test_a_refusal_of_the_whole_project_is_remembered_everywhere(lab: Lab) -> None:
    quota = Failed("QUOTA_EXCEEDED", "Quota 'CPUS_ALL_REGIONS' exceeded.  Limit: 12.0 globally.")
    lab.compute.decide = lambda insert: quota
    lab.refuse(0)
    refused = lab.refuse(1)
    assert lab.compute.asked == ZONES[:1]
    assert [refusal.reach for _, refusal in refused.refused] == [Reach.EVERYWHERE]


# Many at once.


def test_forty_jobs_over_a_hundred_full_zones_ask_each_zone_once(
    opened: Opened, compute: StubbedCompute
) -> None:
    candidates = resolve(VMRequest())[:100]
    assert len(candidates) == 100
    lab = opened(candidates=candidates)
    compute.decide = lambda insert: Refused(400, "resourcePoolExhausted", "The zone is full.")
    answers = lab.ask(*range(40))
    assert all(isinstance(answer, NotPlaced) and len(answer.refused) == 100 for answer in answers)
    assert compute.asked == [candidate.zone for candidate in candidates]
    assert len(lab.news) == 5  # the first zones, that others say the same, and the last


def test_forty_jobs_go_where_the_first_of_them_found_room(lab: Lab, compute: StubbedCompute) -> None:
    compute.decide = only_in(ZONES[3])
    placed = lab.ask(*range(40))
    assert {answer.candidate.zone for answer in placed if isinstance(answer, Placed)} == {ZONES[3]}
    assert compute.asked == ZONES[:3] + [ZONES[3]] * 40
    assert len(compute.instances) == 40


def test_where_there_is_room_jobs_ask_side_by_side(lab: Lab, compute: StubbedCompute) -> None:
    lab.place(0)
    begun = threading.Semaphore(0)
    more = threading.Event()
    place = lab.fleet.compute.insert

    def slow(*args: object, **kwargs: object) -> object:
        begun.release()
        assert more.wait(60)
        return place(*args, **kwargs)  # type: ignore[arg-type]

    object.__setattr__(lab.fleet._search.compute, "insert", slow)
    for num in (1, 2, 3):
        lab.fleet.ask(num, 1)
    assert all(begun.acquire(timeout=60) for _ in range(3))
    more.set()
    wait_until(lambda: len(compute.instances) == 4, "all are made")


def test_a_request_that_is_wrong_is_sent_once_for_all_jobs(lab: Lab, compute: StubbedCompute) -> None:
    wrong = Refused(400, "invalid", "Invalid value for field 'resource.labels'")
    compute.decide = lambda insert: wrong
    for num in range(20):
        lab.fleet.ask(num, 1)
    wait_until(lambda: all(asked.done() for asked in lab.fleet._asked), "all have an answer")
    with pytest.raises(ConfigError, match=r"resource\.labels"):
        lab.fleet.answers()
    assert len(compute.inserts) == 1


# The market by itself.


def test_who_waits_for_the_first_hears_of_its_refusal(market: Market) -> None:
    inside, refused = threading.Event(), threading.Event()
    place = CANDIDATES[0]

    def first() -> None:
        with market.asking(place):
            inside.set()
            assert refused.wait(60)
            market.refused(place, FULL)

    def second() -> Refusal | None:
        with market.asking(place) as known:
            return known

    with ThreadPoolExecutor(2) as pool:
        asking = pool.submit(first)
        assert inside.wait(60)
        waiting = pool.submit(second)
        assert not waiting.done()
        refused.set()
        asking.result(60)
        assert waiting.result(60) == FULL


def test_who_waits_for_the_first_goes_next_when_that_came_to_nothing(market: Market) -> None:
    inside = threading.Event()

    def first() -> None:
        with market.asking(CANDIDATES[0]):
            inside.set()
            raise ValueError

    def second() -> Refusal | None:
        with market.asking(CANDIDATES[0]) as known:
            return known

    with ThreadPoolExecutor(2) as pool:
        asking = pool.submit(first)
        assert inside.wait(60)
        assert pool.submit(second).result(60) is None
        assert isinstance(asking.exception(60), ValueError)


def test_different_places_and_models_are_asked_at_the_same_time(market: Market) -> None:
    with (
        market.asking(SPOT) as first,
        market.asking(STANDARD) as second,
        market.asking(CANDIDATES[1]) as third,
    ):
        assert (first, second, third) == (None, None, None)


def test_room_is_believed_in_for_a_while_and_until_a_refusal(market: Market, clock: Clock) -> None:
    place = CANDIDATES[0]
    market.gave(place)
    with market.asking(place), market.asking(place) as other:
        assert other is None
    market.refused(place, FULL)
    assert market.refusal(place) == FULL
    clock.now += REFUSAL_KEPT_S
    assert market.refusal(place) is None
    market.gave(place)
    clock.now += ROOM_KEPT_S
    with ThreadPoolExecutor(1) as pool, market.asking(place):
        entered = pool.submit(lambda: market.asking(place).__enter__())
        assert not entered.done()
        market.close()
        assert entered.result(60) is None


@pytest.mark.parametrize("reach", [Reach.ZONE, Reach.REGION, Reach.EVERYWHERE])
def test_what_was_said_of_spot_vms_does_not_close_a_place_to_standard_ones(
    market: Market, reach: Reach
) -> None:
    market.refused(SPOT, Refusal("X", "for spot", reach, for_all_models=False))
    assert market.refusal(SPOT) is not None
    assert market.refusal(STANDARD) is None
    market.refused(SPOT, Refusal("X", "for all", reach, for_all_models=True))
    assert market.refusal(STANDARD) is not None


@pytest.mark.parametrize(
    ("reach", "closed"),
    [(Reach.ATTEMPT, 1), (Reach.ZONE, 1), (Reach.REGION, 2), (Reach.EVERYWHERE, 4)],
)
def test_a_refusal_closes_as_many_places_as_it_reaches(market: Market, reach: Reach, closed: int) -> None:
    market.refused(CANDIDATES[0], Refusal("X", "no", reach))
    assert [market.refusal(place) is not None for place in CANDIDATES] == [at < closed for at in range(4)]


def test_the_same_refusal_is_news_once_a_minute(market: Market, clock: Clock) -> None:
    assert market.refused(CANDIDATES[0], FULL)
    assert not market.refused(CANDIDATES[0], FULL)
    clock.now += REFUSAL_KEPT_S
    assert market.refused(CANDIDATES[0], FULL)
    assert market.refused(CANDIDATES[1], FULL)


# Quotas.


def quotas(limit: float, used: float = 0.0, metric: str = "CPUS") -> Quotas:
    """Of us-central1; those of other regions are not known."""
    return Quotas("my-project", {"us-central1": {metric: Quota(limit, used)}}, {})


def test_places_without_quota_are_left_out_before_anything_is_asked(opened: Opened) -> None:
    lab = opened(quotas=quotas(0))
    assert lab.place(0).candidate.zone == ZONES[2]
    assert lab.compute.asked == [ZONES[2]]
    assert lab.news == []


def test_a_quota_that_is_only_in_use_is_asked_all_the_same(opened: Opened) -> None:
    """It may be free again by now: Compute Engine has the last word."""
    lab = opened(quotas=quotas(24, used=24))
    assert lab.place(0).candidate.zone == ZONES[0]


def test_where_no_place_has_quota_nothing_is_asked(opened: Opened) -> None:
    nowhere = Quotas("my-project", {}, {"CPUS_ALL_REGIONS": Quota(1, 0)})
    lab = opened(quotas=nowhere)
    refused = lab.refuse(0)
    assert lab.compute.inserts == []
    assert not refused.may_pass
    assert refused.refused == []
    assert [candidate.zone for candidate, _ in refused.left_out] == ZONES
    assert str(refused) == "the project: quota CPUS_ALL_REGIONS is 1, 2 needed"


def test_a_place_left_out_says_which_quota_and_where_to_ask_for_more(clock: Clock) -> None:
    refusal = Market(clock, quotas(1)).without_quota(CANDIDATES[0])
    assert refusal is not None
    assert (refusal.reach, refusal.metric, refusal.region, refusal.limit) == (
        Reach.REGION,
        "CPUS",
        "us-central1",
        1,
    )
    assert refusal.short == "quota CPUS is 1, 2 needed"
    assert refusal.advice.startswith(
        "ask for more CPUS in us-central1: https://console.cloud.google.com/iam-admin/quotas?project="
    )
    assert Market(clock, quotas(2)).without_quota(CANDIDATES[0]) is None


def test_spot_places_are_left_out_by_their_own_quota(clock: Clock) -> None:
    spot, standard = resolve(VMRequest(gpu="T4", provisioning="spot_else_standard", zones=["us-central1-a"]))
    market = Market(clock, quotas(0, metric="PREEMPTIBLE_NVIDIA_T4_GPUS"))
    assert market.without_quota(spot) is not None
    assert market.without_quota(standard) is None


def test_an_answer_says_how_many_zones_were_asked_and_how_many_left_out(opened: Opened) -> None:
    lab = opened(quotas=quotas(0))
    lab.compute.decide = lambda insert: STOCKOUT
    refused = lab.refuse(0)
    assert refused.may_pass
    assert str(refused) == "2 zones asked, 2 without quota"


def _machine(candidate: Candidate) -> str:
    return candidate.machine_type
