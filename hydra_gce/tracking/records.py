"""MLflow's entities as the JSON that a journal holds, and back."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

from mlflow.entities import Dataset, DatasetInput, InputTag, Metric

from hydra_gce.tracking import versions

Translate = Callable[[str], str]


def batch_to_json(
    run_id: str, metrics: Iterable[Any], params: Iterable[Any], tags: Iterable[Any]
) -> dict[str, Any]:
    """What one call of ``log_batch`` brings."""
    return {
        "run": run_id,
        "metrics": [metric_to_json(metric) for metric in metrics],
        "params": [[param.key, str(param.value)] for param in params],
        "tags": [[tag.key, str(tag.value)] for tag in tags],
    }


def metric_to_json(metric: Any) -> list[Any]:
    """``[key, value, timestamp in ms, step]``, then model id, data set and its digest where there are any.

    JSON has no NaN and no infinity: those are strings.
    """
    value = float(metric.value)
    row = [metric.key, value if math.isfinite(value) else str(value), int(metric.timestamp), int(metric.step)]
    # Versions before 3 have metrics without these.
    more = [getattr(metric, name, None) for name in ("model_id", "dataset_name", "dataset_digest")]
    return row + more if any(more) else row


def metric_from_json(row: list[Any], translate: Translate) -> Metric:
    key, value, timestamp, step, *more = row
    if not more:
        return Metric(key, float(value), timestamp, step)
    model, dataset_name, dataset_digest = more
    return versions.metric(
        key,
        float(value),
        timestamp,
        step,
        model_id=translate(model) if model else None,
        dataset_name=dataset_name,
        dataset_digest=dataset_digest,
    )


def pairs_to_json(items: Iterable[Any] | None) -> list[list[str]]:
    """Tags or params as ``[key, value]``."""
    return [[item.key, str(item.value)] for item in items or []]


def dataset_to_json(item: Any) -> dict[str, Any]:
    dataset = item.dataset
    return {
        "name": dataset.name,
        "digest": dataset.digest,
        "source_type": dataset.source_type,
        "source": dataset.source,
        "schema": dataset.schema,
        "profile": dataset.profile,
        "tags": pairs_to_json(item.tags),
    }


def dataset_from_json(fields: dict[str, Any]) -> DatasetInput:
    fields = dict(fields)
    tags = [InputTag(key, value) for key, value in fields.pop("tags")]
    return DatasetInput(dataset=Dataset(**fields), tags=tags)
