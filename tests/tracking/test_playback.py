"""The VMs' records are played into the laptop's MLflow while the sweep runs, and to their end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from hydra_gce.bucket import Bucket, SweepNames
from hydra_gce.follow.playback import Playback
from hydra_gce.jobs import JobState
from hydra_gce.machines import VMRequest, resolve
from tests.compute_stub import StubbedCompute, stubbed_compute
from tests.patience import wait_until
from tests.scene import Scene
from tests.tracking.lab import SWEEP, Scribe, relay_for

PLACES = resolve(VMRequest(machine_type="e2-micro", zones=["us-central1-a"]))


@pytest.fixture
def compute() -> Iterator[StubbedCompute]:
    with stubbed_compute() as stub:
        yield stub


@pytest.fixture
def scene(compute: StubbedCompute, bucket: Bucket, tmp_path: Path) -> Iterator[Scene]:
    made = Scene(compute.backend, bucket, PLACES, tmp_path, names=SweepNames(SWEEP))
    yield made
    made.close()


def test_a_sweep_that_is_not_tracked_plays_nothing(scene: Scene) -> None:
    playback = Playback(None, scene.watch)
    playback.tick()
    assert playback.close() == ""
    assert playback.link == ""
    assert [job.mlflow_run for job in playback.with_runs(scene.watch.views())] == [""]


def test_records_appear_while_the_job_runs_and_end_with_it(
    scene: Scene, bucket: Bucket, store: str, tmp_path: Path
) -> None:
    client = MlflowClient(store)
    playback = Playback(relay_for(bucket, store, experiment="membrane"), scene.watch)
    claim = scene.claim(0, scene.placed(0))
    vm = Scribe(bucket, tmp_path / "vm", 0)
    run_on_vm = vm.run()
    vm.log(run_on_vm, [("loss", 0.5, 1)])
    scene.say(claim, journal_parts=vm.upload().journal_parts)
    scene.tick_until(0, JobState.RUNNING)
    playback.tick()
    wait_until(lambda: bool(playback.with_runs(scene.watch.views())[0].mlflow_run), "the run is in MLflow")
    (job,) = playback.with_runs(scene.watch.views())
    wait_until(lambda: "loss" in client.get_run(job.mlflow_run).data.metrics, "its metric is there")
    assert client.get_run(job.mlflow_run).info.status == "RUNNING"

    vm.log(run_on_vm, [("loss", 0.25, 2)])
    vm.end(run_on_vm)
    parts = vm.upload().journal_parts
    scene.finish(claim, 0.25)
    scene.say(claim, JobState.COMPLETED, journal_parts=parts)
    scene.now += 3600
    scene.tick_until(0, JobState.COMPLETED)
    playback.tick()
    assert playback.close() == ""
    run = client.get_run(job.mlflow_run)
    assert run.data.metrics["loss"] == 0.25
    assert run.info.status == "FINISHED"
    dollars, seconds = scene.ledger.bill(0, scene.now)
    assert run.data.tags["hydra_gce.cost_usd"] == f"{dollars:.6f}"
    assert run.data.tags["hydra_gce.vm_seconds"] == f"{seconds:.0f}"
    assert run.data.tags["hydra_gce.machine"] == "e2-micro"
    assert run.data.tags["hydra_gce.zone"] == "us-central1-a"
    parent = client.get_run(run.data.tags["mlflow.parentRunId"])
    assert parent.info.status == "FINISHED"
    assert parent.data.tags["hydra_gce.cost_usd"] == f"{dollars:.4f}"
    assert playback.link


def test_a_sweep_with_a_failed_job_has_failed(
    scene: Scene, compute: StubbedCompute, bucket: Bucket, store: str, tmp_path: Path
) -> None:
    client = MlflowClient(store)
    scene.settings.max_attempts = 1
    playback = Playback(relay_for(bucket, store, experiment="membrane"), scene.watch)
    first = scene.placed(0)
    claim = scene.claim(0, first)
    vm = Scribe(bucket, tmp_path / "vm", 0)
    vm.log(vm.run(), [("loss", 0.5, 1)])
    scene.say(claim, journal_parts=vm.upload().journal_parts)
    scene.tick_until(0, JobState.RUNNING)
    del compute.instances[first]
    scene.tick_until(0, JobState.FAILED)
    playback.tick()
    assert playback.close() == ""
    (job,) = playback.with_runs(scene.watch.views())
    run = client.get_run(job.mlflow_run)
    assert run.data.metrics["loss"] == 0.5
    assert run.info.status == "FAILED"
    assert client.get_run(run.data.tags["mlflow.parentRunId"]).info.status == "FAILED"


def test_a_pile_of_records_is_played_before_the_eyes_of_who_waits(
    scene: Scene, bucket: Bucket, store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hydra_gce.follow.playback._LOOK_S", 0.0)
    claim = scene.claim(0, scene.placed(0))
    vm = Scribe(bucket, tmp_path / "vm", 0)
    run_on_vm = vm.run()
    for step in range(50):
        vm.log(run_on_vm, [("loss", 0.5, step)])
        status = vm.upload()
    vm.end(run_on_vm)
    status = vm.upload()
    scene.finish(claim, 0.25)
    scene.say(claim, JobState.COMPLETED, journal_parts=status.journal_parts)
    scene.tick_until(0, JobState.COMPLETED)
    playback = Playback(None, scene.watch)
    playback.tick()  # what has been seen, with no thread that plays it
    playback._relay = relay_for(bucket, store, experiment="membrane")
    shares: list[float | None] = []
    assert playback.close(lambda: shares.append(playback.share)) == ""
    told = [share for share in shares if share is not None]
    assert len(told) > 40 and told == sorted(told) and told[0] < 0.1 and told[-1] > 0.9
    assert playback.share is None
