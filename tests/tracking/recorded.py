"""What a store has of a run, less ids and places (`exactly`), and less what is the clock's, too (`content`)."""

# mypy: ignore-errors

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

from mlflow import MlflowClient

_OF_THE_PLACE = (
    "mlflow.log-model.history",
    "mlflow.parentRunId",
    "mlflow.source.git.commit",
    "mlflow.source.name",
    "mlflow.source.type",
    "mlflow.user",
    "mlflow.runName",
)
_EVENTS = re.compile(r"events\.out\.tfevents\..*")  # TensorBoard's files have the clock in their names
_ID = re.compile(r"m-[0-9a-f]{32}|[0-9a-f]{32}")


def runs_below(client: MlflowClient, experiment: str, ours: bool) -> list[dict[str, Any]]:
    """All runs of an experiment that a program made itself, by their content; ``ours``: a relay brought them."""
    found = client.get_experiment_by_name(experiment)
    runs = client.search_runs([found.experiment_id])
    if ours:
        tags = {run.info.run_id: run.data.tags for run in runs}
        runs = [run for run in runs if tags[run.info.run_id].get("hydra_gce.role") != "sweep"]
        # Of a point whose program made none that can be known as its own.
        runs = [
            run for run in runs if not tags[run.info.run_id].get("hydra_gce.run", "").startswith("waiting/")
        ]
    children = {run.info.run_id: [] for run in runs}
    for run in runs:
        parent = run.data.tags.get("mlflow.parentRunId")
        if parent in children:
            children[parent].append(run)
    roots = [run for run in runs if run.data.tags.get("mlflow.parentRunId") not in children]

    def tree(run: Any) -> dict[str, Any]:
        below = sorted((tree(child) for child in children[run.info.run_id]), key=repr)
        return {**content(client, run), "nested": below}

    return sorted((tree(run) for run in roots), key=repr)


def differences(wanted: list[dict[str, Any]], found: list[dict[str, Any]], where: str = "") -> list[str]:
    """One line for each field that is not the same."""
    if len(wanted) != len(found):
        return [f"{where}: {len(found)} runs instead of {len(wanted)}"]
    lines = []
    for number, (one, other) in enumerate(zip(wanted, found, strict=True)):
        place = f"{where}/{number}"
        lines += differences(one["nested"], other["nested"], place)
        for name in one.keys() - {"nested"}:
            if one[name] != other[name]:
                lines.append(f"{place} {name}: {other[name]} instead of {one[name]}")
    return lines


def content(client: MlflowClient, run: Any) -> dict[str, Any]:
    """One run's: histories by step and value, artifacts by name."""
    tags = {
        key: _ID.sub("<id>", value)
        for key, value in run.data.tags.items()
        if key not in _OF_THE_PLACE and not key.startswith("hydra_gce.")
    }
    return {
        "status": run.info.status,
        "params": run.data.params,
        "tags": tags,
        "metrics": {
            key: sorted((m.step, repr(m.value)) for m in client.get_metric_history(run.info.run_id, key))
            for key in run.data.metrics
            if not key.startswith("hydra_gce/") and "_time" not in key  # of a search: how long it took
        },
        "artifacts": sorted(_EVENTS.sub("events", name) for name in _names(client, run.info.run_id)),
        "models": sorted(
            client.get_logged_model(output.model_id).name
            for output in getattr(run.outputs, "model_outputs", [])
        ),
    }


def _names(client: MlflowClient, run_id: str, folder: str | None = None) -> list[str]:
    found: list[str] = []
    for info in client.list_artifacts(run_id, folder):
        found += _names(client, run_id, info.path) if info.is_dir else [info.path]
    return found


def exactly(client: MlflowClient, root_id: str) -> dict[str, Any]:
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
        "tags": _own_tags(run.data.tags, root_id),
        "metrics": {
            key: _history(client, root_id, key)
            for key in run.data.metrics
            if not key.startswith("hydra_gce/")
        },
        "inputs": [_input(item) for item in run.inputs.dataset_inputs] if run.inputs else [],
        "artifacts": _hashes(client, root_id),
        "models": [_model(client, output.model_id) for output in run.outputs.model_outputs]
        if run.outputs
        else [],
        "nested": [exactly(client, child.info.run_id) for child in nested],
        "name": run.info.run_name if nested == [] else None,
    }


def _own_tags(tags: dict[str, str], run_id: str) -> dict[str, str]:
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


def _hashes(client: MlflowClient, run_id: str, folder: str | None = None) -> dict[str, str]:
    found: dict[str, str] = {}
    for info in client.list_artifacts(run_id, folder):
        if info.is_dir:
            found |= _hashes(client, run_id, info.path)
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
