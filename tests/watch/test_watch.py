"""What becomes of each job: its statuses are followed, its result is brought home."""

from __future__ import annotations

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud.storage import Client

from hydra_gce.bucket import Bucket
from hydra_gce.cloud.backend import Backend
from hydra_gce.cloud.unreachable import UNREACHABLE
from hydra_gce.errors import SealBroken
from hydra_gce.jobs import JobState
from hydra_gce.settings import Settings
from tests.compute_stub import Made, StubbedCompute
from tests.lossy_proxy import lossy_proxy
from tests.patience import wait_until
from tests.scene import Scene
from tests.watch.places import Opened


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


def test_what_a_vm_warns_of_is_said_once_while_the_job_runs(opened: Opened, compute: StubbedCompute) -> None:
    scene = opened(compute.backend)
    claim = scene.running()
    warning = "the disk of VM hg-0 is nearly full: 0.9 GB of 50.0 GB are left"
    for step in (1, 2):
        scene.say(claim, step=step, metric=0.5, warning=warning)
        scene.tick_until(0, JobState.RUNNING, step=step)
    assert [line for line in scene.news if "nearly full" in line] == [f"job 0: {warning}"]
    scene.say(claim, step=3, warning="the disk of VM hg-0 is full")
    scene.tick_until(0, JobState.RUNNING, step=3)
    assert scene.news[-1] == "job 0: the disk of VM hg-0 is full"


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


def test_the_history_of_the_metric_is_kept_for_the_display(scene: Scene) -> None:
    claim = scene.claim(0, scene.placed(0))
    for step in range(20):
        scene.say(claim, step=step, metric_name="loss", metric=1.0 / (1 + step // 2))
        scene.tick_until(0, JobState.RUNNING, step=step)
    history = scene.view(0).history
    assert len(history) == 10
    assert history == sorted(history, reverse=True)


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


def test_files_beside_the_output_directory_are_told_of(scene: Scene) -> None:
    claim = scene.claim(0, scene.placed(0))
    scene.finish(claim, 3.0, working_dir_files=["notes.txt"])
    scene.say(claim, JobState.COMPLETED)
    scene.tick_until(0, JobState.COMPLETED)
    assert scene.says("job 0 wrote notes.txt beside its output directory; kept as working_dir/notes.txt")


def test_a_vm_already_made_by_a_stubbed_request_is_taken(scene: Scene, compute: StubbedCompute) -> None:
    compute.decide = lambda insert: Made(answered=False)
    assert scene.placed(0) in compute.instances
