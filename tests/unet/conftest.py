"""A small folder of images that can be learned from, and trainings of a second on it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from unet.settings import (
    DataSettings,
    ModelSettings,
    ScheduleSettings,
    Settings,
    TrackingSettings,
    TrainerSettings,
)


def save(path: Path, pixels: npt.NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def make_folder(root: Path) -> Path:
    """Six noisy images, 40 wide and 36 high, whose bright half is the second class."""
    rng = np.random.default_rng(7)
    for name in range(6):
        bright = np.zeros((36, 40), dtype=bool)
        bright[:, rng.integers(10, 30) :] = True
        noisy = np.where(bright, 190, 70) + rng.integers(-40, 40, bright.shape)
        save(root / "images" / f"{name}.png", noisy.astype(np.uint8))
        save(root / "masks" / f"{name}.png", np.where(bright, 255, 0).astype(np.uint8))
    return root


def make_settings(folder: Path) -> Settings:
    """Eight steps of a model of two levels, with dropout, so that each source of randomness takes part."""
    return Settings(
        lr=1e-2,
        model=ModelSettings(filters=4, depth=2, dropout=0.2),
        data=DataSettings(
            folder=str(folder), classes=["dark", "bright"], train="0-3", validation="4-5", crop=16, batch=4
        ),
        schedule=ScheduleSettings(name="cosine", warmup_steps=2),
        trainer=TrainerSettings(steps=8, validate_every=4, checkpoint_every=2, log_every=3),
        tracking=TrackingSettings(system_metrics=False, checkpoints=False, checkpoint=False, model=False),
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "data")


@pytest.fixture
def settings(folder: Path) -> Settings:
    return make_settings(folder)


@pytest.fixture
def data_settings(settings: Settings) -> DataSettings:
    return settings.data


@pytest.fixture(scope="session")
def mlflow_store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The URI of a tracking store. One for all: MLflow takes seconds to make its tables."""
    mlflow = pytest.importorskip("mlflow")
    root = tmp_path_factory.mktemp("mlflow")
    uri = f"sqlite:///{root / 'mlflow.db'}"
    mlflow.MlflowClient(uri).create_experiment("tests", artifact_location=(root / "artifacts").as_uri())
    return uri


@pytest.fixture
def tracking(mlflow_store: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The tracking store, named by the environment, as on a machine that records to a server."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_store)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "tests")
    return mlflow_store
