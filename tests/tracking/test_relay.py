"""The relay: once each, in order, with what the store refuses told; killed, repeated, resumed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import OperationalError

from hydra_gce.bucket import Bucket, SweepNames
from hydra_gce.jobs import JobState, JobStatus
from hydra_gce.tracking.relay.relay import Relay
from tests.patience import wait_until
from tests.tracking.lab import STARTED, STARTED_MS, SWEEP, Killed, Scribe, dying, relay_for


@pytest.fixture
def relay(bucket: Bucket, store: str) -> Relay:
    return relay_for(bucket, store)


def run_of(relay: Relay, store: str, num: int = 0) -> Any:
    run_id = relay.run_id(num)
    assert run_id, relay.trouble
    return MlflowClient(store).get_run(run_id)


def is_well(relay: Relay) -> bool:
    relay.tick({})
    return relay.trouble == ""


def history(run: Any, store: str, name: str) -> list[tuple[int, float]]:
    found = MlflowClient(store).get_metric_history(run.info.run_id, name)
    return sorted((metric.step, metric.value) for metric in found)


def all_runs(store: str) -> list[Any]:
    client = MlflowClient(store)
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    return list(client.search_runs(experiments))


def test_records_are_in_mlflow_after_each_tick(
    scribe: Callable[..., Scribe], relay: Relay, store: str
) -> None:
    vm = scribe()
    run_id = vm.run()
    vm.log(run_id, [("loss", 1.0, 0)], {"lr": "0.001"})
    relay.tick({0: vm.upload()})
    assert history(run_of(relay, store), store, "loss") == [(0, 1.0)]

    vm.log(run_id, [("loss", 0.5, 1)])
    relay.tick({0: vm.upload()})
    run = run_of(relay, store)
    assert history(run, store, "loss") == [(0, 1.0), (1, 0.5)]
    assert run.info.status == "RUNNING"
    assert run.info.start_time == STARTED_MS


def test_every_run_of_a_sweep_stands_under_one_parent_and_says_where_it_ran(
    scribe: Callable[..., Scribe], relay: Relay, store: str
) -> None:
    first, second = scribe(0), scribe(1)
    first.run()
    second.run()
    relay.tick({0: first.upload(), 1: second.upload()})
    relay.finish(
        first.status(JobState.COMPLETED), STARTED + 60, {"cost_usd": "0.03", "machine": "n1-standard-4"}
    )
    relay.finish(second.status(JobState.FAILED), STARTED + 70, {})
    relay.close(JobState.COMPLETED, STARTED + 80, {"cost_usd": "0.05"})

    (parent,) = [run for run in all_runs(store) if run.info.run_name == SWEEP]
    points = [run_of(relay, store, 0), run_of(relay, store, 1)]
    assert [run.data.tags["mlflow.parentRunId"] for run in points] == [parent.info.run_id] * 2
    assert [run.info.run_name for run in points] == ["lr=1e-3", "lr=1e-4"]
    assert [run.info.status for run in points] == ["FINISHED", "FAILED"]
    assert points[1].info.end_time == (STARTED + 70) * 1000
    tags = points[0].data.tags
    assert tags["hydra_gce.zone"] == "us-central1-a"
    assert tags["hydra_gce.instance"] == "hg-calm-otter-1"
    assert tags["hydra_gce.machine"] == "n1-standard-4"
    assert tags["hydra_gce.overrides"] == "lr=1e-3"
    assert tags["hydra_gce.job"] == "0"
    assert tags["mlflow.source.git.commit"] == "0f" * 20
    assert tags["hydra_gce.git_dirty"] == "true"
    assert parent.data.tags["hydra_gce.cost_usd"] == "0.05"
    assert parent.info.status == "FINISHED"
    assert parent.info.start_time == STARTED_MS


def test_a_cancelled_job_ends_its_runs_as_killed_but_keeps_the_end_of_those_that_its_program_ended(
    scribe: Callable[..., Scribe], relay: Relay, store: str
) -> None:
    vm = scribe()
    point = vm.run()
    done, left = vm.run("fold-0", parent=point), vm.run("fold-1", parent=point)
    vm.end(done)
    vm.log(left, [("loss", 1.0, 0)])
    relay.tick({0: vm.upload()})
    relay.finish(vm.status(JobState.CANCELLED), STARTED + 60, {})
    by_name = {run.info.run_name: run for run in all_runs(store)}
    assert by_name["lr=1e-3"].info.status == "KILLED"
    assert by_name["fold-0"].info.status == "FINISHED"
    assert by_name["fold-1"].info.status == "KILLED"
    nested = by_name["fold-1"].data.tags["mlflow.parentRunId"]
    assert nested == by_name["lr=1e-3"].info.run_id


def test_a_relay_killed_at_any_call_is_followed_by_one_that_neither_doubles_nor_misses(
    scribe: Callable[..., Scribe], bucket: Bucket, store: str
) -> None:
    vm = scribe()
    point = vm.run()
    nested = vm.run("fold", parent=point)
    for step in range(1200):
        vm.log(point if step % 3 else nested, [("loss", float(step), step)])
    vm.log(point, params={f"p{i}": str(i) for i in range(250)}, tags={"t": "1"})
    vm.write("model_history", run=point, model={"artifact_path": "model", "run_id": point})
    vm.end(nested)
    vm.end(point)
    vm.put_artifact(point, "a/b.txt", b"hello")
    vm.upload()
    final = vm.status(JobState.COMPLETED)

    kills = 0
    with dying(before=11, after=7) as count_from:
        for life in range(60):
            count_from(life)  # dies somewhere else in each life
            relay = relay_for(bucket, store)
            try:
                relay.finish(final, STARTED + 60, {"cost_usd": "1"})
            except Killed:
                kills += 1
            else:
                break
    relay = relay_for(bucket, store)
    relay.finish(final, STARTED + 60, {"cost_usd": "1"})
    relay.tick({0: final})

    assert kills > 5
    assert relay.refused == []
    assert sorted(run.info.run_name for run in all_runs(store)) == [SWEEP, "fold", "lr=1e-3", "lr=1e-4"]
    run = run_of(relay, store)
    (fold,) = [run for run in all_runs(store) if run.info.run_name == "fold"]
    assert history(run, store, "loss") == [(step, float(step)) for step in range(1200) if step % 3]
    assert history(fold, store, "loss") == [(step, float(step)) for step in range(1200) if step % 3 == 0]
    assert len(run.data.params) == 250
    assert len(json.loads(run.data.tags["mlflow.log-model.history"])) == 1
    assert [info.path for info in MlflowClient(store).list_artifacts(run.info.run_id, "a")] == ["a/b.txt"]
    assert run.info.status == "FINISHED" and run.info.end_time == STARTED_MS + 9000


def test_repeated_ticks_and_finishes_change_nothing(
    scribe: Callable[..., Scribe], relay: Relay, store: str
) -> None:
    vm = scribe()
    run_id = vm.run()
    vm.log(run_id, [("loss", 1.0, 0)])
    status = vm.upload()
    for _ in range(3):
        relay.tick({0: status})
    for _ in range(2):
        relay.finish(vm.status(JobState.COMPLETED), STARTED + 60, {})
        relay.close(JobState.COMPLETED, STARTED + 61, {})
    assert history(run_of(relay, store), store, "loss") == [(0, 1.0)]
    assert len(all_runs(store)) == 3  # one waits
    assert run_of(relay, store).info.end_time == (STARTED + 60) * 1000


def test_a_later_attempt_goes_on_in_the_same_run(
    scribe: Callable[..., Scribe], relay: Relay, store: str
) -> None:
    lost, resumed = scribe(attempt=1), scribe(attempt=2)
    run_id = lost.run(user_tags={"by": "first"})
    lost.log(run_id, [("loss", 1.0, 0)], {"lr": "0.001"})
    relay.tick({0: lost.upload()})
    lost.log(run_id, [("loss", 0.9, 1)])
    lost.end(run_id, "FAILED")
    lost.upload()  # its last part; the laptop has seen no status that counts it

    assert resumed.run(user_tags={"by": "second"}) == run_id
    resumed.log(run_id, [("loss", 0.8, 2)], {"lr": "0.001"})
    relay.tick({0: resumed.upload()})

    run = run_of(relay, store)
    assert history(run, store, "loss") == [(0, 1.0), (1, 0.9), (2, 0.8)]
    assert run.info.status == "RUNNING"
    assert run.data.tags["by"] == "second"
    assert run.data.tags["hydra_gce.attempt"] == "2"
    assert len(all_runs(store)) == 3  # one waits
    relay.finish(resumed.status(JobState.COMPLETED), STARTED + 60, {})
    assert run_of(relay, store).info.status == "FINISHED"


def test_what_mlflow_refuses_is_told_and_kept_beside_the_run_and_the_rest_goes_on(
    scribe: Callable[..., Scribe], relay: Relay, bucket: Bucket, store: str
) -> None:
    vm = scribe()
    run_id = vm.run()
    vm.log(run_id, [("loss", 1.0, 0)], {"lr": "0.001", "depth": "4"})
    relay.tick({0: vm.upload()})
    vm.log(run_id, [("loss", 0.5, 1), ("no\nname", 1.0, 1), ("loss", 0.4, 2)], {"lr": "0.1", "width": "8"})
    vm.log(run_id, [("loss", 0.3, 3)])
    relay.tick({0: vm.upload()})

    run = run_of(relay, store)
    assert history(run, store, "loss") == [(0, 1.0), (1, 0.5), (2, 0.4), (3, 0.3)]
    assert run.data.params == {"lr": "0.001", "depth": "4", "width": "8"}
    assert [refusal.what for refusal in relay.refused] == ["param lr=0.1", "metric no\nname=1.0 at step 1"]
    kept = Path(MlflowClient(store).download_artifacts(run.info.run_id, "hydra_gce/refused.jsonl"))
    assert [json.loads(line)["what"] for line in kept.read_text().splitlines()] == [
        "param lr=0.1",
        "metric no\nname=1.0 at step 1",
    ]
    after = relay_for(bucket, store)
    after.tick({0: vm.status(JobState.RUNNING)})
    assert after.refused == relay.refused


def test_an_experiment_whose_artifacts_lie_behind_a_server_gets_the_records_all_the_same(
    scribe: Callable[..., Scribe], relay: Relay, store: str
) -> None:
    """As `mlflow server` makes them in a database that is then written to without it."""
    MlflowClient(store).create_experiment("membrane", artifact_location="mlflow-artifacts:/1")
    vm = scribe()
    run_id = vm.run()
    vm.log(run_id, [("loss", 1.0, 0)])
    vm.put_artifact(run_id, "predictions.png", b"a picture")
    relay.tick({0: vm.upload()})
    relay.finish(vm.status(JobState.COMPLETED), STARTED + 60, {})

    run = run_of(relay, store)
    assert history(run, store, "loss") == [(0, 1.0)]
    assert run.info.status == "FINISHED"
    assert "predictions.png" in run.data.tags["hydra_gce.refused"]


def test_a_damaged_line_is_told_with_its_place_and_costs_only_itself(
    scribe: Callable[..., Scribe], relay: Relay, bucket: Bucket, store: str
) -> None:
    vm = scribe()
    run_id = vm.run()
    vm.log(run_id, [("loss", 1.0, 0)])
    vm.log(run_id, [("loss", 0.5, 1)])
    status = vm.upload()
    name = SweepNames(SWEEP).journal(0, 1, 0)
    bucket.write(name, bucket.read(name).replace(b'["loss",1.0', b'["loss",9.0'))
    relay.tick({0: status})
    assert history(run_of(relay, store), store, "loss") == [(1, 0.5)]
    (refusal,) = relay.refused
    assert "attempt 1, part 0, line 2" in refusal.why and "checksum" in refusal.why


def test_records_that_are_missing_between_two_parts_are_told(
    scribe: Callable[..., Scribe], relay: Relay, bucket: Bucket, store: str
) -> None:
    vm = scribe()
    run_id = vm.run()
    vm.upload()
    vm.log(run_id, [("loss", 1.0, 0)])
    vm.upload()
    vm.log(run_id, [("loss", 0.5, 1)])
    status = vm.upload()
    names = SweepNames(SWEEP)
    bucket.write(names.journal(0, 1, 1), b"")
    relay.tick({0: status})
    assert history(run_of(relay, store), store, "loss") == [(1, 0.5)]
    assert [refusal.what for refusal in relay.refused] == ["records 2 to 2 of attempt 1"]


def test_a_store_that_is_down_costs_nothing_but_delay(
    scribe: Callable[..., Scribe], relay: Relay, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    vm = scribe()
    run_id = vm.run()
    vm.log(run_id, [("loss", 1.0, 0)])
    relay.tick({0: vm.upload()})
    vm.log(run_id, [("loss", 0.5, 1)])

    def down(*args: object, **kwargs: object) -> None:
        raise ConnectionError("connection refused")

    with monkeypatch.context() as outage:
        outage.setattr(MlflowClient, "log_batch", down)
        relay.tick({0: vm.upload()})
        relay.finish(vm.status(JobState.COMPLETED), STARTED + 60, {})
        assert "connection refused" in relay.trouble and "safe in the bucket" in relay.trouble

    wait_until(lambda: is_well(relay), "the store is asked again")
    run = run_of(relay, store)
    assert history(run, store, "loss") == [(0, 1.0), (1, 0.5)]
    assert run.info.status == "FINISHED"


def test_a_server_that_restarts_in_the_midst_of_a_call_has_refused_nothing(
    scribe: Callable[..., Scribe], relay: Relay, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It answers again when it is asked whether it is well, and MLflow's client tells a connection that failed like a
    record that a server stumbles over.
    """
    vm = scribe()
    run_id = vm.run()
    vm.log(run_id, tags={"gone": "x", "stays": "y"})
    relay.tick({0: vm.upload()})
    vm.write("delete_tag", run=run_id, key="gone")
    delete_tag, failed = MlflowClient.delete_tag, list[bool]()

    def fails_once(*args: Any) -> None:
        if not failed:
            failed.append(True)
            raise MlflowException("API request failed with exception: connection refused")
        delete_tag(*args)

    monkeypatch.setattr(MlflowClient, "delete_tag", fails_once)
    relay.tick({0: vm.upload()})
    assert failed and relay.trouble == "" and relay.refused == []
    tags = run_of(relay, store).data.tags
    assert "gone" not in tags and tags["stays"] == "y"


