"""Whole trainings: what they return, record and leave, and how they go on after an end that nobody wanted."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import mlflow
import numpy as np
import numpy.typing as npt
import pytest
from mlflow.entities import Run
from PIL import Image

from tests.unet.conftest import make_folder, make_settings
from unet.errors import CheckpointError, DatasetError, DivergedError, Preempted
from unet.progress import Progress
from unet.settings import (
    LossSettings,
    ModelSettings,
    OptimizerSettings,
    ScheduleSettings,
    Settings,
    TrackingSettings,
)
from unet.state import TrainingState, new_state
from unet.tracking import RUN_ID_FILE
from unet.training import train


def run_of(output_dir: Path) -> Run:
    return mlflow.MlflowClient().get_run((output_dir / RUN_ID_FILE).read_text())


def history(output_dir: Path, key: str) -> list[tuple[int, float]]:
    run_id = (output_dir / RUN_ID_FILE).read_text()
    return sorted((m.step, m.value) for m in mlflow.MlflowClient().get_metric_history(run_id, key))


def weights(output_dir: Path) -> list[npt.NDArray[np.float32]]:
    return [np.asarray(w) for w in keras.saving.load_model(output_dir / "model.keras").get_weights()]


def assert_same_training(one: Path, other: Path) -> None:
    """The same exported weights, and each step with the same figures, once."""
    for weights_of_one, weights_of_other in zip(weights(one), weights(other), strict=True):
        np.testing.assert_array_equal(weights_of_one, weights_of_other)
    for key in ("loss", "accuracy", "lr", "val_miou"):
        assert history(one, key) == history(other, key)


def when_step_is_taken(wanted: int, happen: Callable[[], None], patch: pytest.MonkeyPatch) -> None:
    """Let something happen in the loop right after a step, before it is recorded."""
    taken = Progress.taken

    def taken_and(self: Progress, step: int, metrics: Any) -> None:
        if step == wanted:
            happen()
        taken(self, step, metrics)

    patch.setattr(Progress, "taken", taken_and)


def sigterm() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def checkpoint(output_dir: Path, step: int) -> Path:
    return output_dir / "checkpoints" / f"step-{step:08d}.npz"


@pytest.fixture
def output_dir(tmp_path: Path, tracking: str) -> Path:
    path = tmp_path / "output"
    path.mkdir()
    return path


@dataclass(frozen=True)
class Finished:
    """A training that nothing has disturbed."""

    returned: float
    output_dir: Path


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, mlflow_store: str) -> Finished:
    root = tmp_path_factory.mktemp("finished")
    settings = make_settings(make_folder(root / "data"))
    settings.tracking = TrackingSettings(system_metrics=True, checkpoint=True, model=True)
    output_dir = root / "output"
    output_dir.mkdir()
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("MLFLOW_TRACKING_URI", mlflow_store)
        environment.setenv("MLFLOW_EXPERIMENT_NAME", "tests")
        return Finished(train(settings, output_dir, run_name="lr=0.01"), output_dir)


@pytest.fixture
def finished_copy(finished: Finished, output_dir: Path) -> Path:
    """The output directory of the finished training, for a test to change."""
    shutil.copytree(finished.output_dir, output_dir, dirs_exist_ok=True)
    return output_dir


@pytest.mark.usefixtures("tracking")
def test_a_training_returns_the_score_that_it_records(finished: Finished) -> None:
    run = run_of(finished.output_dir)
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "lr=0.01"
    assert run.data.metrics["val_miou"] == finished.returned
    assert 0 < finished.returned <= 1


@pytest.mark.usefixtures("tracking")
def test_every_setting_is_a_parameter(finished: Finished) -> None:
    params = run_of(finished.output_dir).data.params
    assert params["lr"] == "0.01"
    assert params["model.filters"] == "4"
    assert params["data.classes"] == "['dark', 'bright']"
    assert params["tracking.system_metrics"] == "True"


@pytest.mark.usefixtures("tracking")
def test_metrics_are_recorded_with_each_step_and_each_validation(finished: Finished) -> None:
    for key in ("loss", "accuracy", "lr"):
        assert [step for step, _ in history(finished.output_dir, key)] == list(range(1, 9))
    for key in ("val_miou", "val_accuracy", "val_iou.dark", "val_iou.bright", "images_per_s"):
        assert [step for step, _ in history(finished.output_dir, key)] == [4, 8]


@pytest.mark.usefixtures("tracking")
def test_pictures_settings_and_the_last_checkpoint_are_artifacts(finished: Finished) -> None:
    client, run_id = mlflow.MlflowClient(), run_of(finished.output_dir).info.run_id
    names = {file.path for file in client.list_artifacts(run_id)}
    assert names >= {"predictions.png", "settings.yaml", "checkpoint"}
    assert {file.path for file in client.list_artifacts(run_id, "checkpoint")} == {
        "checkpoint/step-00000008.npz",
    }
    with Image.open(finished.output_dir / "predictions.png") as sheet:
        assert sheet.size[0] > 4 * 36


@pytest.mark.usefixtures("tracking")
def test_the_recorded_model_scores_images_of_any_size(finished: Finished) -> None:
    model = mlflow.pyfunc.load_model(f"runs:/{run_of(finished.output_dir).info.run_id}/model")
    assert model.metadata.signature is not None
    probabilities = model.predict(np.zeros((1, 36, 40, 1), np.float32))
    assert probabilities.shape == (1, 36, 40, 2)
    np.testing.assert_allclose(probabilities.sum(-1), 1, rtol=1e-5)


def test_a_training_learns(settings: Settings, output_dir: Path) -> None:
    longer = replace(settings, trainer=replace(settings.trainer, steps=60, validate_every=60))
    assert train(longer, output_dir) > 0.8


def test_the_same_seed_gives_the_same_training(
    settings: Settings, output_dir: Path, finished: Finished
) -> None:
    assert train(settings, output_dir) == finished.returned
    assert_same_training(output_dir, finished.output_dir)


def test_sigterm_leaves_a_checkpoint_from_which_the_same_training_comes_to_the_same_end(
    settings: Settings, output_dir: Path, finished: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = signal.getsignal(signal.SIGTERM)

    with monkeypatch.context() as patch, pytest.raises(Preempted, match="5 of 8 is saved") as caught:
        when_step_is_taken(5, sigterm, patch)
        train(settings, output_dir)

    assert caught.value.code == 143
    assert signal.getsignal(signal.SIGTERM) is before
    interrupted = run_of(output_dir)
    assert interrupted.info.status == "KILLED"
    assert not (output_dir / "model.keras").exists()
    assert [step for step, _ in history(output_dir, "loss")] == [1, 2, 3, 4, 5]
    assert checkpoint(output_dir, 5).exists()

    assert train(settings, output_dir) == finished.returned

    assert run_of(output_dir).info.run_id == interrupted.info.run_id
    assert run_of(output_dir).info.status == "FINISHED"
    assert_same_training(output_dir, finished.output_dir)


def test_after_a_crash_steps_since_the_checkpoint_are_taken_again_and_recorded_once(
    settings: Settings, output_dir: Path, finished: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.trainer.checkpoint_every = 4
    settings.trainer.log_every = 1

    def crash() -> None:
        raise RuntimeError("the machine is gone")

    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="the machine is gone"):
        when_step_is_taken(7, crash, patch)
        train(settings, output_dir)
    assert run_of(output_dir).info.status == "FAILED"
    assert [step for step, _ in history(output_dir, "loss")] == [1, 2, 3, 4, 5]

    train(settings, output_dir)

    assert_same_training(output_dir, finished.output_dir)


def test_a_training_that_is_done_gives_its_result_again(
    settings: Settings, finished_copy: Path, finished: Finished
) -> None:
    (finished_copy / "model.keras").unlink()
    assert train(settings, finished_copy) == finished.returned
    assert_same_training(finished_copy, finished.output_dir)


def test_a_damaged_checkpoint_is_passed_over_and_named(
    settings: Settings, finished_copy: Path, finished: Finished, caplog: pytest.LogCaptureFixture
) -> None:
    torn = checkpoint(finished_copy, 8)
    torn.write_bytes(torn.read_bytes()[:1000])

    assert train(settings, finished_copy) == finished.returned

    assert "step-00000008.npz is damaged" in caplog.text
    assert_same_training(finished_copy, finished.output_dir)


def test_a_checkpoint_with_one_wrong_byte_is_passed_over(
    settings: Settings, finished_copy: Path, finished: Finished, caplog: pytest.LogCaptureFixture
) -> None:
    path = checkpoint(finished_copy, 8)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)

    assert train(settings, finished_copy) == finished.returned
    assert "step-00000008.npz is damaged" in caplog.text


def test_with_nothing_but_damaged_checkpoints_the_training_starts_anew(
    settings: Settings, finished_copy: Path, finished: Finished
) -> None:
    for path in (finished_copy / "checkpoints").glob("*.npz"):
        path.write_bytes(path.read_bytes()[:20])
    assert train(settings, finished_copy) == finished.returned


def test_a_checkpoint_of_another_model_is_refused(settings: Settings, finished_copy: Path) -> None:
    wider = replace(settings, model=ModelSettings(filters=8, depth=2, dropout=0.2))
    with pytest.raises(CheckpointError, match="does not fit this model"):
        train(wider, finished_copy)


def test_a_disk_that_takes_no_checkpoint_ends_the_training_with_the_last_whole_one_named(
    settings: Settings, output_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[int] = []

    def full(handle: int) -> None:
        written.append(handle)
        if len(written) > 2:  # the first checkpoint: its file, and its directory
            raise OSError(28, "No space left on device")

    with (
        monkeypatch.context() as patch,
        pytest.raises(CheckpointError, match=r"No space.*step-00000002\.npz"),
    ):
        patch.setattr("unet.checkpoints.os.fsync", full)
        train(settings, output_dir)

    assert [path.name for path in (output_dir / "checkpoints").iterdir()] == ["step-00000002.npz"]


def test_a_loss_that_is_no_number_ends_the_training_with_step_images_and_last_good_checkpoint(
    settings: Settings, output_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    states: list[TrainingState] = []

    def new_state_kept(*arguments: Any) -> TrainingState:
        states.append(new_state(*arguments))
        return states[-1]

    def poison() -> None:
        kernel = states[0].model.trainable_variables[0]
        kernel.assign(np.full(kernel.shape, np.nan))

    monkeypatch.setattr("unet.training.new_state", new_state_kept)
    when_step_is_taken(5, poison, monkeypatch)
    with pytest.raises(DivergedError, match=r"The loss of step 6 is nan.*step-00000004\.npz") as caught:
        train(settings, output_dir)

    assert "images/" in str(caught.value)
    assert "smaller lr" in str(caught.value)
    assert not checkpoint(output_dir, 6).exists()
    assert run_of(output_dir).info.status == "FAILED"


def test_the_best_validation_is_exported_and_returned(
    settings: Settings, output_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.trainer = replace(settings.trainer, steps=12, validate_every=2, keep_last=1)
    scores = dict(history_of_scores(settings, output_dir))
    best = max(scores.values())
    exported = keras.saving.load_model(output_dir / "model.keras").get_weights()
    best_step = min(step for step, score in scores.items() if score == best)
    with np.load(checkpoint(output_dir, best_step)) as kept:
        weights_of_best = [
            kept[name] for name in kept.files if name.startswith("model/") and "seed" not in name
        ]
    assert run_of(output_dir).data.metrics["best_val_miou"] == best
    assert sum(w.size for w in exported) == sum(w.size for w in weights_of_best)
    np.testing.assert_array_equal(
        np.sort(np.concatenate([w.ravel() for w in exported])),
        np.sort(np.concatenate([w.ravel() for w in weights_of_best])),
    )


def history_of_scores(settings: Settings, output_dir: Path) -> list[tuple[int, float]]:
    returned = train(settings, output_dir)
    scores = history(output_dir, "val_miou")
    assert returned == max(score for _, score in scores)
    return scores


def test_a_training_stops_when_validations_bring_nothing_better(
    settings: Settings, output_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings.lr = 1e-9  # nothing changes, so nothing gets better
    settings.model = ModelSettings(filters=4, depth=2, norm="none")
    settings.trainer = replace(settings.trainer, steps=400, validate_every=2, early_stopping=3)
    train(settings, output_dir)
    assert history(output_dir, "loss")[-1][0] == 8


def test_a_plateau_lowers_the_learning_rate(settings: Settings, output_dir: Path) -> None:
    settings.lr = 1e-9  # nothing changes, so nothing gets better
    settings.model = ModelSettings(filters=4, depth=2, norm="none")
    settings.schedule = ScheduleSettings(name="plateau", patience=1, factor=0.1)
    settings.trainer = replace(settings.trainer, steps=30, validate_every=2)
    train(settings, output_dir)
    rates = [rate for _, rate in history(output_dir, "lr")]
    assert rates[0] == pytest.approx(1e-9)
    assert rates[-1] < 0.5e-9


def test_the_average_of_the_weights_is_what_is_scored_and_exported(
    settings: Settings, output_dir: Path
) -> None:
    settings.optimizer = OptimizerSettings(ema_decay=0.9)
    settings.trainer.keep_best = 0
    assert train(settings, output_dir) == history(output_dir, "val_miou")[-1][1]
    with np.load(checkpoint(output_dir, 8)) as kept:
        averaged = {n.split("/", 2)[2]: kept[n] for n in kept.files if n.startswith("averaged/")}
        trained = {n.split("/", 2)[2]: kept[n] for n in kept.files if n.startswith("model/")}
    exported = {
        v.path: np.asarray(v.value) for v in keras.saving.load_model(output_dir / "model.keras").weights
    }
    name = next(name for name in exported if name.endswith("kernel"))
    np.testing.assert_array_equal(exported[name], averaged[name])
    assert not np.array_equal(averaged[name], trained[name])


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"trainer": {"steps_per_call": 2}}, marks=pytest.mark.slow),
        pytest.param({"trainer": {"jit_compile": True}}, marks=pytest.mark.slow),
        {"trainer": {"jit_compile": True, "steps_per_call": 2}},
        pytest.param({"trainer": {"accumulate": 2}}, marks=pytest.mark.slow),
        pytest.param({"trainer": {"precision": "bfloat16"}}, marks=pytest.mark.slow),
        {"trainer": {"precision": "float16"}},
        {"trainer": {"tensorboard": True, "profile": "3-4"}},
        pytest.param(
            {"optimizer": {"name": "sgd", "nesterov": True, "clip_norm": 1.0}}, marks=pytest.mark.slow
        ),
        pytest.param({"optimizer": {"name": "lion", "weight_decay": 1e-3}}, marks=pytest.mark.slow),
        pytest.param({"optimizer": {"name": "rmsprop"}}, marks=pytest.mark.slow),
        {"data": {"short_batches": True, "batch": 3}, "model": {"norm": "group", "norm_groups": 2}},
    ],
    ids=str,
)
def test_each_way_of_computing_learns(
    change: dict[str, dict[str, Any]], settings: Settings, output_dir: Path
) -> None:
    settings.model.dropout = 0.0
    settings.trainer = replace(
        settings.trainer, steps=40, validate_every=20, checkpoint_every=20, log_every=10
    )
    for room, values in change.items():
        setattr(settings, room, replace(getattr(settings, room), **values))
    if settings.optimizer.name in ("lion", "rmsprop"):
        settings.lr = 2e-3
    train(settings, output_dir)
    losses = [loss for _, loss in history(output_dir, "loss")]
    assert len(losses) == 40
    assert np.mean(losses[-5:]) < 0.9 * np.mean(losses[:5])


def test_several_steps_in_one_call_are_the_same_steps(
    settings: Settings, tmp_path: Path, tracking: str
) -> None:
    train(settings, tmp_path / "one")
    settings.trainer.steps_per_call = 2
    train(settings, tmp_path / "two")
    for key in ("loss", "lr"):
        one, two = history(tmp_path / "one", key), history(tmp_path / "two", key)
        assert [step for step, _ in one] == [step for step, _ in two]
        np.testing.assert_allclose([v for _, v in one], [v for _, v in two], rtol=1e-4)


def test_a_batch_in_parts_gives_the_gradient_of_the_whole(
    settings: Settings, tmp_path: Path, tracking: str
) -> None:
    # Without batch normalisation, whose statistics are those of a part, and without Dice, which is no mean over pixels.
    settings.model = ModelSettings(filters=4, depth=2, norm="none")
    settings.loss = LossSettings(dice=0.0)
    train(settings, tmp_path / "whole")
    settings.trainer.accumulate = 4
    train(settings, tmp_path / "parts")
    for key in ("loss", "grad_norm"):
        whole, parts = history(tmp_path / "whole", key), history(tmp_path / "parts", key)
        np.testing.assert_allclose([v for _, v in whole], [v for _, v in parts], rtol=2e-3)


def test_bad_data_is_refused_before_a_run_is_opened(
    settings: Settings, output_dir: Path, folder: Path
) -> None:
    (folder / "masks" / "0.png").unlink()
    with pytest.raises(DatasetError, match=r"images/0\.png has no mask"):
        train(settings, output_dir)
    assert not (output_dir / RUN_ID_FILE).exists()
    assert not (output_dir / "checkpoints").exists()
