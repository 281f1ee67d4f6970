"""The record that programs write most, one metric of one run, in a few microseconds."""

from __future__ import annotations

import json
from typing import Any

_INFINITY = float("inf")


class OneMetric:
    """The same JSON that ``records.batch_to_json`` comes to, for metrics that need no second look.

    MLflow's own check of a metric and ``json`` take several times as long as the write itself.
    """

    def __init__(self) -> None:
        self._quoted: dict[str, str] = {}

    def has_passed(self, metric: Any) -> None:
        """MLflow takes metrics of this name."""
        self._quoted[metric.key] = json.dumps(metric.key)

    def args(self, run_id: str, metric: Any) -> str | None:
        """None where MLflow has to check it, or it is more than a number at a step."""
        value, timestamp, step = metric.value, metric.timestamp, metric.step
        name = self._quoted.get(metric.key)
        is_plain = (
            name is not None
            and type(value) is float
            and -_INFINITY < value < _INFINITY
            and type(timestamp) is int
            and timestamp >= 0
            and type(step) is int
            # Versions before 3 have metrics without these.
            and getattr(metric, "model_id", None) is None
            and getattr(metric, "dataset_name", None) is None
        )
        if not is_plain:
            return None
        return f'{{"run":"{run_id}","metrics":[[{name},{value!r},{timestamp},{step}]],"params":[],"tags":[]}}'
