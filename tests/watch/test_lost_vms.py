"""A VM that is gone, hung, or taken back is followed by the next attempt, for as long as that makes sense."""

from __future__ import annotations

import math

import pytest

from hydra_gce import claims
from hydra_gce.cloud.backend import Backend
from hydra_gce.errors import JobFailed, Unreachable
from hydra_gce.jobs import JobState
from hydra_gce.settings import VM, Settings
from tests.compute_stub import StubbedCompute
from tests.patience import wait_until
from tests.scene import Scene
from tests.watch.places import Opened


def test_a_vm_that_vanished_is_followed_by_the_next_attempt(opened: Opened, embedded: Backend) -> None:
    scene = opened(embedded)
    first = scene.placed(0)
    claim = scene.claim(0, first)
    scene.say(claim)
    scene.tick_until(0, JobState.RUNNING)
    scene.end_vm(first)
    second = scene.placed(0, but=first)
    assert second == f"{first}-a2"
    assert scene.says(f"VM {first} of job 0 is gone")
    again = scene.claim(0, second)  # the laptop has released it
    assert again.attempt == 2
    assert claims.finish(scene.bucket, scene.names, claim) is None
    scene.say(again)
    assert scene.tick_until(0, JobState.RUNNING).attempt == 2
    scene.finish(again, 2.0)
    scene.say(again, JobState.COMPLETED)
    assert scene.tick_until(0, JobState.COMPLETED).return_value == 2.0


def test_a_silent_vm_is_deleted_and_replaced(opened: Opened, embedded: Backend) -> None:
    scene = opened(embedded)
    first = scene.placed(0)
    scene.say(scene.claim(0, first))
    scene.tick_until(0, JobState.RUNNING)
    scene.now += 179
    scene.watch.tick()
    assert scene.view(0).instance == first
    scene.now += 2
    second = scene.placed(0, but=first)
    assert scene.says("has not been heard of for 181 s; it is replaced")
    wait_until(lambda: first not in scene.vms(), "the silent VM is gone")
    assert list(scene.vms()) == [second]
    assert sum("is replaced" in line for line in scene.news) == 1


def test_heartbeats_keep_a_vm_even_while_its_metric_is_no_number(scene: Scene) -> None:
    first = scene.placed(0)
    claim = scene.claim(0, first)
    for _ in range(4):
        scene.say(claim, metric_name="loss", metric=math.nan)
        scene.tick_until(0, JobState.RUNNING)
        scene.now += 100
    scene.watch.tick()
    assert scene.view(0).instance == first
    scene.now += 181  # and its silence is noticed all the same
    scene.watch.tick()
    assert scene.says("has not been heard of")


def test_a_vm_that_never_says_anything_is_replaced_after_its_time_to_boot(scene: Scene) -> None:
    first = scene.placed(0)
    scene.now += 1400
    scene.watch.tick()
    assert scene.view(0).instance == first
    scene.now += 200
    assert scene.placed(0, but=first) == f"{first}-a2"


def test_a_silent_vm_that_cannot_be_ended_is_counted_once(scene: Scene, compute: StubbedCompute) -> None:
    first = scene.placed(0)
    scene.say(scene.claim(0, first))
    scene.tick_until(0, JobState.RUNNING)
    kept = compute.instances[first]
    scene.now += 200
    scene.watch.tick()
    compute.instances[first] = kept  # its deletion takes its time
    second = scene.placed(0, but=first)
    for _ in range(5):
        scene.watch.tick()
    assert scene.view(0).instance == second
    assert sum("is replaced" in line for line in scene.news) == 1
    assert list(compute.instances) == [first, second]


def test_a_late_heartbeat_of_a_vm_that_was_given_up_changes_nothing(
    scene: Scene, compute: StubbedCompute
) -> None:
    first = scene.placed(0)
    late = scene.claim(0, first)
    scene.say(late)
    scene.tick_until(0, JobState.RUNNING)
    kept = compute.instances[first]
    scene.now += 200
    scene.watch.tick()
    compute.instances[first] = kept
    second = scene.placed(0, but=first)
    again = scene.claim(0, second)
    scene.say(again)
    scene.tick_until(0, JobState.RUNNING)
    scene.say(late)
    for _ in range(3):
        scene.watch.tick()
    assert scene.view(0).instance == second
    scene.finish(again, 2.0)
    scene.say(again, JobState.COMPLETED)
    scene.say(late)  # even over the final status: the claim knows better when the VM has gone
    del compute.instances[second]
    assert scene.tick_until(0, JobState.COMPLETED).return_value == 2.0