def test_a_new_database_that_another_process_makes_at_the_same_moment_costs_nothing_but_delay(
    scribe: Callable[..., Scribe], relay: Relay, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    vm = scribe()
    vm.log(vm.run(), [("loss", 1.0, 0)])
    status = vm.upload()

    def too_late(*args: object, **kwargs: object) -> None:
        raise OperationalError("CREATE TABLE metrics", {}, Exception("table metrics already exists"))

    with monkeypatch.context() as race:
        race.setattr("mlflow.MlflowClient", too_late)
        relay.tick({0: status})
    assert "already exists" in relay.trouble and "safe in the bucket" in relay.trouble
    wait_until(lambda: is_well(relay), "the store is opened again")
    relay.tick({0: status})
    assert history(run_of(relay, store), store, "loss") == [(0, 1.0)]


def test_ids_that_a_program_put_into_tags_and_params_are_those_of_the_store(
    scribe: Callable[..., Scribe], relay: Relay, store: str
) -> None:
    vm = scribe()
    run_id = vm.run()
    vm.log(run_id, params={"source": f"runs:/{run_id}/model"}, tags={"me": run_id})
    relay.tick({0: vm.upload()})
    run = run_of(relay, store)
    assert run.data.tags["me"] == run.info.run_id
    assert run.data.params["source"] == f"runs:/{run.info.run_id}/model"


def test_the_hint_opens_the_page_that_compares_the_runs(
    scribe: Callable[..., Scribe], relay: Relay, store: str
) -> None:
    assert relay.hint() is None
    first, second = scribe(0), scribe(1)
    first.run()
    second.run()
    relay.tick({0: first.upload(), 1: second.upload()})
    assert relay.hint() == f"hydra-gce ui {SWEEP}"
    url = relay.url()
    assert url and url.startswith("http://127.0.0.1:5000/#/compare-runs?runs=")
    assert f"%5B%22{relay.run_id(0)}%22,%22{relay.run_id(1)}%22%5D&experiments=" in url


def test_a_job_that_is_lost_before_its_status_says_so_is_read_to_its_end(
    scribe: Callable[..., Scribe], relay: Relay, store: str
) -> None:
    vm = scribe()
    run_id = vm.run()
    stale = vm.upload()
    vm.log(run_id, [("loss", 1.0, 0)])
    vm.upload()
    lost = JobStatus(0, JobState.FAILED, attempt=1, journal_parts=stale.journal_parts)
    relay.finish(lost, STARTED + 60, {})
    assert history(run_of(relay, store), store, "loss") == [(0, 1.0)]


def test_behind_a_server_jobs_are_played_side_by_side(
    scribe: Callable[..., Scribe], bucket: Bucket, server: str
) -> None:
    sweep = f"{SWEEP}-side-by-side"
    relay = relay_for(bucket, server, experiment="membrane", sweep=sweep, jobs=6)
    vms = [Scribe(bucket, Path(scribe()._machine.directory).parent, num, sweep=sweep) for num in range(6)]
    for vm in vms:
        run_id = vm.run()
        nested = vm.run("fold", parent=run_id)
        for step in range(30):
            vm.log(run_id, [("loss", step / 2, step)], {f"p{step}": "1"})
            vm.log(nested, [("loss", step / 4, step)])
    relay.tick({num: vm.upload() for num, vm in enumerate(vms)})
    assert relay.trouble == ""
    for num, vm in enumerate(vms):
        relay.finish(vm.status(JobState.COMPLETED), STARTED + 60, {})
        assert relay.trouble == ""
        run = run_of(relay, server, num)
        assert history(run, server, "loss") == [(step, step / 2) for step in range(30)]
        assert len(run.data.params) == 30 and run.info.status == "FINISHED"
    client = MlflowClient(server)
    found = client.search_runs([run.info.experiment_id], f"tags.`hydra_gce.sweep` = '{sweep}'")
    assert sorted(run.info.run_name for run in found) == sorted(
        [sweep, *6 * ["fold"], *(f"x={n}" for n in range(6))]
    )
