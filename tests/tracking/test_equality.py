"""A program's records through the journal and the relay are those that it leaves in MLflow itself."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

import mlflow
import pytest
from mlflow import MlflowClient

from hydra_gce.bucket import Bucket
from hydra_gce.jobs import JobState
from tests.tracking.lab import relay_for, run_on_vm, run_program

PROGRAM = Path(__file__).with_name("program.py")


def records(client: MlflowClient, root_id: str) -> dict[str, Any]:
    """All that a program said in a run, its nested runs and their models; ids and what MLflow adds aside."""
    run = client.get_run(root_id)
    nested = client.search_runs(
        [run.info.experiment_id], f"tags.`mlflow.parentRunId` = '{root_id}'", order_by=["start_time ASC"]
    )
    return {
        "experiment": client.get_experiment(run.info.experiment_id).name,
        "experiment tags": client.get_experiment(run.info.experiment_id).tags,
        "status": run.info.status,
        "params": run.data.params,
        "tags": _tags(run.data.tags, root_id),
        "metrics": {
            key: _history(client, root_id, key)
            for key in run.data.metrics
            if not key.startswith("hydra_gce/")
        },
        "inputs": [_input(item) for item in run.inputs.dataset_inputs] if run.inputs else [],
        "artifacts": _files(client, root_id),
        "models": [_model(client, output.model_id) for output in run.outputs.model_outputs]
        if run.outputs
        else [],
        "nested": [records(client, child.info.run_id) for child in nested],
        "name": run.info.run_name if nested == [] else None,
    }


def _tags(tags: dict[str, str], run_id: str) -> dict[str, str]:
    ours = ("hydra_gce.", "mlflow.")
    kept = {key: value for key, value in tags.items() if not key.startswith(ours)}
    kept["description"] = tags.get("mlflow.note.content", "")
    return {key: value.replace(run_id, "<run>") for key, value in kept.items()}


def _input(item: Any) -> tuple[str, str, str, list[tuple[str, str]]]:
    dataset = item.dataset
    return dataset.name, dataset.digest, dataset.source, [(tag.key, tag.value) for tag in item.tags]


def _history(client: MlflowClient, run_id: str, key: str) -> list[tuple[int, str, int]]:
    history = client.get_metric_history(run_id, key)
    return sorted((metric.step, repr(metric.value), metric.timestamp) for metric in history)


def _files(client: MlflowClient, run_id: str, folder: str | None = None) -> dict[str, str]:
    found: dict[str, str] = {}
    for info in client.list_artifacts(run_id, folder):
        if info.is_dir:
            found |= _files(client, run_id, info.path)
        else:
            found[info.path] = _hash(Path(client.download_artifacts(run_id, info.path)))
    return found


def _model(client: MlflowClient, model_id: str) -> dict[str, Any]:
    model = client.get_logged_model(model_id)
    directory = Path(model.artifact_location.removeprefix("file://"))
    # What carries times and ids of its own is there, and loads; the rest is the same to the byte.
    own = ("MLmodel", "python_model.pkl")
    return {
        "name": model.name,
        "status": str(model.status),
        "files": {
            path.relative_to(directory).as_posix(): "" if path.name in own else _hash(path)
            for path in sorted(directory.rglob("*"))
            if path.is_file()
        },
    }


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def plain(empty_store: Path, tmp_path: Path) -> dict[str, Any]:
    """The records that the program leaves in MLflow without us."""
    directory = tmp_path / "plain"
    directory.mkdir()
    shutil.copy(empty_store, directory / "mlflow.db")
    uri = f"sqlite:///{directory / 'mlflow.db'}"
    run_program(PROGRAM, {"MLFLOW_TRACKING_URI": uri, "MLFLOW_EXPERIMENT_NAME": "membrane"}, directory)
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("membrane")
    assert experiment
    runs = client.search_runs([experiment.experiment_id])
    (root,) = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    return records(client, root.info.run_id)


def test_a_program_leaves_the_same_records_through_the_bucket_as_in_mlflow_itself(
    plain: dict[str, Any], bucket: Bucket, store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vm = run_on_vm(PROGRAM, bucket, tmp_path / "vm", num=0, attempt=1)
    relay = relay_for(bucket, store)
    relay.tick({0: vm.upload()})
    relay.finish(vm.status(JobState.COMPLETED), ended=1_760_000_100, tags={"cost_usd": "0.031"})
    relay.close(JobState.COMPLETED, 1_760_000_200, {"cost_usd": "0.031"})

    assert relay.trouble == ""
    assert relay.refused == []
    client = MlflowClient(store)
    run_id = relay.run_id(0)
    assert run_id
    assert records(client, run_id) == plain
    (output,) = getattr(client.get_run(run_id).outputs, "model_outputs", [])
    model = Path(client.get_logged_model(output.model_id).artifact_location.removeprefix("file://"))
    description = (model / "MLmodel").read_text()
    assert f"run_id: {run_id}" in description and f"model_id: {output.model_id}" in description
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    assert mlflow.pyfunc.load_model(f"models:/{output.model_id}").predict([0.2, 0.9]) == [0.0, 1.0]
