"""All that a program said in a run, to be compared with what it says elsewhere."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import mlflow
from mlflow import MlflowClient


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


def model_directory(client: MlflowClient, model_id: str) -> Path:
    """A model's files: where they lie, if that is this machine, or a copy of what the server has."""
    location = client.get_logged_model(model_id).artifact_location
    return Path(mlflow.artifacts.download_artifacts(artifact_uri=location, tracking_uri=client.tracking_uri))


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
    directory = model_directory(client, model_id)
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