def test_a_job_keeps_its_vm_while_that_is_shut_down_and_saves(scene: Scene, compute: StubbedCompute) -> None:
    first = scene.placed(0)
    claim = scene.claim(0, first)
    scene.say(claim)
    scene.tick_until(0, JobState.RUNNING)
    compute.instances[first]["status"] = "STOPPING"
    for _ in range(3):
        scene.now += 5
        scene.watch.tick()
    assert scene.view(0).note == "saving"
    assert len(compute.inserts) == 1
    claims.release(scene.bucket, scene.names, claim)
    scene.say(claim, JobState.PREEMPTED)
    assert scene.placed(0, but=first) == f"{first}-a2"


def test_a_vm_that_is_taken_back_is_replaced_at_once_and_counted_once(
    scene: Scene, compute: StubbedCompute
) -> None:
    """Its agent has said so; the listing shows it as running for a while still."""
    first = scene.placed(0)
    claim = scene.claim(0, first)
    scene.say(claim)
    scene.tick_until(0, JobState.RUNNING)
    claims.release(scene.bucket, scene.names, claim)
    scene.say(claim, JobState.PREEMPTED)
    second = scene.placed(0, but=first)
    for _ in range(5):
        scene.watch.tick()
    assert compute.instances.keys() == {first, second}
    assert scene.view(0).instance == second
    assert sum("was taken back" in line for line in scene.news) == 1
    assert scene.says(f"job 0 goes on in {scene.view(0).zone}")


def test_a_job_whose_vms_are_lost_again_and_again_fails(opened: Opened, compute: StubbedCompute) -> None:
    scene = opened(compute.backend, settings=Settings(max_attempts=3))
    instance = ""
    for _ in range(3):
        instance = scene.placed(0, but=instance)
        del compute.instances[instance]
    view = scene.tick_until(0, JobState.FAILED)
    assert "lost 3 times" in view.note
    assert "hydra.launcher.max_attempts=3" in view.note
    assert len(compute.inserts) == 3
    collected = scene.watch.tracks[0].collected
    assert collected is not None
    with pytest.raises(JobFailed, match="lost 3 times"):
        _ = collected.job_return.return_value


def test_vms_that_cannot_make_their_environment_are_not_tried_for_ever(
    scene: Scene, compute: StubbedCompute
) -> None:
    reason = "a line before\nhydra-gce: apt: no package 'libfoo'"
    first = scene.placed(0)
    scene.bucket.write(scene.names.boot(first), reason.encode())
    del compute.instances[first]
    second = scene.placed(0, but=first)
    assert scene.says(f"VM {first} could not start its agent: hydra-gce: apt: no package 'libfoo'")
    scene.bucket.write(scene.names.boot(second), reason.encode())
    del compute.instances[second]
    view = scene.tick_until(0, JobState.FAILED)
    assert view.note == "environment: hydra-gce: apt: no package 'libfoo'"
    collected = scene.watch.tracks[0].collected
    assert collected is not None
    with pytest.raises(JobFailed, match="a line before"):
        _ = collected.job_return.return_value


def test_the_console_of_a_hung_vm_is_kept_and_its_last_line_is_told(
    scene: Scene, compute: StubbedCompute
) -> None:
    first = scene.running().instance
    compute.consoles[first] = (
        "[    1.0] Linux version 6.1\n[  900.0] Kernel panic - not syncing: Fatal exception\n"
    )
    scene.tick(seconds=181)
    assert (
        scene.times_said(
            f"VM {first} of job 0 has not been heard of for 181 s; it is replaced."
            " Its console ends with: [  900.0] Kernel panic - not syncing: Fatal exception"
        )
        == 1
    )
    kept = scene.bucket.read(scene.names.console(first)).decode()
    assert kept.splitlines() == compute.consoles[first].splitlines()
    assert compute.deleted == [first]


def test_a_hung_vm_without_a_console_is_told_of_all_the_same(scene: Scene) -> None:
    first = scene.placed(0)
    scene.tick(seconds=1501)
    (line,) = [line for line in scene.news if "is replaced" in line]
    assert line.startswith(f"VM {first} of job 0 has not started its agent for 150")
    assert line.endswith("s; it is replaced")


def test_a_preempted_vm_is_recognized_though_its_agent_could_not_say_so(
    opened: Opened, compute: StubbedCompute
) -> None:
    scene = opened(settings=Settings(max_attempts=1))
    first = scene.running().instance
    compute.preempted.add(first)
    del compute.instances[first]
    second = scene.placed(0, but=first)
    assert second == f"{first}-a2"
    assert scene.says(f"VM {first} of job 0 was taken back in ")
    assert claims.take(scene.bucket, scene.names, 0, second) is not None  # its claim was released


