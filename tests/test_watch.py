"""What becomes of each job, whatever becomes of its VMs."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud.storage import Client

from hydra_gce import claims
from hydra_gce.backend import Backend
from hydra_gce.bucket import Bucket
from hydra_gce.errors import JobFailed, NoPlace, SealBroken
from hydra_gce.jobs import JobState
from hydra_gce.machines import VMRequest, resolve
from hydra_gce.settings import Settings
from hydra_gce.unreachable import UNREACHABLE
from tests.compute_stub import Failed, Made, StubbedCompute, stubbed_compute
from tests.lossy_proxy import lossy_proxy
from tests.patience import wait_until
from tests.scene import Scene

PLACES = resolve(VMRequest(machine_type="e2-micro", zones=["us-central1-[ab]"]))
STOCKOUT = Failed("ZONE_RESOURCE_POOL_EXHAUSTED", "The zone does not have enough resources.")

Opened = Callable[..., Scene]


@pytest.fixture
def compute() -> Iterator[StubbedCompute]:
    with stubbed_compute() as stub:
        yield stub


@pytest.fixture
def opened(bucket: Bucket, tmp_path: Path) -> Iterator[Opened]:
    scenes: list[Scene] = []

    def open_scene(backend: Backend, **more: Any) -> Scene:
        scene = Scene(backend, **{"bucket": bucket, "candidates": PLACES, "directory": tmp_path, **more})
        scenes.append(scene)
        return scene

    yield open_scene
    for scene in scenes:
        scene.close()


@pytest.fixture
def scene(opened: Opened, compute: StubbedCompute) -> Scene:
    return opened(compute.backend)


# On the embedded Compute Engine.


def test_a_job_goes_from_pending_to_completed(opened: Opened, embedded: Backend) -> None:
    scene = opened(embedded, jobs=2)
    assert {view.state for view in scene.watch.views()} == {JobState.PENDING}
    scene.watch.tick()
    assert {view.state for view in scene.watch.views()} == {JobState.PROVISIONING}
    for num in (0, 1):
        view = scene.tick_until(num, JobState.BOOTING)
        assert view.zone in ("us-central1-a", "us-central1-b")
        assert "e2-micro" in view.machine
        assert scene.vms()[view.instance] == "RUNNING"
        claim = scene.claim(num, view.instance)
        scene.say(claim, step=7, metric_name="val_iou", metric=0.5 + num)
        running = scene.tick_until(num, JobState.RUNNING)
        assert (running.step, running.metric_name, running.metric) == (7, "val_iou", 0.5 + num)
        scene.leave_output(claim, model=f"weights {num}")
        scene.finish(claim, 0.75 + num)
        scene.say(claim, JobState.COMPLETED)
        done = scene.tick_until(num, JobState.COMPLETED)
        assert done.return_value == 0.75 + num
        assert (scene.directory / str(num) / "model").read_text() == f"weights {num}"
    assert scene.watch.done
    assert not scene.says("lost")


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
    assert sum("no room for all at once" in line for line in scene.news) == 1
    first = scene.placed(here)
    claim = scene.claim(here, first)
    scene.finish(claim, 1.0)
    scene.say(claim, JobState.COMPLETED)
    scene.tick_until(here, JobState.COMPLETED)
    scene.end_vm(first)
    assert scene.placed(waits) == f"hg-{scene.names.sweep}-{waits}"
    assert scene.view(waits).note == ""
    assert sum("no room for all at once" in line for line in scene.news) == 1


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


# Where the fleet has to misbehave.


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


def test_a_result_counts_though_its_vm_died_before_it_could_say_so(
    scene: Scene, compute: StubbedCompute
) -> None:
    first = scene.placed(0)
    claim = scene.claim(0, first)
    scene.say(claim)
    scene.tick_until(0, JobState.RUNNING)
    scene.finish(claim, 5.0)
    del compute.instances[first]
    assert scene.tick_until(0, JobState.COMPLETED).return_value == 5.0
    assert len(compute.inserts) == 1


def test_nowhere_to_go_is_said_with_what_each_place_answered(scene: Scene, compute: StubbedCompute) -> None:
    compute.decide = lambda insert: Failed(
        "QUOTA_EXCEEDED", f"Quota 'NVIDIA_T4_GPUS' exceeded.  Limit: 0.0 in {insert.zone}."
    )
    with pytest.raises(NoPlace) as refused:
        scene.tick_until(0, JobState.COMPLETED)
    said = str(refused.value)
    assert "No VM could be had for job 0" in said
    assert "us-central1-" in said
    assert "Limit: 0.0" in said
    assert "Nothing was started; nothing is charged." in said


def test_full_places_are_waited_for_with_growing_pauses_and_then_given_up(
    scene: Scene, compute: StubbedCompute
) -> None:
    compute.decide = lambda insert: STOCKOUT
    asked_at: list[float] = []

    def ends() -> bool:
        before = len(compute.inserts)
        scene.fleet.forget_refusals()
        try:
            scene.watch.tick()
            wait_until(lambda: all(asked.done() for asked in scene.fleet._asked), "the places have answered")
        except NoPlace:
            return True
        if len(compute.inserts) > before:
            asked_at.append(scene.now)
        scene.now += 2.0
        return False

    wait_until(ends, "it is given up")
    pauses = [later - earlier for earlier, later in pairwise(asked_at)]
    assert pauses == sorted(pauses)
    assert pauses[-1] >= 60
    assert 600 < scene.now - 1_000_000 < 800


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


def test_a_job_that_another_jobs_vm_took_is_followed_there(opened: Opened, compute: StubbedCompute) -> None:
    scene = opened(compute.backend, jobs=2, settings=Settings(max_vms=1))
    first = scene.placed(0)
    claim = scene.claim(0, first)
    scene.finish(claim, 0.0)
    scene.say(claim, JobState.COMPLETED)
    other = scene.claim(1, first)
    scene.say(other)
    scene.tick_until(0, JobState.COMPLETED)
    assert scene.tick_until(1, JobState.RUNNING).instance == first
    scene.finish(other, 1.0)
    scene.say(other, JobState.COMPLETED)
    del compute.instances[first]
    assert scene.tick_until(1, JobState.COMPLETED).return_value == 1.0
    assert len(compute.inserts) == 1


def test_a_tick_asks_the_same_however_many_jobs_there_are(
    opened: Opened, compute: StubbedCompute, bucket: Bucket, storage_url: str
) -> None:
    counts = []
    for jobs in (1, 12):
        with lossy_proxy(storage_url) as proxy:
            client = Client(
                project="p", credentials=AnonymousCredentials(), client_options={"api_endpoint": proxy.url}
            )
            scene = opened(compute.backend, jobs=jobs, bucket=Bucket(client.bucket(bucket.name)))
            for num in range(jobs):
                scene.say(scene.claim(num, scene.placed(num)))
            scene.tick_until(jobs - 1, JobState.RUNNING)
            proxy.seen.clear()
            compute.filters.clear()
            scene.watch.tick()
            counts.append((len(proxy.seen), len(compute.filters)))
    assert counts == [(1, 1), (1, 1)]


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


def test_a_network_that_fails_in_the_middle_of_collecting_loses_nothing(
    scene: Scene, compute: StubbedCompute, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = scene.claim(0, scene.placed(0))
    scene.finish(claim, 3.0)
    scene.say(claim, JobState.COMPLETED)
    from requests.exceptions import ConnectionError as NoConnection

    read, failures = scene.bucket.read, iter([NoConnection("reset by peer")])

    def flaky(name: str, start: int = 0) -> bytes:
        for failure in failures:
            raise failure
        return read(name, start)

    monkeypatch.setattr(scene.bucket, "read", flaky)
    unreachable = 0

    def collected() -> bool:
        nonlocal unreachable
        try:
            scene.watch.tick()
        except UNREACHABLE:
            unreachable += 1
        return scene.watch.done

    wait_until(collected, "the job is collected")
    assert unreachable == 1
    assert scene.view(0).return_value == 3.0


def test_a_forged_result_fails_its_job_and_is_not_opened(scene: Scene) -> None:
    claim = scene.claim(0, scene.placed(0))
    scene.finish(claim, 3.0)
    name = scene.names.result(0, 1)
    scene.bucket.write(name, scene.bucket.read(name)[:-1] + b"!")
    scene.say(claim, JobState.COMPLETED)
    view = scene.tick_until(0, JobState.FAILED)
    assert "signature" in view.note
    collected = scene.watch.tracks[0].collected
    assert collected is not None
    with pytest.raises(SealBroken):
        _ = collected.job_return.return_value


def test_the_history_of_the_metric_is_kept_for_the_display(scene: Scene) -> None:
    claim = scene.claim(0, scene.placed(0))
    for step in range(20):
        scene.say(claim, step=step, metric_name="loss", metric=1.0 / (1 + step // 2))
        scene.tick_until(0, JobState.RUNNING, step=step)
    history = scene.view(0).history
    assert len(history) == 10
    assert history == sorted(history, reverse=True)


def test_files_beside_the_output_directory_are_told_of(scene: Scene) -> None:
    claim = scene.claim(0, scene.placed(0))
    scene.finish(claim, 3.0, working_dir_files=["notes.txt"])
    scene.say(claim, JobState.COMPLETED)
    scene.tick_until(0, JobState.COMPLETED)
    assert scene.says("job 0 wrote notes.txt beside its output directory; kept as working_dir/notes.txt")


def test_a_vm_already_made_by_a_stubbed_request_is_taken(scene: Scene, compute: StubbedCompute) -> None:
    compute.decide = lambda insert: Made(answered=False)
    assert scene.placed(0) in compute.instances
