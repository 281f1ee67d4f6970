"""What does nothing any more is deleted: it would go on costing."""

from __future__ import annotations

from hydra_gce.jobs import JobState
from hydra_gce.settings import Settings
from tests.compute_stub import Made, StubbedCompute
from tests.patience import wait_until
from tests.scene import Scene
from tests.watch.places import STOCKOUT, Opened


def test_a_vm_that_is_off_is_deleted_once(scene: Scene, compute: StubbedCompute) -> None:
    """Its disk costs, and its name is taken."""
    first = scene.running().instance
    kept = {**compute.instances[first], "status": "TERMINATED"}
    compute.instances[first] = kept
    scene.placed(0, but=first)
    compute.instances[first] = kept  # its deletion takes its time
    scene.tick(3, seconds=1)
    assert compute.deleted == [first]


def test_a_vm_that_lingers_after_its_job_is_deleted_in_the_end(scene: Scene, compute: StubbedCompute) -> None:
    claim = scene.running()
    scene.now += 1000
    scene.say(claim)
    scene.complete(claim)
    scene.tick(seconds=179)
    assert compute.deleted == []
    scene.tick(seconds=2)
    assert compute.deleted == [claim.instance]


def test_a_vm_that_is_kept_warm_is_given_its_time(opened: Opened, compute: StubbedCompute) -> None:
    scene = opened(settings=Settings(keep_warm_s=600.0))
    claim = scene.running()
    scene.complete(claim)
    scene.tick(seconds=779)
    assert compute.deleted == []
    scene.tick(seconds=2)
    assert compute.deleted == [claim.instance]


def test_a_vm_between_two_jobs_of_others_is_not_idle(opened: Opened, compute: StubbedCompute) -> None:
    """Its own job has ended long ago, and it has just ended another one."""
    scene = opened(jobs=3, settings=Settings(max_vms=1))
    first = scene.running(0)
    scene.complete(first)
    second = scene.claim(1, first.instance)
    for _ in range(10):
        scene.now += 100
        scene.say(second)
        scene.tick()
    scene.complete(second)
    scene.tick(3, seconds=5)
    assert compute.deleted == []
    third = scene.claim(2, first.instance)
    scene.say(third)
    scene.tick_until(2, JobState.RUNNING)
    scene.complete(third)
    scene.tick(seconds=181)
    assert compute.deleted == [first.instance]


def test_a_vm_of_a_job_that_another_vm_took_is_deleted_in_the_end(
    opened: Opened, compute: StubbedCompute
) -> None:
    scene = opened(jobs=2)
    first, second = scene.running(0), scene.placed(1)
    scene.complete(first)
    taken = scene.claim(1, first.instance)
    scene.say(taken)
    scene.tick_until(1, JobState.RUNNING, instance=first.instance)
    for _ in range(3):
        scene.now += 61
        scene.say(taken)
        scene.tick()
    assert compute.deleted == [second]
    assert scene.view(1).instance == first.instance


def test_a_vm_that_was_given_up_and_is_there_still_is_deleted_again(
    scene: Scene, compute: StubbedCompute
) -> None:
    first = scene.running().instance
    kept = compute.instances[first]
    scene.tick(seconds=181)
    compute.instances[first] = kept
    claim = scene.claim(0, scene.placed(0, but=first))
    for _ in range(4):
        scene.now += 61
        scene.say(claim)
        scene.tick()
    assert compute.deleted == [first, first]
    assert list(compute.instances) == [claim.instance]


def test_a_vm_that_shuts_down_is_left_to_do_so(scene: Scene, compute: StubbedCompute) -> None:
    claim = scene.running()
    scene.complete(claim)
    compute.instances[claim.instance]["status"] = "STOPPING"
    scene.tick(3, seconds=200)
    assert compute.deleted == []


def test_a_vm_that_nobody_knew_of_is_taken_by_its_job_if_that_wants_one(
    opened: Opened, compute: StubbedCompute
) -> None:
    scene = opened(jobs=2, settings=Settings(max_vms=2))
    compute.decide = lambda insert: STOCKOUT if insert.name.endswith("-1") else Made()
    first = scene.running(0)
    wait_until(lambda: all(asked.done() for asked in scene.fleet._asked), "the places have answered")
    scene.tick()
    assert scene.view(1).note == "waiting for a place"
    inserts = len(compute.inserts)
    name = first.instance[:-1] + "1"
    labels = {**compute.instances[first.instance]["labels"], "hydra-gce-job": "1"}
    compute.instances[name] = {**compute.instances[first.instance], "name": name, "labels": labels}
    scene.tick()
    assert scene.view(1).instance == name
    assert scene.view(1).state is JobState.BOOTING
    scene.tick(3)
    assert len(compute.inserts) == inserts
    assert compute.deleted == []