def test_preemptions_do_not_count_as_attempts(opened: Opened, compute: StubbedCompute) -> None:
    """Spot VMs are taken back as often as it pleases the market; only VMs that are lost otherwise say something."""
    scene = opened(settings=Settings(max_attempts=2))
    instance = ""
    for _ in range(4):
        instance = scene.placed(0, but=instance)
        claim = scene.claim(0, instance)
        scene.give_back(claim)
        scene.tick()
        del compute.instances[instance]
    track = scene.watch.tracks[0]
    assert (track.preemptions, track.lost) == (4, 0)
    for _ in range(2):
        instance = scene.placed(0, but=instance)
        del compute.instances[instance]
    assert "lost 2 times" in scene.tick_until(0, JobState.FAILED).note
    assert track.preemptions == 4


def test_what_an_agent_says_of_its_leaving_is_told(scene: Scene) -> None:
    scene.give_back(scene.running(), "maintenance of its host")
    scene.tick()
    assert scene.says("of job 0 was taken back (maintenance of its host) in ")


def test_a_vm_whose_time_was_over_counts_as_lost(opened: Opened) -> None:
    """Another one would not get further: it is not the market that took it."""
    scene = opened(settings=Settings(vm=VM(max_run_hours=2.0), max_attempts=1))
    claim = scene.running()
    scene.now += 2 * 3600 - 30
    scene.give_back(claim)
    view = scene.tick_until(0, JobState.FAILED)
    assert view.note.endswith("the last one reached its vm.max_run_hours=2")
    assert isinstance(scene.failure(0), JobFailed)


def test_a_vm_that_is_taken_back_earlier_was_not_at_its_end(opened: Opened) -> None:
    scene = opened(settings=Settings(vm=VM(max_run_hours=2.0), max_attempts=1))
    claim = scene.running()
    scene.now += 2 * 3600 - 120
    scene.give_back(claim)
    assert scene.placed(0, but=claim.instance) == f"{claim.instance}-a2"


def test_the_time_of_another_jobs_vm_is_counted_from_its_beginning(
    opened: Opened, compute: StubbedCompute
) -> None:
    scene = opened(jobs=2, settings=Settings(max_vms=1, max_attempts=1, vm=VM(max_run_hours=2.0)))
    first = scene.running(0)
    scene.complete(first)
    scene.now += 100
    second = scene.claim(1, first.instance)
    scene.say(second)
    scene.tick_until(1, JobState.RUNNING)
    scene.give_back(second)
    scene.tick()
    assert scene.says(f"VM {first.instance} of job 1 was taken back")
    assert not scene.says("max_run_hours")


def test_what_a_lost_jobs_attempts_have_saved_is_brought_home(
    opened: Opened, compute: StubbedCompute
) -> None:
    scene = opened(settings=Settings(max_attempts=1))
    claim = scene.running()
    scene.leave_output(claim, model="weights of epoch 3")
    del compute.instances[claim.instance]
    view = scene.tick_until(0, JobState.FAILED)
    assert (
        view.note == "lost VM: its VM was lost 1 time (hydra.launcher.max_attempts=1); the last one is gone"
    )
    assert (scene.directory / "0" / "model").read_text() == "weights of epoch 3"


def test_a_network_that_fails_while_a_lost_vm_is_looked_into_counts_it_once(
    scene: Scene, compute: StubbedCompute, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = scene.placed(0)
    scene.bucket.write(scene.names.boot(first), b"hydra-gce: no package")
    del compute.instances[first]
    with monkeypatch.context() as patched:

        def unreachable(instance: str) -> bool:
            raise Unreachable("reset by peer")

        patched.setattr(scene.fleet, "was_preempted", unreachable)
        for _ in range(3):
            with pytest.raises(Unreachable):
                scene.tick()
    assert scene.placed(0, but=first) == f"{first}-a2"
    assert scene.times_said("could not start its agent") == 1
    assert scene.watch.tracks[0].lost == 1


def test_a_hung_vm_that_cannot_be_reached_is_told_of_once_it_is_deleted(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = scene.running().instance
    scene.now += 200
    with monkeypatch.context() as patched:

        def unreachable(instance: str) -> None:
            raise Unreachable("reset by peer")

        patched.setattr(scene.fleet, "delete", unreachable)
        for _ in range(2):
            with pytest.raises(Unreachable):
                scene.tick()
    assert not scene.says("is replaced")
    scene.placed(0, but=first)
    assert scene.times_said("is replaced") == 1
