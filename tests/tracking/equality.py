"""All that a program said in a run, to be compared with what it says elsewhere; it travels as JSON."""

from __future__ import annotations

import hashlib
from pathlib import Path, PurePosixPath
from typing import Any

import mlflow
from mlflow import MlflowClient

_OWN = ("MLmodel", "python_model.pkl")
"""They carry times and ids of their own: that they are there, and load, is what counts."""


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
        "models": [
            _model(client, output.model_id)
            for output in getattr(getattr(run, "outputs", None), "model_outputs", [])  # since MLflow 3
        ],
        "nested": [records(client, child.info.run_id) for child in nested],
        "name": run.info.run_name if nested == [] else None,
    }


def with_models_as_files(record: dict[str, Any]) -> dict[str, Any]:
    """The same where models are files of their run: the names of theirs, and the rest of the run as it was."""
    files = {
        f"{model['name']}/{name}": digest
        for model in record["models"]
        for name, digest in model["files"].items()
    }
    files |= record["artifacts"]
    folders = {str(PurePosixPath(name).parent) for name in files if PurePosixPath(name).name == "MLmodel"}
    return {
        **record,
        "artifacts": {name: "" if _top(name) in folders else digest for name, digest in files.items()},
        "models": [],
        "nested": [with_models_as_files(child) for child in record["nested"]],
    }


def model_directory(client: MlflowClient, model_id: str) -> Path:
    """A model's files: where they lie, if that is this machine, or a copy of what the server has."""
    location = client.get_logged_model(model_id).artifact_location
    return Path(mlflow.artifacts.download_artifacts(artifact_uri=location, tracking_uri=client.tracking_uri))


def _top(path: str) -> str:
    return path.partition("/")[0]


def _tags(tags: dict[str, str], run_id: str) -> dict[str, str]:
    ours = ("hydra_gce.", "mlflow.")
    kept = {key: value for key, value in tags.items() if not key.startswith(ours)}
    kept["description"] = tags.get("mlflow.note.content", "")
    return {key: value.replace(run_id, "<run>") for key, value in kept.items()}


def _input(item: Any) -> list[Any]:
    dataset = item.dataset
    return [dataset.name, dataset.digest, dataset.source, [[tag.key, tag.value] for tag in item.tags]]


def _history(client: MlflowClient, run_id: str, key: str) -> list[list[Any]]:
    history = client.get_metric_history(run_id, key)
    return sorted([metric.step, repr(metric.value), metric.timestamp] for metric in history)


def _files(client: MlflowClient, run_id: str, folder: str | None = None) -> dict[str, str]:
    found: dict[str, str] = {}
    for info in client.list_artifacts(run_id, folder):
        if info.is_dir:
            found |= _files(client, run_id, info.path)
        else:
            found[info.path] = _digest(Path(client.download_artifacts(run_id, info.path)))
    return found


def _model(client: MlflowClient, model_id: str) -> dict[str, Any]:
    model = client.get_logged_model(model_id)
    directory = model_directory(client, model_id)
    return {
        "name": model.name,
        "status": str(model.status),
        "files": {
            path.relative_to(directory).as_posix(): _digest(path)
            for path in sorted(directory.rglob("*"))
            if path.is_file()
        },
    }


def _digest(path: Path) -> str:
    return "" if path.name in _OWN else hashlib.sha256(path.read_bytes()).hexdigest()
