"""A VM that plays its own journal into a server: what it cannot bring, the launcher brings, and all of it once."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from hydra_gce.bucket import Bucket, SweepNames
from hydra_gce.jobs import JobState
from hydra_gce.lease import Holder, Lease
from hydra_gce.tracking.mode import Mode
from hydra_gce.tracking.uplink import play
from hydra_gce.tracking.uplink_order import Order
from hydra_gce.wake import Wake
from tests.patience import wait_until
from tests.tracking.lab import STARTED, SWEEP, Scribe, relay_for, tracked_sweep


@pytest.fixture
def sweep() -> str:
    """The server is shared by all tests of a session."""
    return f"{SWEEP}-{uuid.uuid4().hex[:8]}"


@contextmanager
def uplink(bucket: Bucket, server: str, sweep: str, attempt: int = 1) -> Iterator[None]:
    tracked = asdict(tracked_sweep(sweep, experiment="membrane"))
    order = Order("p", bucket.name, 0, attempt, "hg-0", "us-central1-a", tracked)
    stop = Wake()
    thread = threading.Thread(target=play, args=(Order.from_json(order.to_json()), bucket, server, stop))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(60)
        assert not thread.is_alive()


def losses(server: str, sweep: str) -> list[tuple[int, float]]:
    client = MlflowClient(server)
    experiment = client.get_experiment_by_name("membrane")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], f"tags.`hydra_gce.sweep` = '{sweep}'")
    points = [run for run in runs if run.info.run_name == "lr=1e-3"]
    if not points:
        return []
    (point,) = points
    return sorted((m.step, m.value) for m in client.get_metric_history(point.info.run_id, "loss"))


def test_the_vm_brings_what_it_can_and_the_launcher_the_rest(
    bucket: Bucket, server: str, sweep: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    launcher = relay_for(bucket, server, experiment="membrane", mode=Mode.DURABLE, sweep=sweep)
    launcher.tick({})
    vm = Scribe(bucket, tmp_path, 0, sweep=sweep)
    run_id = vm.run()
    vm.log(run_id, [("loss", 1.0, 0)])
    vm.put_artifact(run_id, "a.txt", b"a")
    with uplink(bucket, server, sweep):
        vm.upload()
        wait_until(lambda: losses(server, sweep) == [(0, 1.0)], "the first record is there")
        launcher.tick({0: vm.status(JobState.RUNNING)})
        assert launcher.trouble == ""
        vm.log(run_id, [("loss", 0.5, 1)])
        vm.upload()
        wait_until(lambda: len(losses(server, sweep)) == 2, "the second record is there")
    vm.log(run_id, [("loss", 0.25, 2)])  # as the VM goes
    vm.upload()
    launcher.finish(vm.status(JobState.COMPLETED), STARTED + 60, {"cost_usd": "1"})
    launcher.close(JobState.COMPLETED, STARTED + 61, {})
    assert launcher.trouble == ""
    assert losses(server, sweep) == [(0, 1.0), (1, 0.5), (2, 0.25)]
    run = MlflowClient(server).get_run(str(launcher.run_id(0)))
    assert run.info.status == "FINISHED" and run.data.tags["hydra_gce.cost_usd"] == "1"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)  # where MLflow 2 looks for any server's artifacts
    assert [info.path for info in MlflowClient(server).list_artifacts(run.info.run_id)] == ["a.txt"]


def test_a_server_that_is_down_costs_nothing_but_delay(
    bucket: Bucket, server: str, sweep: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vm = Scribe(bucket, tmp_path, 0, sweep=sweep)
    run_id = vm.run()
    calls = 0

    def down(*_: object, **__: Any) -> None:
        nonlocal calls
        calls += 1
        raise ConnectionError("connection refused")

    with uplink(bucket, server, sweep):
        with monkeypatch.context() as outage:
            outage.setattr(MlflowClient, "log_batch", down)
            for step in range(20):
                vm.log(run_id, [("loss", float(step), step)])
            vm.upload()
            wait_until(lambda: calls >= 2, "the server was asked in vain")
        wait_until(lambda: len(losses(server, sweep)) == 20, "all records are there")
    assert losses(server, sweep) == [(step, float(step)) for step in range(20)]


def test_the_launcher_waits_for_a_vm_that_may_be_at_it_still(
    bucket: Bucket, server: str, sweep: str, tmp_path: Path
) -> None:
    names = SweepNames(sweep)
    at_work = Lease(bucket, names.relay_of(0), Holder("vm", "", 7))
    assert at_work.hold()
    launcher = relay_for(bucket, server, experiment="membrane", mode=Mode.DURABLE, sweep=sweep)
    vm = Scribe(bucket, tmp_path, 0, sweep=sweep)
    vm.log(vm.run(), [("loss", 1.0, 0)])
    vm.upload()
    launcher.finish(vm.status(JobState.COMPLETED), STARTED + 60, {})
    assert losses(server, sweep) == []
    at_work.release()
    launcher.tick({})
    assert launcher.trouble == "" and losses(server, sweep) == [(0, 1.0)]
