"""Models in a store that has none, as MLflow 2's: files of the runs that logged them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from mlflow import MlflowClient
from mlflow.entities import Run

from hydra_gce.bucket import Bucket
from hydra_gce.jobs import JobState
from hydra_gce.tracking import versions
from tests.tracking.lab import STARTED, Scribe, relay_for

FIRST, SECOND = (f"m-{digit * 32}" for digit in "ab")


@pytest.fixture(autouse=True)
def without_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "has_models", lambda _client: False)


def log_model(vm: Scribe, model: str, run_id: str | None, content: bytes, name: str = "model") -> None:
    """A program's ``log_model``, as far as the journal and the artifacts know of it."""
    made = {"model": model, "experiment": "membrane", "name": name, "run": run_id, "tags": [["a", "b"]]}
    vm.write("model", **made, params=[["lr", "1"]], type=None)
    if run_id:
        vm.write("outputs", run=run_id, models=[[model, 0]])
    description = {
        "artifact_path": f"/vm/artifacts/models/{model}",
        "flavors": {"python_function": {"loader_module": "m", "config": {}}},
        "model_id": model,
        "model_uuid": model,
        "run_id": run_id,
        "utc_time_created": "2026-01-01 00:00:00",
    }
    vm.put_artifact("models", f"{model}/MLmodel", yaml.safe_dump(description).encode())
    vm.put_artifact("models", f"{model}/data/weights", content)
    vm.write("model_status", model=model, status="READY")


def play(vm: Scribe, bucket: Bucket, store: str) -> None:
    relay = relay_for(bucket, store)
    relay.tick({0: vm.upload()})
    assert relay.trouble == "" and relay.refused == []


def only_run(store: str) -> Run:
    client = MlflowClient(store)
    experiment = client.get_experiment_by_name("membrane")
    assert experiment is not None
    found = client.search_runs([experiment.experiment_id], "tags.`hydra_gce.role` = 'point'")
    (run,) = [run for run in found if not run.data.tags["hydra_gce.run"].startswith("waiting/")]
    return run


def file(run: Run, path: str) -> Path:
    return Path(str(run.info.artifact_uri).removeprefix("file://"), path)


def history(run: Run) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(run.data.tags["mlflow.log-model.history"])
    return found


def test_the_name_of_a_model_is_the_folder_of_its_files(
    scribe: Callable[..., Scribe], bucket: Bucket, store: str
) -> None:
    vm = scribe()
    run_id = vm.run()
    log_model(vm, FIRST, run_id, b"1")
    vm.log(run_id, tags={"best": f"models:/{FIRST}"})
    play(vm, bucket, store)
    run = only_run(store)
    assert file(run, "model/data/weights").read_bytes() == b"1"
    assert yaml.safe_load(file(run, "model/MLmodel").read_text()) == {
        "artifact_path": "model",
        "flavors": {"python_function": {"loader_module": "m", "config": {}}},
        "model_uuid": FIRST,
        "run_id": run.info.run_id,
        "utc_time_created": "2026-01-01 00:00:00",
    }
    assert run.data.tags["best"] == f"runs:/{run.info.run_id}/model"
    assert history(run) == [
        {
            "artifact_path": "model",
            "flavors": {"python_function": {"loader_module": "m"}},
            "model_uuid": FIRST,
            "run_id": run.info.run_id,
            "utc_time_created": "2026-01-01 00:00:00",
        }
    ]


def test_of_two_models_with_one_name_the_later_one_has_the_folder_also_for_a_relay_that_begins_anew(
    scribe: Callable[..., Scribe], bucket: Bucket, store: str
) -> None:
    vm = scribe()
    run_id = vm.run()
    log_model(vm, SECOND, run_id, b"earlier")
    play(vm, bucket, store)
    assert file(only_run(store), "model/data/weights").read_bytes() == b"earlier"
    log_model(vm, FIRST, run_id, b"later")
    vm.put_artifact("models", f"{SECOND}/data/weights", b"of the earlier one, and late")
    play(vm, bucket, store)
    run = only_run(store)
    assert file(run, "model/data/weights").read_bytes() == b"later"
    assert [entry["model_uuid"] for entry in history(run)] == [SECOND, FIRST]


def test_a_model_of_no_run_gets_one_that_ends_with_its_job(
    scribe: Callable[..., Scribe], bucket: Bucket, store: str
) -> None:
    vm = scribe()
    log_model(vm, FIRST, None, b"1", name="alone")
    play(vm, bucket, store)
    assert file(only_run(store), "alone/data/weights").read_bytes() == b"1"
    relay = relay_for(bucket, store)
    relay.finish(vm.status(JobState.COMPLETED), STARTED + 60, {})
    assert relay.trouble == "" and relay.refused == []
    assert only_run(store).info.status == "FINISHED"


def test_what_cannot_be_done_there_is_told(scribe: Callable[..., Scribe], bucket: Bucket, store: str) -> None:
    vm = scribe()
    log_model(vm, FIRST, vm.run(), b"1")
    vm.write("delete_model", model=FIRST)
    relay = relay_for(bucket, store)
    relay.tick({0: vm.upload()})
    (refusal,) = relay.refused
    assert "stay among those of its run" in refusal.why
    assert file(only_run(store), "model/data/weights").read_bytes() == b"1"


def test_a_model_that_is_deleted_with_its_files_is_gone_and_comes_no_more(
    scribe: Callable[..., Scribe], bucket: Bucket, store: str
) -> None:
    vm = scribe()
    run_id = vm.run()
    log_model(vm, FIRST, run_id, b"1", name="first")
    log_model(vm, SECOND, run_id, b"2", name="second")
    play(vm, bucket, store)
    assert file(only_run(store), "first/MLmodel").exists()
    vm.remove_artifact("models", f"{FIRST}/MLmodel")
    vm.write("delete_model", model=FIRST, run=run_id, files=False)
    vm.put_artifact("models", f"{FIRST}/data/weights", b"late")
    play(vm, bucket, store)
    assert not file(only_run(store), "first").exists()
    assert file(only_run(store), "second/data/weights").read_bytes() == b"2"


def test_of_two_models_with_one_name_the_later_one_stays_when_the_earlier_one_is_deleted(
    scribe: Callable[..., Scribe], bucket: Bucket, store: str
) -> None:
    vm = scribe()
    run_id = vm.run()
    log_model(vm, FIRST, run_id, b"earlier")
    log_model(vm, SECOND, run_id, b"later")
    vm.write("delete_model", model=FIRST, run=run_id, files=False)
    play(vm, bucket, store)
    assert file(only_run(store), "model/data/weights").read_bytes() == b"later"


def test_the_history_of_a_run_with_many_models_stays_whole_and_keeps_the_newest(
    scribe: Callable[..., Scribe], bucket: Bucket, store: str
) -> None:
    vm = scribe()
    run_id = vm.run()
    for number in range(40):
        entry = {"run_id": run_id, "artifact_path": f"model-{number}", "flavors": {"f": {"x": "y" * 200}}}
        vm.write("model_history", run=run_id, model=entry)
    play(vm, bucket, store)
    kept = [entry["artifact_path"] for entry in history(only_run(store))]
    assert 10 < len(kept) < 40
    assert kept == [f"model-{number}" for number in range(40)][-len(kept) :]
