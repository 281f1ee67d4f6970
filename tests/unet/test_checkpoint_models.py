"""Checkpoints are models in MLflow while the training goes on: the newest and the best, and no others for long."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import keras
import mlflow
import numpy as np
import pytest
import tensorflow as tf
from mlflow.entities import LoggedModel, LoggedModelStatus
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import ENDPOINT_NOT_FOUND

from tests.patience import wait_until
from unet.checkpoint_models import checkpoint_models
from unet.checkpoints import Checkpoints
from unet.description import Description
from unet.models import with_probabilities
from unet.settings import (
    DataSettings,
    ModelSettings,
    OptimizerSettings,
    Settings,
    TrackingSettings,
    TrainerSettings,
)
from unet.state import TrainingState, new_state
from unet.training import train


@pytest.fixture
def state() -> TrainingState:
    settings = Settings(
        model=ModelSettings(filters=2, depth=1, dropout=0.1),
        data=DataSettings(crop=16),
        optimizer=OptimizerSettings(name="adamw", ema_decay=0.9),
        trainer=TrainerSettings(keep_last=2, keep_best=1),
    )
    return new_state(settings, tf.distribute.get_strategy())


@pytest.fixture
def run_id(tracking: str) -> Iterator[str]:
    with mlflow.start_run() as run:
        yield run.info.run_id


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "out" / "checkpoints"


@contextmanager
def followed(run_id: str, state: TrainingState, directory: Path) -> Iterator[Callable[..., None]]:
    """Gives what saves a checkpoint."""
    with Checkpoints(directory, state.settings.trainer) as checkpoints:

        def save(step: int, score: float | None = None) -> None:
            for number, weight in enumerate(state.averaged.weights):
                weight.assign(np.full(weight.shape, step + number / 100))
            state.notes.step, state.notes.score = step, score
            if score is not None:
                state.judge(score)
            checkpoints.save(state)
            checkpoints.settle()

        description = Description.of(state.settings, white=255)
        with checkpoint_models(run_id, state, checkpoints, description):
            yield save


def models(run_id: str) -> dict[str, LoggedModel]:
    """By name; that each name is there once is checked."""
    client = mlflow.MlflowClient()
    experiment = client.get_run(run_id).info.experiment_id
    found = client.search_logged_models([experiment], f"source_run_id = '{run_id}'")
    by_name = {model.name: model for model in found if model.name != "model"}
    assert len(by_name) == len([model for model in found if model.name != "model"])
    return by_name


def steps_of(run_id: str) -> list[tuple[str, int]]:
    """Models that the run says it has made, with their steps."""
    outputs = mlflow.get_run(run_id).outputs
    return [(output.model_id, output.step) for output in outputs.model_outputs] if outputs else []


def is_whole(run_id: str, name: str) -> bool:
    there = models(run_id)
    return name in there and there[name].status == LoggedModelStatus.READY


def test_the_newest_and_the_best_are_there_with_step_and_score_and_no_others(
    run_id: str, state: TrainingState, directory: Path
) -> None:
    with followed(run_id, state, directory) as save:
        for step, score in ((1, 0.1), (2, 0.9), (3, 0.2), (4, None)):
            save(step, score)
            wait_until(partial(is_whole, run_id, f"checkpoint-{step}"), f"checkpoint-{step} is there")
        wait_until(lambda: "checkpoint-1" not in models(run_id), "the first is gone from MLflow, too")
    there = models(run_id)
    assert there.keys() == {"checkpoint-2", "checkpoint-3", "checkpoint-4"}  # as on the disk
    (metric,) = there["checkpoint-2"].metrics or []
    assert (metric.key, metric.value, metric.step) == ("checkpoint_val_miou", 0.9, 2)
    assert not there["checkpoint-4"].metrics
    outputs = dict(steps_of(run_id))
    assert {name: outputs[model.model_id] for name, model in there.items()} == {
        "checkpoint-2": 2,
        "checkpoint-3": 3,
        "checkpoint-4": 4,
    }


def test_one_that_was_pruned_leaves_no_file_behind(
    run_id: str, state: TrainingState, directory: Path
) -> None:
    with followed(run_id, state, directory) as save:
        save(1)
        wait_until(lambda: "checkpoint-1" in models(run_id), "it is there")
        location = Path(models(run_id)["checkpoint-1"].artifact_location.removeprefix("file://"))
        wait_until(lambda: (location / "MLmodel").exists(), "its files are there")
        for step in (2, 3):
            save(step)
    assert "checkpoint-1" not in models(run_id)
    assert not location.exists()


def test_a_model_gives_what_the_network_gave_when_it_was_saved(
    run_id: str, state: TrainingState, directory: Path
) -> None:
    rng = np.random.default_rng(3)
    images = rng.random((1, 16, 16, state.settings.data.channels), np.float32)
    with followed(run_id, state, directory) as save:
        for weight in state.model.weights:
            weight.assign(rng.random(weight.shape))
        save(1)
        for weight in state.averaged.weights:
            weight.assign(rng.random(weight.shape))
        expected = with_probabilities(state.averaged)(images, training=False).numpy()
        state.notes.step = 2
        with Checkpoints(directory, state.settings.trainer) as another:
            another.save(state)
    loaded = mlflow.tensorflow.load_model(f"models:/{models(run_id)['checkpoint-2'].model_id}")
    assert isinstance(loaded, keras.Model)
    np.testing.assert_allclose(loaded(images, training=False).numpy(), expected, atol=1e-6)
    sizes = [len(state.averaged.weights), len(loaded.weights)]
    assert sizes[0] == sizes[1]  # no optimizer
    served = mlflow.pyfunc.load_model(f"models:/{models(run_id)['checkpoint-1'].model_id}")
    assert served.metadata.metadata["classes"] == state.settings.data.classes


def test_a_slow_server_holds_nobody_up_and_gets_only_what_is_of_use_still(
    run_id: str, state: TrainingState, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server_answers, asked = threading.Event(), []
    put = mlflow.MlflowClient.log_model_artifacts

    def slow(self: Any, model_id: str, folder: str) -> None:
        asked.append(Path(folder).name)
        assert server_answers.wait(60)
        put(self, model_id, folder)

    monkeypatch.setattr(mlflow.MlflowClient, "log_model_artifacts", slow)
    with followed(run_id, state, directory) as save:
        save(1, 0.1)
        wait_until(lambda: asked == ["checkpoint-1"], "the first upload has begun")
        for step in range(2, 8):
            save(step, 0.9 if step == 3 else 0.2)
        assert asked == ["checkpoint-1"]
        server_answers.set()  # not reached if a call above had waited
    assert asked == ["checkpoint-1", "checkpoint-3", "checkpoint-7"]
    assert models(run_id).keys() == {"checkpoint-3", "checkpoint-7"}


def test_a_process_that_goes_on_has_none_twice(
    run_id: str, state: TrainingState, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with followed(run_id, state, directory) as save:
        save(1, 0.5)
    finish = mlflow.MlflowClient.finalize_logged_model
    with monkeypatch.context() as patched:

        def away(*_: Any) -> None:
            raise MlflowException("the server is away")

        patched.setattr(mlflow.MlflowClient, "finalize_logged_model", away)
        with followed(run_id, state, directory) as save:
            save(2, 0.6)
    assert not is_whole(run_id, "checkpoint-2")
    assert mlflow.MlflowClient.finalize_logged_model is finish
    begun = models(run_id)["checkpoint-2"].model_id
    with followed(run_id, state, directory) as save:
        save(3, 0.4)
    there = models(run_id)
    assert there.keys() == {"checkpoint-2", "checkpoint-3"}
    assert is_whole(run_id, "checkpoint-2")
    assert there["checkpoint-2"].model_id == begun
    assert steps_of(run_id).count((begun, 2)) == 1
    history = mlflow.MlflowClient().get_metric_history(run_id, "checkpoint_val_miou")
    assert sorted((metric.step, metric.value) for metric in history) == [(1, 0.5), (2, 0.6), (3, 0.4)]


def test_a_damaged_checkpoint_is_named_and_left_out(
    run_id: str, state: TrainingState, directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    directory.mkdir(parents=True)
    (directory / "step-00000001.npz").write_bytes(b"PK torn")
    with followed(run_id, state, directory):
        pass
    assert "step-00000001.npz is not logged" in caplog.text
    assert models(run_id) == {}


@pytest.mark.parametrize("who", ["client", "server"])
def test_before_mlflow_3_they_are_artifacts(
    who: str, run_id: str, state: TrainingState, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(*_: Any, **__: Any) -> None:
        raise MlflowException("no such endpoint", ENDPOINT_NOT_FOUND)

    with monkeypatch.context() as old:
        if who == "client":
            old.delattr(mlflow.MlflowClient, "search_logged_models")
        else:
            old.setattr(mlflow.MlflowClient, "search_logged_models", unknown)
        with followed(run_id, state, directory) as save:
            save(1, 0.5)
            for step in (2, 3):
                save(step)
        with followed(run_id, state, directory) as save:
            save(4, 0.9)
    client = mlflow.MlflowClient()
    there = [item.path for item in client.list_artifacts(run_id, "checkpoints")]
    assert there == ["checkpoints/checkpoint-3", "checkpoints/checkpoint-4"]
    loaded = mlflow.tensorflow.load_model(f"runs:/{run_id}/checkpoints/checkpoint-4")
    np.testing.assert_allclose(loaded.weights[0].numpy(), 4)
    assert client.get_run(run_id).data.metrics["checkpoint_val_miou"] == 0.9


def test_a_training_leaves_them(settings: Settings, tmp_path: Path, tracking: str) -> None:
    settings.trainer.keep_last = 1
    settings.tracking = TrackingSettings(system_metrics=False, checkpoint=False, model=False)
    train(settings, tmp_path / "out")
    run_id = (tmp_path / "out" / "mlflow_run_id").read_text()
    on_disk = {int(path.stem[5:]) for path in (tmp_path / "out" / "checkpoints").glob("step-*.npz")}
    assert models(run_id).keys() == {f"checkpoint-{step}" for step in on_disk}
    assert all(is_whole(run_id, name) for name in models(run_id))


def test_a_training_computes_the_same_with_and_without_them(
    settings: Settings, tmp_path: Path, tracking: str
) -> None:
    ends = []
    for checkpoints in (False, True):
        settings.tracking = replace(settings.tracking, checkpoints=checkpoints)
        output = tmp_path / str(checkpoints)
        train(settings, output)
        with np.load(max((output / "checkpoints").glob("step-*.npz"))) as file:
            ends.append({name: file[name] for name in file.files if name != "notes"})
    assert ends[0].keys() == ends[1].keys()
    for name, values in ends[0].items():
        np.testing.assert_array_equal(values, ends[1][name], err_msg=name)
