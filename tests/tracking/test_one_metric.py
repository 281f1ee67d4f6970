"""The short way of a metric into the journal comes to what the long one does, or is not taken."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow.entities import Metric

from hydra_gce.tracking.journal import Record, decode, encode
from hydra_gce.tracking.records import batch_to_json
from hydra_gce.tracking.vm.one_metric import OneMetric

RUN = "0f" * 16


def knowing(name: str) -> OneMetric:
    made = OneMetric()
    made.has_passed(Metric(name, 0.0, 0, 0))
    return made


@given(
    name=st.text(min_size=1),
    value=st.floats(allow_nan=False, allow_infinity=False),
    timestamp=st.integers(0, 2**63 - 1),
    step=st.integers(-(2**63), 2**63 - 1),
)
def test_it_is_the_record_that_json_makes(name: str, value: float, timestamp: int, step: int) -> None:
    metric = Metric(name, value, timestamp, step)
    args = knowing(name).args(RUN, metric)
    long = batch_to_json(RUN, [metric], [], [])
    assert args == json.dumps(long, separators=(",", ":"))
    record = Record(1, 1760000000.25, "batch", long)
    assert decode(encode(record)[:-1], "here") == record


@pytest.mark.parametrize(
    "metric",
    [
        Metric("other", 1.0, 0, 0),
        Metric("loss", float("nan"), 0, 0),
        Metric("loss", float("inf"), 0, 0),
        Metric("loss", -float("inf"), 0, 0),
        Metric("loss", 1, 0, 0),
        Metric("loss", True, 0, 0),
        Metric("loss", "1.0", 0, 0),  # type: ignore[arg-type]
        Metric("loss", 1.0, -1, 0),
        Metric("loss", 1.0, 0.5, 0),  # type: ignore[arg-type]
        Metric("loss", 1.0, 0, True),
        Metric("loss", 1.0, 0, None),  # type: ignore[arg-type]
    ],
    ids=repr,
)
def test_what_mlflow_has_to_look_at_takes_the_long_way(metric: Any) -> None:
    assert knowing("loss").args(RUN, metric) is None


@pytest.mark.skipif(not hasattr(Metric, "dataset_name"), reason="MLflow 2 has no data sets of metrics")
def test_a_metric_of_a_data_set_takes_the_long_way() -> None:
    metric = Metric("loss", 1.0, 0, 0, dataset_name="cells", dataset_digest="1")
    assert knowing("loss").args(RUN, metric) is None
