"""Jobs that are cancelled, or begun again while somebody watches; clocks that differ; objects that somebody deleted."""

from __future__ import annotations

import pytest

from hydra_gce import claims
from hydra_gce.jobs import JobState, JobStatus
from hydra_gce.settings import Settings
from hydra_gce.watch.reopen import reopen
from tests.compute_stub import StubbedCompute
from tests.patience import wait_until
from tests.scene import Scene
from tests.watch.places import STOCKOUT, Opened
from tests.watch.test_take_up import after

MINUTES = 600.0


def ends(scene: Scene, num: int, state: JobState = JobState.CANCELLED) -> None:
    scene.tick_until(num, state)
    claim = claims.read(scene.bucket, scene.names, num)
    assert claim is not None and claim.state == "done"


# Cancelled


def test_a_job_that_has_no_vm_ends_at_once_and_the_others_go_on(
    opened: Opened, compute: StubbedCompute
) -> None:
    scene = opened(jobs=2, settings=Settings(max_vms=1))
    claim = scene.running(0)
    scene.watch.cancel([1, 7], "cancelled by ada")
    ends(scene, 1)
    assert scene.view(1).note == "cancelled by ada"
    scene.complete(claim)
    assert scene.watch.done and len(compute.inserts) == 1


def test_a_vm_that_is_still_asked_for_is_deleted_when_it_comes(scene: Scene, compute: StubbedCompute) -> None:
    scene.watch.tick()
    assert scene.watch.tracks[0].asked
    scene.watch.cancel([0], "cancelled")

    def ended() -> bool:
        scene.tick(seconds=0.1)
        return scene.watch.done

    wait_until(ended, "the job has ended")
    ends(scene, 0)
    assert compute.deleted == [insert.name for insert in compute.inserts]


def test_where_no_place_has_a_vm_for_a_job_that_nobody_wants_that_is_no_error(
    scene: Scene, compute: StubbedCompute
) -> None:
    compute.decide = lambda insert: STOCKOUT
    scene.watch.tick()
    scene.watch.cancel([0], "cancelled")
    scene.now += 10_000.0  # longer than anybody waits for room
    ends(scene, 0)


def test_what_the_vm_saves_as_it_is_shut_down_is_waited_for(scene: Scene, compute: StubbedCompute) -> None:
    compute.gentle = True
    claim = scene.running()
    scene.watch.cancel([0], "cancelled")
    scene.tick(5, seconds=2)
    assert compute.instances[claim.instance]["status"] == "STOPPING"
    assert scene.view(0).note == "saving" and not scene.watch.done
    scene.leave_output(claim, last="words")
    scene.give_back(claim, "shut down")
    ends(scene, 0)
    assert (scene.directory / "0/last").read_text() == "words"


def test_an_agent_that_hangs_as_it_is_shut_down_is_not_waited_for_ever(
    scene: Scene, compute: StubbedCompute
) -> None:
    compute.gentle = True
    scene.running()
    scene.watch.cancel([0], "cancelled")
    scene.tick(3, seconds=2)
    assert not scene.watch.done
    scene.now += 181
    ends(scene, 0)


def test_a_job_that_completes_as_it_is_cancelled_has_completed(scene: Scene, compute: StubbedCompute) -> None:
    compute.gentle = True
    claim = scene.running()
    scene.watch.cancel([0], "cancelled")
    scene.tick(2, seconds=2)
    scene.finish(claim, 4.0)
    scene.say(claim, JobState.COMPLETED)
    ends(scene, 0, JobState.COMPLETED)


# Begun again while somebody watches


def test_a_job_that_is_begun_again_elsewhere_is_begun_here(opened: Opened, compute: StubbedCompute) -> None:
    scene = opened(jobs=2)
    claim, other = scene.running(0), scene.running(1)
    scene.watch.tracks[0].lost = 9  # of the ten that it may lose
    scene.finish(claim, None, state=JobState.FAILED, message="no")
    scene.say(claim, JobState.FAILED)
    ends(scene, 0, JobState.FAILED)
    del compute.instances[claim.instance]
    assert reopen(scene.bucket, scene.names, 0)
    second = scene.placed(0, but=claim.instance)
    again = scene.claim(0, second)
    assert again.attempt == 2 and scene.watch.tracks[0].lost == 0
    scene.say(again)
    scene.tick_until(0, JobState.RUNNING)
    scene.complete(again, 3.0)
    scene.complete(other)


