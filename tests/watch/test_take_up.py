"""A launcher that comes after one that was killed goes on with what that one left: VMs, claims, results."""

from __future__ import annotations

from typing import Any

import pytest

from hydra_gce import claims
from hydra_gce.jobs import JobState
from hydra_gce.money.ledger import Ledger
from hydra_gce.settings import Settings
from tests.compute_stub import StubbedCompute
from tests.patience import wait_until
from tests.scene import Scene
from tests.watch.places import PLACES, Opened

AWAY_S = 30.0


def after(before: Scene, opened: Opened, **more: Any) -> Scene:
    """The next launcher, half a minute later; it knows what the bucket and Compute Engine know."""
    before.leave()
    same = {
        "names": before.names,
        "jobs": before.jobs,
        "settings": before.settings,
        "now": before.now + AWAY_S,
    }
    scene = opened(begun=True, **{**same, **more})
    scene.watch.take_up()
    return scene


def goes_on(scene: Scene, claim: claims.Claim, seconds: float) -> None:
    """It works, and says so."""
    end = scene.now + seconds
    while scene.now < end:
        scene.now += 50
        scene.say(claim)
        scene.tick()


def test_a_vm_that_works_keeps_its_job(opened: Opened, compute: StubbedCompute) -> None:
    before = opened()
    claim = before.running()
    scene = after(before, opened)
    assert scene.view(0).instance == claim.instance
    scene.tick_until(0, JobState.RUNNING)
    scene.tick(3)
    scene.complete(claim, 4.0)
    assert scene.view(0).return_value == 4.0
    assert len(compute.inserts) == 1
    assert compute.deleted == []
    assert not scene.says("gone")


def test_a_vm_that_boots_is_waited_for_as_long_as_any(opened: Opened, compute: StubbedCompute) -> None:
    before = opened()
    first = before.placed(0)
    scene = after(before, opened)
    scene.tick(3)
    view = scene.view(0)
    assert (view.state, view.instance, view.machine) == (JobState.BOOTING, first, "e2-micro in us-central1-a")
    scene.now += 1501
    assert scene.placed(0, but=first) == f"{first}-a2"


def test_a_claim_whose_vm_is_gone_is_free_for_the_next_attempt(
    opened: Opened, compute: StubbedCompute
) -> None:
    before = opened()
    lost = before.running()
    before.leave()
    del compute.instances[lost.instance]
    scene = after(before, opened)
    second = scene.placed(0)
    assert second == f"{lost.instance}-a2"
    assert scene.claim(0, second).attempt == 2
    assert scene.watch.tracks[0].lost == 0  # nobody knows how it went


def test_the_next_attempt_has_a_name_that_no_vm_had_before(opened: Opened, compute: StubbedCompute) -> None:
    """Also where the claim tells of fewer attempts than the bill."""
    before = opened()
    first = before.placed(0)
    del compute.instances[first]
    second = before.placed(0, but=first)
    del compute.instances[second]
    before.leave()
    ledger = Ledger.from_json(before.ledger.to_json(), PLACES)
    scene = after(before, opened, ledger=ledger)
    assert scene.placed(0) == f"{first}-a3"


def test_a_result_that_lies_there_is_brought_home(opened: Opened, compute: StubbedCompute) -> None:
    before = opened()
    claim = before.running()
    before.leave_output(claim, model="weights")
    before.finish(claim, 5.0)
    del compute.instances[claim.instance]
    scene = after(before, opened)
    assert scene.tick_until(0, JobState.COMPLETED).return_value == 5.0
    assert (scene.directory / "0" / "model").read_text() == "weights"
    assert len(compute.inserts) == 1


def test_of_two_vms_of_a_job_the_one_that_holds_it_keeps_it(opened: Opened, compute: StubbedCompute) -> None:
    before = opened()
    first = before.running()
    left_over = compute.instances[first.instance]
    before.now += 200
    before.tick()  # it is silent, and replaced
    second = before.claim(0, before.placed(0, but=first.instance))
    before.say(second)
    compute.instances[first.instance] = left_over  # its deletion takes its time
    scene = after(before, opened)
    scene.tick(3)
    assert scene.view(0).instance == second.instance
    goes_on(scene, second, 300)
    assert compute.deleted == [first.instance] * 2
    assert second.instance in compute.instances
    assert len(compute.inserts) == 2


def test_a_younger_vm_does_not_take_a_job_from_the_one_that_holds_it(
    opened: Opened, compute: StubbedCompute
) -> None:
    before = opened()
    first = before.running()
    younger = f"{first.instance}-a2"
    compute.instances[younger] = {**compute.instances[first.instance], "name": younger}
    scene = after(before, opened)
    scene.tick(3)
    assert scene.view(0).instance == first.instance
    assert len(compute.inserts) == 1


