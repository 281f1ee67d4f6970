"""The same training on two devices as on one, for the same batches.

Two virtual CPU devices under MirroredStrategy. What differs is the order in which float32 numbers are added: within a
device first, then over the two. That is a relative 1e-7 in a sum, which the steps of Adam, dividing by the root of
small second moments, let grow to some 1e-4 over the 24 steps here; a wrong weight of an uneven part would be 1e-1.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest

from tests.unet import processes
from tests.unet.conftest import make_folder
from unet.tracking import RUN_ID_FILE


def train_on(devices: int, output: Path, store: str, **wanted: Any) -> dict[str, list[float]]:
    wanted |= {"devices": devices, "output": str(output)}
    done = processes.run("replicated_training", wanted, store)
    assert done.returncode == 0, done.stdout + done.stderr
    client, run_id = mlflow.MlflowClient(store), (output / RUN_ID_FILE).read_text()
    return {
        key: [m.value for m in sorted(client.get_metric_history(run_id, key), key=lambda m: m.step)]
        for key in ("loss", "accuracy", "grad_norm", "val_miou")
    }


@pytest.mark.parametrize(
    "wanted",
    [
        # Shares of 3 and 2.
        pytest.param({"batch": 5, "short_batches": False}, marks=pytest.mark.slow),
        # Of four images: 3, then 1, less than there are devices.
        {"batch": 3, "short_batches": True, "dice": 0.0},
    ],
    ids=["uneven", "short"],
)
def test_two_devices_train_as_one(wanted: dict[str, Any], mlflow_store: str, tmp_path: Path) -> None:
    wanted["data"] = str(make_folder(tmp_path / "data"))
    one = train_on(1, tmp_path / "one", mlflow_store, **wanted)
    two = train_on(2, tmp_path / "two", mlflow_store, **wanted)
    assert len(one["loss"]) == 24
    np.testing.assert_allclose(two["loss"], one["loss"], rtol=2e-3)
    np.testing.assert_allclose(two["loss"][:4], one["loss"][:4], rtol=1e-5)
    np.testing.assert_allclose(two["grad_norm"][:4], one["grad_norm"][:4], rtol=1e-4)
    np.testing.assert_allclose(two["accuracy"], one["accuracy"], atol=0.01)
    np.testing.assert_allclose(two["val_miou"], one["val_miou"], atol=0.01)


@pytest.mark.slow
def test_float16_keeps_its_loss_scale_over_two_devices(mlflow_store: str, tmp_path: Path) -> None:
    wanted = {"data": str(make_folder(tmp_path / "data")), "batch": 4, "short_batches": False}
    two = train_on(2, tmp_path / "two", mlflow_store, precision="float16", **wanted)
    assert np.isfinite(two["loss"]).all()
    assert two["loss"][-1] < two["loss"][0]
