"""What a user's training does with MLflow: plain calls, with fixed times so that two runs compare."""

# mypy: ignore-errors
# As users write it: MLflow loads half of its names late.

from __future__ import annotations

import os
from pathlib import Path

import mlflow
import mlflow.data
import mlflow.pyfunc
import numpy as np
from mlflow.entities import Metric, Param, RunTag

STARTED = 1_760_000_000_000


class Threshold(mlflow.pyfunc.PythonModel):
    def predict(self, model_input: list[float]) -> list[float]:
        return [float(value > 0.5) for value in model_input]


def main() -> None:
    client = mlflow.MlflowClient()
    mlflow.set_experiment("membrane")
    mlflow.set_experiment_tag("data", "ISBI 2012")
    with mlflow.start_run(description="a training") as run:
        run_id = run.info.run_id
        mlflow.log_params({"lr": 1e-3, "depth": 4, "note": "ä" * 300})
        for step in range(50):
            mlflow.log_metric("loss", 1 / (step + 1), step=step, timestamp=STARTED + step)
        points = [Metric("dense", i / 7, STARTED + i, i) for i in range(1000)]
        client.log_batch(run_id, metrics=points)
        client.log_batch(run_id, params=[Param("optimizer", "adam")], tags=[RunTag("stage", "first")])
        mlflow.log_metrics({"val_miou": 0.75, "val_loss": 0.5}, step=50, timestamp=STARTED + 50)
        mlflow.log_metric("odd", float("nan"), step=1, timestamp=STARTED)
        mlflow.log_metric("odd", float("inf"), step=2, timestamp=STARTED)
        mlflow.log_metric("late", 1.0, step=1, timestamp=STARTED, synchronous=False)
        mlflow.flush_async_logging()
        mlflow.set_tags({"stage": "second", "gone": "x", "me": run_id})
        mlflow.delete_tag("gone")
        mlflow.log_text("hello\n", "notes/a.txt")
        mlflow.log_dict({"a": 1}, "b.json")
        Path("checkpoint.bin").write_bytes(bytes(range(256)) * 1000)
        mlflow.log_artifact("checkpoint.bin", "checkpoints")
        for fold in range(2):
            with mlflow.start_run(run_name="fold", nested=True):
                mlflow.log_param("fold", fold)
                mlflow.log_metric("val_miou", fold / 10, step=0, timestamp=STARTED)
        slices = mlflow.data.from_numpy(
            np.arange(4.0), source="https://example.com/slices.zip", name="slices"
        )
        mlflow.log_input(slices, context="training")
        name = {"name" if hasattr(client, "create_logged_model") else "artifact_path": "model"}
        mlflow.pyfunc.log_model(**name, python_model=Threshold(), pip_requirements=["mlflow"])
        assert client.get_run(run_id).data.params["lr"] == "0.001"
        assert len(client.get_metric_history(run_id, "loss")) == 50
        assert len(mlflow.search_runs(output_format="list")) == 3


if __name__ == "__main__":
    os.umask(0o022)
    main()