def test_a_vm_that_works_on_anothers_job_is_followed_there(opened: Opened, compute: StubbedCompute) -> None:
    before = opened(jobs=2, settings=Settings(max_vms=1))
    first = before.running(0)
    before.complete(first, 0.0)
    other = before.claim(1, first.instance)
    before.say(other)
    before.tick_until(1, JobState.RUNNING)
    scene = after(before, opened)
    assert scene.tick_until(1, JobState.RUNNING).instance == first.instance
    assert claims.is_held(scene.bucket, scene.names, other)
    scene.tick_until(0, JobState.COMPLETED)
    goes_on(scene, other, 500)  # its own job is long over
    scene.complete(other)
    assert len(compute.inserts) == 1
    assert compute.deleted == []


def test_a_vm_that_saves_what_it_has_keeps_its_job_until_it_has_done_so(
    opened: Opened, compute: StubbedCompute
) -> None:
    before = opened()
    claim = before.running()
    compute.instances[claim.instance]["status"] = "STOPPING"
    scene = after(before, opened)
    scene.tick(3)
    assert scene.view(0).note == "saving"
    assert claims.is_held(scene.bucket, scene.names, claim)
    assert len(compute.inserts) == 1
    scene.give_back(claim)
    assert scene.placed(0, but=claim.instance) == f"{claim.instance}-a2"


@pytest.mark.parametrize("status", ["TERMINATED", "STOPPED", "SUSPENDED"])
def test_a_vm_that_is_off_is_deleted_and_followed(
    opened: Opened, compute: StubbedCompute, status: str
) -> None:
    before = opened()
    claim = before.running()
    compute.instances[claim.instance]["status"] = status
    scene = after(before, opened)
    assert not claims.is_held(scene.bucket, scene.names, claim)
    assert scene.placed(0) == f"{claim.instance}-a2"
    assert compute.deleted == [claim.instance]


def test_the_vms_of_other_jobs_are_left_alone(opened: Opened, compute: StubbedCompute) -> None:
    """They are another batch's."""
    before = opened(jobs=2)
    for num in (0, 1):
        before.running(num)
    scene = after(before, opened, jobs=1)
    scene.tick(5, seconds=100)
    assert compute.deleted.count(before.view(1).instance) == 0


def test_what_vms_cost_that_went_meanwhile_is_known_from_their_records(
    opened: Opened, compute: StubbedCompute
) -> None:
    before = opened()
    claim = before.running()
    record = {
        "zone": "us-central1-a",
        "machine_type": "e2-micro",
        "spot": "false",
        "booted": str(before.now),
        "ended": str(before.now + 20),
    }
    before.bucket.write(before.names.vm(claim.instance), b"", metadata=record)
    del compute.instances[claim.instance]
    scene = after(before, opened)
    assert scene.ledger.bill(0, scene.now)[1] == 20.0
    assert scene.ledger.running() == []
    assert scene.placed(0) == f"{claim.instance}-a2"


def test_a_vm_that_came_up_after_the_launcher_had_gone_is_taken(
    opened: Opened, compute: StubbedCompute
) -> None:
    """Its request was under way: the name is its job's, wherever it is."""
    before = opened(jobs=2)
    before.running(0)
    name = before.placed(1)
    made = compute.instances.pop(name)
    scene = after(before, opened)
    compute.instances[name] = {**made, "zone": made["zone"].replace("us-central1-a", "us-central1-b")}
    inserts = len(compute.inserts)
    compute.decide = lambda insert: pytest.fail(f"{insert.name} was asked for in {insert.zone}")

    def taken() -> bool:
        scene.tick()
        return scene.view(1).instance == name

    wait_until(taken, "the VM has its job")
    assert len(compute.inserts) >= inserts


def test_taking_up_twice_is_as_good_as_once(opened: Opened, compute: StubbedCompute) -> None:
    """The network may fail in between, and all begins anew."""
    before = opened(jobs=2)
    claim = before.running(0)
    lost = before.running(1)
    del compute.instances[lost.instance]
    scene = after(before, opened)
    scene.watch.take_up()
    assert scene.placed(1) == f"{lost.instance}-a2"
    assert scene.tick_until(0, JobState.RUNNING).instance == claim.instance
    states = [one.state for num in (0, 1) if (one := claims.read(scene.bucket, scene.names, num))]
    assert states == ["held", "released"]
