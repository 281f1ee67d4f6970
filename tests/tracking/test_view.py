"""What a program reads back on a VM is what MLflow's own store would tell, though only the journal was written."""

# mypy: disallow-untyped-calls=False
# MLflow's stores have no annotations.

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mlflow.entities import Metric, Param, RunTag, ViewType
from mlflow.exceptions import MlflowException
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

from hydra_gce.tracking.vm.sql_store import SqlJournalStore
from tests.tracking.lab import ROOT

KEYS = st.sampled_from(["loss", "val/iou", "a b"])
VALUES = st.sampled_from([0.0, -1.5, 1 / 3, float("nan"), float("inf"), float("-inf"), 1e300])
METRICS = st.builds(Metric, KEYS, VALUES, st.integers(1, 3), st.integers(-1, 2))
PARAMS = st.builds(Param, KEYS, st.sampled_from(["1", "2"]))
TAGS = st.builds(RunTag, KEYS, st.sampled_from(["x", "ä", "mlflow"]))
BATCHES = (st.lists(METRICS, max_size=4), st.lists(PARAMS, max_size=2), st.lists(TAGS, max_size=2))
CALLS = st.one_of(
    st.tuples(st.just("log_metric"), METRICS),
    st.tuples(st.just("log_param"), PARAMS),
    st.tuples(st.just("set_tag"), TAGS),
    st.tuples(
        st.just("log_batch"),
        st.lists(METRICS, max_size=4),
        st.lists(PARAMS, max_size=2),
        st.lists(TAGS, max_size=2),
    ),
    st.tuples(st.just("delete_tag"), KEYS),
    st.tuples(st.just("read")),
)


@pytest.fixture
def ours(tmp_path: Path) -> SqlJournalStore:
    return SqlJournalStore(f"hydra-gce://{tmp_path / 'vm'}")


def new_run(store: Any) -> str:
    run_id: str = store.create_run("0", "somebody", 1, [], "run").info.run_id
    return run_id


def said(store: Any, name: str, *args: Any) -> str:
    """What a call answers with, as far as a program can rely on it."""
    try:
        getattr(store, name)(*args)
    except MlflowException as error:
        return error.error_code
    return ""


def seen(store: Any, run_id: str) -> dict[str, Any]:
    run = store.get_run(run_id)
    histories = {
        key: sorted(repr((m.step, m.timestamp, m.value)) for m in store.get_metric_history(run_id, key))
        for key in ("loss", "val/iou", "a b")
    }
    return {
        "params": run.data.params,
        "tags": {key: value for key, value in run.data.tags.items() if not key.startswith("mlflow.")},
        "metrics": {key: repr(value) for key, value in run.data.metrics.items()},
        "histories": histories,
    }


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(calls=st.lists(CALLS, max_size=12))
def test_reads_and_errors_are_those_of_mlflows_own_store(
    calls: list[tuple[Any, ...]], ours: SqlJournalStore, store: str, tmp_path: Path
) -> None:
    plain = SqlAlchemyStore(store, str(tmp_path / "artifacts"))
    here, there = new_run(ours), new_run(plain)
    for name, *args in calls:
        if name == "read":
            assert seen(ours, here) == seen(plain, there)
        else:
            assert said(ours, name, here, *args) == said(plain, name, there, *args)
    assert seen(ours, here) == seen(plain, there)


def test_a_search_sees_what_was_just_logged(ours: SqlJournalStore) -> None:
    run_id = new_run(ours)
    ours.log_metric(run_id, Metric("loss", 0.25, 1, 0))
    ours.log_param(run_id, Param("lr", "0.1"))
    found = ours.search_runs(["0"], "metrics.loss < 0.3 AND params.lr = '0.1'", ViewType.ACTIVE_ONLY)
    assert [run.info.run_id for run in found] == [run_id]


def test_a_deleted_run_takes_nothing_until_it_is_restored(ours: SqlJournalStore) -> None:
    run_id = new_run(ours)
    ours.log_metric(run_id, Metric("loss", 1, 1, 0))
    ours.delete_run(run_id)
    with pytest.raises(MlflowException, match="active"):
        ours.log_metric(run_id, Metric("loss", 2, 1, 0))
    ours.restore_run(run_id)
    ours.log_metric(run_id, Metric("loss", 3, 1, 1))
    assert ours.get_run(run_id).data.metrics == {"loss": 3}


def test_a_name_given_as_a_tag_names_the_run(ours: SqlJournalStore) -> None:
    run_id = new_run(ours)
    ours.set_tag(run_id, RunTag("mlflow.runName", "other"))
    assert ours.get_run(run_id).info.run_name == "other"


def test_processes_see_each_others_records(ours: SqlJournalStore, tmp_path: Path) -> None:
    run_id = new_run(ours)
    ours.log_param(run_id, Param("lr", "0.1"))
    script = (
        "import json, sys, mlflow; client = mlflow.MlflowClient(); run = sys.argv[1]; "
        "client.log_param(run, 'depth', 4); client.log_metric(run, 'loss', 0.5, 1, 1); "
        "print(json.dumps(client.get_run(run).data.params))"
    )
    environment = os.environ | {
        "MLFLOW_TRACKING_URI": f"hydra-gce://{tmp_path / 'vm'}",
        "PYTHONPATH": str(ROOT),
    }
    result = subprocess.run(
        [sys.executable, "-c", script, run_id],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=200,
    )
    assert json.loads(result.stdout.splitlines()[-1]) == {"lr": "0.1", "depth": "4"}
    with pytest.raises(MlflowException, match="already logged"):
        ours.log_param(run_id, Param("depth", "5"))
    assert ours.get_run(run_id).data.metrics == {"loss": 0.5}


def test_a_line_longer_than_a_block_comes_in_whole(
    ours: SqlJournalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hydra_gce.tracking.vm.view._BLOCK", 100)
    run_id = new_run(ours)
    for step in range(5):
        ours.log_batch(run_id, [Metric(f"m{i}", i, 1, step) for i in range(20)], [], [])
    assert len(ours.get_metric_history(run_id, "m7")) == 5
