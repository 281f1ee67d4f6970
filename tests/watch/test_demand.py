"""Which jobs are given VMs, and when: as far as places, settings and the budget allow."""

from __future__ import annotations

import os
import threading
from decimal import Decimal
from itertools import pairwise

import pytest

from hydra_gce.cloud.backend import Backend
from hydra_gce.compute.quotas import Quota, Quotas
from hydra_gce.errors import NoPlace
from hydra_gce.jobs import Failure, JobState
from hydra_gce.machines import Candidate, VMRequest, resolve
from hydra_gce.settings import Settings
from tests.compute_stub import Dropped, Failed, Insert, Made, Outcome, StubbedCompute
from tests.patience import wait_until
from tests.scene import Scene
from tests.watch.places import PLACES, STOCKOUT, Opened


def test_a_job_without_room_waits_says_so_and_goes_on_when_a_vm_leaves(
    opened: Opened, embedded: Backend
) -> None:
    """The largest machine that this host can lend: there is room for one at a time."""
    stock = 2 * len(os.sched_getaffinity(0))
    cpus = max(cpus for cpus in (2, 4, 8, 16, 32, 64, 96) if cpus <= stock or cpus == 2)
    places = resolve(VMRequest(machine_type=f"n1-highcpu-{cpus}", zones=["us-central1-a"]))
    scene = opened(embedded, candidates=places, jobs=2)

    def one_waits() -> bool:
        scene.now += 0.1
        scene.watch.tick()
        return sorted(view.state.value for view in scene.watch.views()) == ["BOOTING", "PENDING"]

    wait_until(one_waits, "one has a VM and the other waits")
    here, waits = sorted((0, 1), key=lambda num: scene.view(num).state is JobState.PENDING)
    assert scene.view(waits).note == "waiting for a place"
    assert sum("it waits for a place" in line for line in scene.news) == 1
    first = scene.placed(here)
    claim = scene.claim(here, first)
    scene.finish(claim, 1.0)
    scene.say(claim, JobState.COMPLETED)
    scene.tick_until(here, JobState.COMPLETED)
    scene.end_vm(first)
    assert scene.placed(waits) == f"hg-{scene.names.sweep}-{waits}"
    assert scene.view(waits).note == ""
    assert sum("it waits for a place" in line for line in scene.news) == 1


def test_nowhere_to_go_is_said_with_what_each_place_answered(scene: Scene, compute: StubbedCompute) -> None:
    compute.decide = lambda insert: Failed(
        "QUOTA_EXCEEDED", f"Quota 'NVIDIA_T4_GPUS' exceeded.  Limit: 0.0 in {insert.zone}."
    )
    with pytest.raises(NoPlace) as refused:
        scene.tick_until(0, JobState.COMPLETED)
    said = str(refused.value)
    assert "No e2-micro could be had for job 0" in said
    assert "us-central1  quota NVIDIA_T4_GPUS is 0" in said
    assert "Nothing was started; nothing is charged." in said


def test_full_places_are_waited_for_with_growing_pauses_and_then_given_up(
    scene: Scene, compute: StubbedCompute, monkeypatch: pytest.MonkeyPatch
) -> None:
    compute.decide = lambda insert: STOCKOUT
    asked_at: list[float] = []
    ask = scene.fleet.ask

    def noted(num: int, attempt: int, round_: int, candidates: list[Candidate]) -> None:
        asked_at.append(scene.now)
        ask(num, attempt, round_, candidates)

    monkeypatch.setattr(scene.fleet, "ask", noted)

    def ends() -> bool:
        try:
            scene.watch.tick()
            wait_until(lambda: all(asked.done() for asked in scene.fleet._asked), "the places have answered")
        except NoPlace:
            return True
        scene.now += 2.0
        return False

    wait_until(ends, "it is given up")
    pauses = [later - earlier for earlier, later in pairwise(asked_at)]
    assert pauses == sorted(pauses)
    assert pauses[-1] >= 60
    assert 600 < scene.now - 1_000_000 < 800
    assert (
        2 * len(PLACES) < len(compute.inserts) < len(PLACES) * len(asked_at)
    )  # a refusal is known for a minute


