"""One run for each point from before its VM to its end, whatever its program does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow import MlflowClient
from mlflow.entities import ViewType

from hydra_gce.bucket import Bucket
from hydra_gce.jobs import JobState, JobStatus
from hydra_gce.tracking.relay.capture import Captured, numbers
from hydra_gce.tracking.relay.destination import Destination
from hydra_gce.tracking.relay.relay import Relay
from tests.tracking.lab import STARTED, SWEEP, Killed, Scribe, relay_for


def by_name(store: str, view: int = ViewType.ACTIVE_ONLY) -> dict[str, Any]:
    client = MlflowClient(store)
    runs = client.search_runs([e.experiment_id for e in client.search_experiments()], "", view)
    names = {run.info.run_name: run for run in runs}
    assert len(names) == len(runs)
    return names


def experiment_of(store: str, run: Any) -> str:
    name: str = MlflowClient(store).get_experiment(run.info.experiment_id).name
    return name


def test_runs_are_there_before_any_vm_is(bucket: Bucket, store: str) -> None:
    relay = relay_for(bucket, store, experiment="membrane")
    relay.tick({})
    runs = by_name(store)
    assert set(runs) == {SWEEP, "lr=1e-3", "lr=1e-4"}
    assert runs["lr=1e-3"].info.status == "SCHEDULED" and runs[SWEEP].info.status == "RUNNING"
    assert {experiment_of(store, run) for run in runs.values()} == {"membrane"}
    tags = runs["lr=1e-3"].data.tags
    assert tags["mlflow.parentRunId"] == runs[SWEEP].info.run_id
    assert tags["hydra_gce.overrides"] == "lr=1e-3" and tags["hydra_gce.git_dirty"] == "true"
    assert relay.run_id(1) == runs["lr=1e-4"].info.run_id


def test_what_is_in_no_commit_is_kept_beside_the_sweeps_run(
    scribe: Callable[..., Scribe], bucket: Bucket, store: str, tmp_path: Path
) -> None:
    relay = relay_for(bucket, store)
    relay.tick({})
    vm = scribe()
    vm.run()  # in an experiment that the program names: the sweep's run goes there
    relay.tick({0: vm.upload()})
    relay.finish(vm.status(JobState.COMPLETED), STARTED + 60, {})
    relay.finish(JobStatus(1, JobState.CANCELLED), STARTED + 60, {})
    relay.close(JobState.COMPLETED, STARTED + 61, {})
    assert relay.trouble == ""
    client, parent = MlflowClient(store), by_name(store)[SWEEP]
    assert experiment_of(store, parent) == "membrane"
    (path,) = [info.path for info in client.list_artifacts(parent.info.run_id, "hydra_gce")]
    kept = client.download_artifacts(parent.info.run_id, path, str(tmp_path))
    assert Path(kept).read_text() == "--- a/train.py\n+++ b/train.py\n"


def test_the_programs_first_run_is_the_points(
    scribe: Callable[..., Scribe], bucket: Bucket, store: str
) -> None:
    relay = relay_for(bucket, store, experiment="membrane")
    relay.tick({})
    waiting = by_name(store)["lr=1e-3"].info.run_id
    vm = scribe()
    run_id = vm.run(user_tags={"mlflow.source.name": "train.py", "own": "x", "mlflow.user": "root"})
    vm.log(run_id, [("loss", 0.5, 1)])
    nested = vm.run("fold", parent=run_id)
    vm.log(nested, [("loss", 0.25, 1)])
    relay.tick({0: vm.upload()})
    runs = by_name(store)
    assert set(runs) == {SWEEP, "lr=1e-3", "lr=1e-4", "fold"}
    point = runs["lr=1e-3"]
    assert point.info.run_id == waiting == relay.run_id(0)
    assert point.info.status == "RUNNING" and point.data.metrics == {"loss": 0.5}
    assert point.data.tags["mlflow.source.name"] == "train.py" and point.data.tags["own"] == "x"
    assert point.data.tags["mlflow.parentRunId"] == runs[SWEEP].info.run_id
    assert runs["fold"].data.tags["mlflow.parentRunId"] == waiting


def test_a_run_that_replaces_the_waiting_one_says_where_its_job_is(
    scribe: Callable[..., Scribe], bucket: Bucket, store: str
) -> None:
    relay = relay_for(bucket, store)
    vm = scribe(0, 2)
    relay.tick({0: vm.status(JobState.RUNNING)})  # told to the waiting one, in the default experiment
    vm.run()
    relay.tick({0: vm.upload()})
    point = MlflowClient(store).get_run(str(relay.run_id(0)))
    assert experiment_of(store, point) == "membrane"
    tags = {key: point.data.tags.get(f"hydra_gce.{key}") for key in ("attempt", "zone", "instance")}
    assert tags == {"attempt": "2", "zone": "us-central1-a", "instance": f"hg-{SWEEP}-2"}


def test_a_program_that_names_its_run_has_it_so(
    scribe: Callable[..., Scribe], bucket: Bucket, store: str
) -> None:
    relay = relay_for(bucket, store, experiment="membrane")
    relay.tick({})
    vm = scribe()
    vm.run("my name")
    relay.tick({0: vm.upload()})
    runs = by_name(store)
    assert set(runs) == {SWEEP, "my name", "lr=1e-4"}
    assert runs["my name"].info.run_id == relay.run_id(0)


def test_a_program_that_names_its_experiment_has_its_runs_there(
    scribe: Callable[..., Scribe], bucket: Bucket, store: str
) -> None:
    relay = relay_for(bucket, store)
    relay.tick({})
    assert {experiment_of(store, run) for run in by_name(store).values()} == {"Default"}
    for num in (0, 1):
        vm = scribe(num)
        run_id = vm.run()
        vm.log(run_id, [("loss", 0.5, 1)])
        relay.tick({num: vm.upload()})
        relay.finish(vm.status(JobState.COMPLETED), STARTED + 60, {})
    relay.close(JobState.COMPLETED, STARTED + 61, {})
    runs = by_name(store)
    assert set(runs) == {SWEEP, "lr=1e-3", "lr=1e-4"}
    assert {experiment_of(store, run) for run in runs.values()} == {"membrane"}
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    assert runs["lr=1e-4"].data.tags["mlflow.parentRunId"] == runs[SWEEP].info.run_id
    assert {relay.run_id(0), relay.run_id(1)} == {runs[n].info.run_id for n in ("lr=1e-3", "lr=1e-4")}


def test_a_program_that_logs_nothing_has_a_run_that_lives_as_its_job(bucket: Bucket, store: str) -> None:
    relay = relay_for(bucket, store)

    def status_at(state: JobState, attempt: int = 1) -> str:
        relay.tick({0: JobStatus(0, state, attempt, instance=f"hg-{attempt}", zone="us-central1-a")})
        assert relay.trouble == ""
        said: str = by_name(store)["lr=1e-3"].info.status
        return said

    assert status_at(JobState.BOOTING) == "SCHEDULED"
    assert status_at(JobState.RUNNING) == "RUNNING"
    assert status_at(JobState.PREEMPTED) == "SCHEDULED"
    assert status_at(JobState.RUNNING, 2) == "RUNNING"
    relay.finish(JobStatus(0, JobState.FAILED, 2), STARTED + 60, {"cost_usd": "0.5"})
    relay.finish(JobStatus(1, JobState.CANCELLED), STARTED + 60, {})
    relay.close(JobState.FAILED, STARTED + 61, {"cost_usd": "0.6"})
    assert relay.trouble == ""
    runs = by_name(store)
    assert {name: run.info.status for name, run in runs.items()} == {
        SWEEP: "FAILED",
        "lr=1e-3": "FAILED",
        "lr=1e-4": "KILLED",
    }
    tags = runs["lr=1e-3"].data.tags
    assert (tags["hydra_gce.attempt"], tags["hydra_gce.instance"]) == ("2", "hg-2")
    assert tags["hydra_gce.cost_usd"] == "0.5" and runs[SWEEP].data.tags["hydra_gce.cost_usd"] == "0.6"
    assert runs["lr=1e-3"].info.end_time == (STARTED + 60) * 1000


def test_what_is_begun_again_runs_again_and_ends_as_it_then_does(
    bucket: Bucket, store: str, tmp_path: Path
) -> None:
    """By another process, as ``hydra-gce retry`` does; steps of the first attempt are kept once."""
    first, vm = relay_for(bucket, store), Scribe(bucket, tmp_path, 0)
    run = vm.run()
    vm.log(run, [("loss", 1.0, 0), ("loss", 0.5, 1)])
    vm.end(run, "FAILED")
    first.tick({0: vm.upload()})
    first.finish(vm.status(JobState.FAILED), STARTED + 60, {})
    first.finish(JobStatus(1, JobState.CANCELLED), STARTED + 60, {})
    first.close(JobState.FAILED, STARTED + 61, {})
    runs = by_name(store)
    assert [runs[name].info.status for name in (SWEEP, "lr=1e-3", "lr=1e-4")] == [
        "FAILED",
        "FAILED",
        "KILLED",
    ]

    again, vm = relay_for(bucket, store), Scribe(bucket, tmp_path, 0, attempt=2)
    waiting = {num: JobStatus(num, JobState.PENDING, attempt=1 - num) for num in (0, 1)}
    again.tick(waiting)
    assert by_name(store)[SWEEP].info.status == "RUNNING"
    run = vm.run()
    vm.log(run, [("loss", 0.5, 1), ("loss", 0.25, 2)])
    again.tick({0: vm.upload(), 1: JobStatus(1, JobState.RUNNING, attempt=1)})
    runs = by_name(store)
    assert {runs[name].info.status for name in (SWEEP, "lr=1e-3", "lr=1e-4")} == {"RUNNING"}
    vm.end(run)
    again.tick({0: vm.upload()})
    again.finish(vm.status(JobState.COMPLETED), STARTED + 160, {})
    again.finish(JobStatus(1, JobState.COMPLETED, attempt=1), STARTED + 160, {})
    again.close(JobState.COMPLETED, STARTED + 161, {})
    assert again.trouble == ""
    runs = by_name(store)
    assert {runs[name].info.status for name in (SWEEP, "lr=1e-3", "lr=1e-4")} == {"FINISHED"}
    assert runs[SWEEP].info.end_time == int((STARTED + 161) * 1000)
    history = MlflowClient(store).get_metric_history(runs["lr=1e-3"].info.run_id, "loss")
    assert sorted(metric.step for metric in history) == [0, 1, 2]


@pytest.mark.parametrize("experiment", ["membrane", None])
def test_killed_at_any_call_the_relay_leaves_each_run_once(
    scribe: Callable[..., Scribe],
    bucket: Bucket,
    store: str,
    experiment: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    vms = [scribe(0), scribe(1)]
    for vm in vms:
        run_id = vm.run()
        vm.log(run_id, [("loss", 0.5, 1)])
        vm.upload()
    original, calls, lives = Destination.call, 0, 0

    def one_life(dies_at: int, before: bool) -> Relay | None:
        nonlocal calls
        calls = 0

        def counted(self: Destination, what: str, function: Callable[[], Any]) -> Any:
            nonlocal calls
            calls += 1
            if calls == dies_at and before:
                raise Killed
            answer = original(self, what, function)
            if calls == dies_at:
                raise Killed
            return answer

        monkeypatch.setattr(Destination, "call", counted)
        relay = relay_for(bucket, store, experiment=experiment)
        try:
            relay.tick({num: vm.status(JobState.RUNNING) for num, vm in enumerate(vms)})
            for vm in vms:
                relay.finish(vm.status(JobState.COMPLETED), STARTED + 60, {})
            relay.close(JobState.COMPLETED, STARTED + 61, {})
        except Killed:
            return None
        assert relay.trouble == ""
        return relay

    relay = None
    while relay is None:
        lives += 1
        relay = one_life(6 + lives // 4, before=lives % 2 == 0)
        assert lives < 200
    runs = by_name(store)
    assert lives >= 5
    assert set(runs) == {SWEEP, "lr=1e-3", "lr=1e-4"}
    assert {experiment_of(store, run) for run in runs.values()} == {"membrane"}
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    assert all(runs[name].data.metrics == {"loss": 0.5} for name in ("lr=1e-3", "lr=1e-4"))
    assert {runs[n].data.tags["mlflow.parentRunId"] for n in ("lr=1e-3", "lr=1e-4")} == {
        runs[SWEEP].info.run_id
    }


def captured(directory: Path) -> Captured:
    (directory / "plots").mkdir(parents=True)
    (directory / "plots" / "a.txt").write_text("a plot")
    config = {"lr": 1e-3, "model": {"filters": 16, "own:odd?": 1}, "sizes": [1, 2], "empty": {}}
    return Captured(config, {"score": 0.5, "folds": (1, 2)}, directory, lambda: "step 1\nstep 2\n")


def test_a_program_that_never_calls_mlflow_is_recorded_where_that_is_asked_for(
    scribe: Callable[..., Scribe], bucket: Bucket, store: str, tmp_path: Path
) -> None:
    what = captured(tmp_path / "output")
    vm = scribe(1)  # this one does call it
    vm.log(vm.run(), [("loss", 0.5, 1)])
    vm.upload()
    refused: list[str] = []
    for _ in range(2):  # by a relay, and once more by another
        relay = relay_for(bucket, store, experiment="membrane")
        tags = {"cost_usd": "0.25", "boot_s": "12.5", "machine": "e2-micro"}
        relay.finish(JobStatus(0, JobState.COMPLETED, 1), STARTED + 60, tags, what)
        relay.finish(vm.status(JobState.COMPLETED), STARTED + 60, {}, what)
        assert relay.trouble == ""
        refused += [refusal.what for refusal in relay.refused]
    runs, client = by_name(store), MlflowClient(store)
    run, other = runs["lr=1e-3"], runs["lr=1e-4"]
    assert run.data.params == {"lr": "0.001", "model.filters": "16", "sizes": "[1, 2]", "empty": "{}"}
    assert run.data.metrics == {
        "score": 0.5,
        "folds.0": 1,
        "folds.1": 2,
        "hydra_gce/cost_usd": 0.25,
        "hydra_gce/boot_s": 12.5,
    }
    assert [info.path for info in client.list_artifacts(run.info.run_id, "output/plots")] == [
        "output/plots/a.txt"
    ]
    assert _text(client, run, "log.txt", tmp_path) == "step 1\nstep 2\n"
    assert refused == ["param model.own:odd?=1"]
    assert other.data.params == {} and client.list_artifacts(other.info.run_id) == []


def _text(client: MlflowClient, run: Any, path: str, directory: Path) -> str:
    return Path(client.download_artifacts(run.info.run_id, path, str(directory))).read_text()


@pytest.mark.parametrize(
    ("returned", "metrics"),
    [
        (0.5, [("return_value", 0.5)]),
        (np.float32(0.5), [("return_value", 0.5)]),
        ([1, (2,)], [("return_value.0", 1), ("return_value.1.0", 2)]),
        ({"a": {"b": 1}, "c": "text"}, [("a.b", 1)]),
        (None, []),
        (True, []),
        (np.zeros(3), []),
    ],
)
def test_numbers_of_a_return_value(returned: object, metrics: list[tuple[str, float]]) -> None:
    assert list(numbers(returned)) == metrics


def test_the_mlruns_of_an_earlier_project_are_gone_on_with(
    scribe: Callable[..., Scribe], bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = tmp_path / "project"
    (project / "mlruns" / "0").mkdir(parents=True)
    meta = (
        f"artifact_location: {project}/mlruns/0\nexperiment_id: '0'\nlifecycle_stage: active\nname: Default\n"
    )
    (project / "mlruns" / "0" / "meta.yaml").write_text(meta)
    monkeypatch.chdir(project)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "")
    monkeypatch.delenv("MLFLOW_ALLOW_FILE_STORE")
    relay = relay_for(bucket, None)
    vm = scribe()
    vm.log(vm.run(), [("loss", 0.5, 1)])
    relay.tick({0: vm.upload()})
    assert relay.trouble == "" and relay.uri == (project / "mlruns").as_uri()
    assert MlflowClient(str(relay.uri)).get_run(str(relay.run_id(0))).data.metrics == {"loss": 0.5}
