"""A training of a user's who records all kinds of things with plain MLflow, and goes on from its last checkpoint.

`recording.py OUTPUT_DIR X PAUSE_S`. Times are fixed, so that two stores compare.
"""

# mypy: ignore-errors
# As users write it: MLflow loads half of its names late.

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import mlflow
import mlflow.data
import mlflow.pyfunc
import numpy as np
from mlflow.entities import Metric

STARTED = 1_760_000_000_000
STEPS = 60
EVERY = 12


class Threshold(mlflow.pyfunc.PythonModel):
    def predict(self, model_input: list[float]) -> list[float]:
        return [float(value > 0.5) for value in model_input]


def main(out: Path, x: int, pause_s: float) -> None:
    checkpoint = out / "checkpoint.json"
    first = json.loads(checkpoint.read_text())["step"] if checkpoint.exists() else 0
    client = mlflow.MlflowClient()
    mlflow.set_experiment("membrane")
    with mlflow.start_run() as run:
        mlflow.log_params({"x": x, "depth": 4})
        mlflow.set_tag("stage", "training")
        for step in range(first, STEPS):
            mlflow.log_metric("loss", x + 1 / (step + 1), step=step, timestamp=STARTED + step)
            mlflow.log_metrics({"lr": 1e-3 / (step + 1), "nan": float("nan")}, step, timestamp=STARTED + step)
            if step % EVERY == EVERY - 1:
                points = [Metric("dense", i / 7, STARTED + step + i, step * 100 + i) for i in range(150)]
                client.log_batch(run.info.run_id, metrics=points)
                mlflow.log_param(f"seen_{step}", x * step)
                picture = out / f"picture-{step}.bin"
                picture.write_bytes(np.random.default_rng([x, step]).bytes(30_000))
                mlflow.log_artifact(str(picture), "pictures")
                mlflow.log_dict({"newest": step}, "newest.json")
                mlflow.set_tag("newest", step)
                with mlflow.start_run(run_name=f"fold-{step}", nested=True):
                    mlflow.log_param("step", step)
                    mlflow.log_metric("val_miou", step / 100, step=0, timestamp=STARTED + step)
            part = checkpoint.with_suffix(".part")
            part.write_text(json.dumps({"step": step + 1}))
            os.replace(part, checkpoint)
            time.sleep(pause_s)
        slices = mlflow.data.from_numpy(
            np.arange(4.0) + x, source="https://example.com/slices.zip", name="slices"
        )
        mlflow.log_input(slices, context="training")
        called = {"artifact_path" if mlflow.__version__.startswith("2.") else "name": "model"}
        mlflow.pyfunc.log_model(**called, python_model=Threshold(), pip_requirements=["mlflow"])
        mlflow.set_tag("stage", "done")


if __name__ == "__main__":
    os.umask(0o022)
    main(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
