"""What a store has of a run, without what must differ: ids, places, and, where they are the clock's, times."""

# mypy: ignore-errors

from __future__ import annotations

import re
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
            # The machine's, and of a search: how long it took.
            if not key.startswith(("hydra_gce/", "system/")) and "_time" not in key
        },
        "artifacts": sorted(_EVENTS.sub("events", name) for name in _names(client, run.info.run_id)),
        "models": sorted(
            client.get_logged_model(output.model_id).name
            for output in getattr(getattr(run, "outputs", None), "model_outputs", [])  # since MLflow 3
        ),
    }


def _names(client: MlflowClient, run_id: str, folder: str | None = None) -> list[str]:
    found: list[str] = []
    for info in client.list_artifacts(run_id, folder):
        found += _names(client, run_id, info.path) if info.is_dir else [info.path]
    return found