def test_a_full_place_later_on_does_not_claim_that_nothing_was_charged(
    scene: Scene, compute: StubbedCompute
) -> None:
    first = scene.placed(0)
    compute.decide = lambda insert: Failed(
        "QUOTA_EXCEEDED", "Quota 'CPUS' exceeded.  Limit: 0.0 in region r."
    )
    del compute.instances[first]
    with pytest.raises(NoPlace, match="What has run so far is paid for"):
        scene.tick_until(0, JobState.COMPLETED)


def test_no_more_vms_than_allowed_and_the_next_when_one_is_done(
    opened: Opened, compute: StubbedCompute
) -> None:
    scene = opened(compute.backend, jobs=4, settings=Settings(max_vms=2))
    for num in (0, 1):
        scene.placed(num)
    for _ in range(3):
        scene.watch.tick()
    assert len(compute.inserts) == 2
    claim = scene.claim(0, scene.view(0).instance)
    scene.finish(claim, 0.0)
    scene.say(claim, JobState.COMPLETED)
    scene.tick_until(0, JobState.COMPLETED)
    assert len(compute.inserts) == 2  # its VM is there still
    del compute.instances[claim.instance]
    scene.placed(2)
    assert len(compute.inserts) == 3


def test_a_project_without_quota_is_told_before_anything_is_asked(
    opened: Opened, compute: StubbedCompute
) -> None:
    scene = opened(jobs=3, quotas=Quotas("my-project", {}, {"CPUS_ALL_REGIONS": Quota(0, 0)}))
    with pytest.raises(NoPlace, match="CPUS_ALL_REGIONS") as refused:
        scene.tick_until(0, JobState.COMPLETED)
    assert "Nothing was started; nothing is charged." in str(refused.value)
    assert compute.inserts == []


def test_how_long_to_wait_for_room_is_a_setting(opened: Opened, compute: StubbedCompute) -> None:
    compute.decide = lambda insert: STOCKOUT
    scene = opened(settings=Settings(wait_for_room_minutes=20.0))

    def gives_up() -> bool:
        try:
            scene.watch.tick()
            wait_until(lambda: all(asked.done() for asked in scene.fleet._asked), "the places have answered")
        except NoPlace:
            return True
        scene.now += 61.0
        return False

    wait_until(gives_up, "it is given up")
    assert 1200 < scene.now - 1_000_000 < 1400


def test_each_search_for_a_job_has_numbers_of_its_own(scene: Scene, compute: StubbedCompute) -> None:
    """Also two within one second: Compute Engine answers a number that it knows with what it has said before."""
    compute.decide = lambda insert: STOCKOUT
    scene.tick()
    wait_until(lambda: all(asked.done() for asked in scene.fleet._asked), "both places have answered")
    scene.tick()
    for candidate in PLACES:
        scene.fleet._market.left(candidate)
    scene.watch._demand._room_at = 0.0
    compute.decide = lambda insert: Made()
    scene.placed(0)
    assert len({insert.request_id for insert in compute.inserts}) == len(compute.inserts) == 3


# The budget. A VM costs two cents an hour here.


def test_the_places_of_these_tests_cost_two_cents_an_hour() -> None:
    assert [Decimal("0.02") <= place.price.hourly < Decimal("0.021") for place in PLACES] == [True, True]


def test_a_vm_starts_only_if_all_could_run_to_their_end_within_the_budget(
    opened: Opened, compute: StubbedCompute
) -> None:
    scene = opened(jobs=3, settings=Settings(budget_usd=1.0))  # a day of a VM: 0.49
    running = [scene.running(0), scene.running(1)]
    scene.tick(5)
    assert len(compute.inserts) == 2
    assert scene.times_said("of budget_usd=1 is spent") == 1
    assert scene.says("; the other jobs wait for it")
    scene.now += 60
    scene.complete(running[0])
    scene.tick(3)
    assert len(compute.inserts) == 2
    del compute.instances[running[0].instance]
    scene.placed(2)
    assert len(compute.inserts) == 3


