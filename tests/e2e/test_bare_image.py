"""A VM of an image that carries no Python environment: it makes the whole of it, as a cloud VM would."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import mlflow
import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_example_trains_on_a_bare_image(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path / 'mlflow.db'}"
    command = [sys.executable, "train.py", "-m", "hydra/launcher=gce", "experiment=smoke", "lr=1e-3"]
    command += ["hydra.launcher.backend=local", "hydra.launcher.vm.image=debian-cloud/debian-12"]
    command += [f"hydra.sweep.dir={tmp_path / 'sweep'}"]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "MLFLOW_TRACKING_URI": store},
        capture_output=True,
        text=True,
        timeout=1100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "sweep" / "0" / "model.keras").exists()
    client = mlflow.MlflowClient(store)
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    (point,) = client.search_runs(experiments, "tags.`hydra_gce.role` = 'point'")
    assert point.info.status == "FINISHED"
    assert "val_miou" in point.data.metrics