# Clocks


@pytest.mark.parametrize("ahead", [MINUTES, -MINUTES], ids=["ahead", "behind"])
def test_vms_whose_clock_differs_by_ten_minutes_are_neither_lost_nor_kept(
    opened: Opened, compute: StubbedCompute, ahead: float
) -> None:
    before = opened()
    compute.clock = lambda: before.now + ahead
    claim = before.running()
    scene = after(before, opened)
    compute.clock = lambda: scene.now + ahead
    for _ in range(10):
        scene.now += 60
        scene.say(claim, heartbeat=scene.now + ahead)
        scene.tick()
    assert scene.view(0).instance == claim.instance and compute.deleted == []
    del compute.instances[claim.instance]  # its loss is noticed as soon as ever
    scene.now += 2
    assert scene.placed(0, but=claim.instance)
    assert len(compute.inserts) == 2


def test_a_vm_that_was_taken_over_from_a_clock_ahead_may_be_lost_at_once(
    opened: Opened, compute: StubbedCompute
) -> None:
    before = opened()
    compute.clock = lambda: before.now + MINUTES
    first = before.placed(0)
    scene = after(before, opened)
    del compute.instances[first]
    scene.now += 2
    assert scene.placed(0, but=first)


# Deleted from the bucket


def test_a_result_that_is_gone_is_said_and_the_outputs_come_home(scene: Scene) -> None:
    claim = scene.running()
    scene.leave_output(claim, weights="w")
    scene.finish(claim, 4.0)
    scene.bucket.delete(scene.names.result(0, 1))
    scene.say(claim, JobState.COMPLETED)
    scene.tick_until(0, JobState.FAILED)
    assert scene.says("its result cannot be read") and scene.says(f"hydra-gce retry {scene.names.sweep} 0")
    assert (scene.directory / "0/weights").read_text() == "w"


def test_a_status_that_is_gone_loses_nothing(opened: Opened, compute: StubbedCompute) -> None:
    before = opened(jobs=2)
    claims_ = [before.running(0), before.running(1)]
    before.finish(claims_[0], 4.0)
    before.bucket.delete(before.names.status(0))
    before.bucket.delete(before.names.status(1))
    scene = after(before, opened)
    scene.tick_until(0, JobState.COMPLETED)
    scene.say(claims_[1])  # the next heartbeat
    scene.tick_until(1, JobState.RUNNING)
    assert len(compute.inserts) == 2


def test_the_claim_of_a_job_that_has_ended_is_mended(opened: Opened, compute: StubbedCompute) -> None:
    before = opened()
    claim = before.running()
    before.finish(claim, 4.0)
    before.say(claim, JobState.COMPLETED)
    before.bucket.delete(before.names.claim(0))
    scene = after(before, opened)
    scene.tick_until(0, JobState.COMPLETED)
    assert scene.view(0).return_value == 4.0 and scene.says("its claim was deleted")
    assert len(compute.inserts) == 1


def test_no_two_attempts_have_a_number_where_the_claim_of_one_is_gone(
    scene: Scene, compute: StubbedCompute
) -> None:
    claim = scene.running()
    scene.bucket.delete(scene.names.claim(0))
    assert not claims.is_held(scene.bucket, scene.names, claim)  # its agent gives up
    del compute.instances[claim.instance]
    second = scene.placed(0, but=claim.instance)
    assert scene.claim(0, second).attempt == 2


def test_a_status_of_nobody_is_no_job(scene: Scene) -> None:
    claim = scene.running()
    scene.bucket.write(scene.names.status(5), b"", metadata=JobStatus(5).to_metadata())
    scene.complete(claim)
    assert scene.watch.done
