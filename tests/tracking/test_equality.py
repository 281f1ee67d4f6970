"""A program's records through the journal and the relay are those that it leaves in MLflow itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow
import pytest
from mlflow import MlflowClient

from hydra_gce.bucket import Bucket
from hydra_gce.jobs import JobState
from tests.tracking.equality import model_directory, records
from tests.tracking.lab import TRAINING, relay_for, run_on_vm


def test_a_program_leaves_the_same_records_through_the_bucket_as_in_mlflow_itself(
    plain: dict[str, Any], bucket: Bucket, store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vm = run_on_vm(TRAINING, bucket, tmp_path / "vm", num=0, attempt=1)
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
    model = f"runs:/{run_id}/model"
    if hasattr(client, "get_logged_model"):  # since MLflow 3
        (output,) = getattr(client.get_run(run_id).outputs, "model_outputs", [])
        description = (model_directory(client, output.model_id) / "MLmodel").read_text()
        assert f"run_id: {run_id}" in description and f"model_id: {output.model_id}" in description
        model = f"models:/{output.model_id}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    assert mlflow.pyfunc.load_model(model).predict([0.2, 0.9]) == [0.0, 1.0]
