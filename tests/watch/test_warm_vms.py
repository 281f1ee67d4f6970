"""VMs of the batch before, which wait for the jobs of this one."""

from __future__ import annotations

from typing import Any

from hydra_gce.jobs import JobState
from tests.compute_stub import StubbedCompute
from tests.scene import Scene
from tests.watch.places import Opened


def next_batch(before: Scene, opened: Opened, **more: Any) -> Scene:
    """Of the same sweeper, a moment later."""
    before.leave()
    return opened(
        names=before.names,
        ledger=before.ledger,
        now=before.now + 1,
        first=before.jobs,
        finds_warm=True,
        **more,
    )


def test_a_vm_that_waits_takes_a_job_and_only_the_others_are_given_one(
    opened: Opened, compute: StubbedCompute
) -> None:
    before = opened()
    warm = before.running()
    before.complete(warm)
    scene = next_batch(before, opened, jobs=2)
    assert scene.placed(2) == f"hg-{scene.names.sweep}-2"
    assert len(compute.inserts) == 2
    claim = scene.claim(1, warm.instance)
    scene.say(claim)
    view = scene.tick_until(1, JobState.RUNNING)
    assert view.instance == warm.instance
    scene.now += 60
    scene.say(claim)
    scene.tick(3)
    assert len(compute.inserts) == 2
    scene.complete(claim, 5.0)
    assert compute.deleted == []


def test_a_vm_that_takes_no_job_is_not_waited_for(opened: Opened, compute: StubbedCompute) -> None:
    before = opened()
    before.complete(before.running())
    scene = next_batch(before, opened)
    scene.tick(3)
    assert len(compute.inserts) == 1
    scene.now += 25
    scene.placed(1)
    assert len(compute.inserts) == 2


def test_where_none_waits_any_more_each_job_is_given_a_vm_at_once(
    opened: Opened, compute: StubbedCompute
) -> None:
    before = opened()
    claim = before.running()
    before.complete(claim)
    del compute.instances[claim.instance]
    scene = next_batch(before, opened)
    assert scene.placed(1) == f"hg-{scene.names.sweep}-1"