def test_jobs_that_the_budget_has_nothing_left_for_fail_and_their_siblings_do_not(
    opened: Opened, compute: StubbedCompute
) -> None:
    scene = opened(jobs=2, settings=Settings(budget_usd=0.5, heartbeat_timeout_s=1e6))
    first = scene.running(0)
    scene.now += 10 * 3600
    scene.complete(first)
    assert scene.view(1).state is JobState.PENDING  # its VM is there still, and might cost less than it could
    del compute.instances[first.instance]
    view = scene.tick_until(1, JobState.FAILED)
    assert view.note == "budget: $0.202 of budget_usd=0.5 is spent"
    assert scene.view(0).return_value == 1.0
    assert len(compute.inserts) == 1


def test_when_the_budget_is_reached_vms_save_their_work_and_end(
    opened: Opened, compute: StubbedCompute
) -> None:
    compute.gentle = True
    scene = opened(settings=Settings(budget_usd=0.05, on_budget="end"))
    claim = scene.running()
    scene.now += 2.4 * 3600
    scene.say(claim)
    scene.tick()
    assert compute.deleted == []
    scene.now += 600
    scene.say(claim)
    scene.tick(3)
    assert compute.deleted == [claim.instance]
    assert scene.times_said("of budget_usd=0.05 is spent") == 1
    assert scene.says(": the VMs save their work and end")
    assert scene.view(0).note == "saving"
    scene.leave_output(claim, model="weights of epoch 3")
    scene.give_back(claim)
    view = scene.tick_until(0, JobState.FAILED)
    assert view.note.startswith("budget: $0.052 of budget_usd=0.05 is spent")
    collected = scene.watch.tracks[0].collected
    assert collected is not None and collected.result.failure is Failure.BUDGET
    assert (scene.directory / "0" / "model").read_text() == "weights of epoch 3"
    assert len(compute.inserts) == 1


def test_a_vm_that_comes_after_the_budget_was_reached_is_ended_too(
    opened: Opened, compute: StubbedCompute
) -> None:
    """It was asked for before, and the answer took its time."""
    answered = threading.Event()

    def decide(insert: Insert) -> Outcome:
        is_first = insert.name == compute.inserts[0].name
        return Made() if answered.is_set() or is_first else Dropped()

    compute.decide = decide
    scene = opened(jobs=2, settings=Settings(budget_usd=0.05, on_budget="end"))
    scene.tick()
    wait_until(lambda: len(compute.instances) == 1, "one is made")
    claim = scene.running(int(next(iter(compute.instances))[-1]))
    assert scene.fleet.asking == 1
    scene.now += 2.6 * 3600
    scene.say(claim)
    scene.tick()
    assert scene.says("the VMs save their work and end")
    answered.set()

    def all_ended() -> bool:
        scene.tick(seconds=2)
        return scene.watch.done

    wait_until(all_ended, "both jobs have ended")
    assert [view.state for view in scene.watch.views()] == [JobState.FAILED] * 2
    assert sorted(compute.deleted) == sorted({insert.name for insert in compute.inserts})
    assert compute.instances == {}
    assert scene.times_said("the VMs save their work and end") == 1


def test_only_places_that_the_budget_allows_are_asked(opened: Opened, compute: StubbedCompute) -> None:
    places = resolve(VMRequest(machine_type="e2-micro", zones=["us-central1-a", "southamerica-east1-a"]))
    day = [place.price.hourly * 24 for place in places]
    scene = opened(candidates=places, settings=Settings(budget_usd=float((day[0] + day[1]) / 2)))
    compute.decide = lambda insert: STOCKOUT
    scene.tick()
    wait_until(lambda: all(asked.done() for asked in scene.fleet._asked), "the place has answered")
    assert compute.asked == [places[0].zone]
