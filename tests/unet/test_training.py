"""Whole trainings: what they return, record and leave, and how they go on after an end that nobody wanted."""

from __future__ import annotations

import os
import shutil
import signal
from dataclasses import dataclass, replace
from pathlib import Path

import keras
import mlflow
import numpy as np
import numpy.typing as npt
import pytest
from mlflow.entities import Run
from PIL import Image

from tests.unet.conftest import SteppingClock, make_folder, make_settings
from unet.errors import CheckpointError, DatasetError, Preempted
from unet.settings import ModelSettings, Settings, TrackingSettings
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


def sigterm_at(reading: int) -> SteppingClock:
    """A clock that sends this process a SIGTERM at one of its readings: one a step, a few elsewhere."""
    return SteppingClock(lambda count: os.kill(os.getpid(), signal.SIGTERM) if count == reading else None)


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
        "checkpoint/step-8.data-00000-of-00001",
        "checkpoint/step-8.index",
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
    settings: Settings, output_dir: Path, finished: Finished
) -> None:
    before = signal.getsignal(signal.SIGTERM)

    with pytest.raises(Preempted, match="of 8 is saved") as caught:
        train(settings, output_dir, clock=sigterm_at(8))

    assert caught.value.code == 143
    assert signal.getsignal(signal.SIGTERM) is before
    interrupted = run_of(output_dir)
    assert interrupted.info.status == "KILLED"
    assert not (output_dir / "model.keras").exists()
    assert [step for step, _ in history(output_dir, "loss")] == [1, 2, 3, 4, 5]
    assert (output_dir / "checkpoints" / "step-5.index").exists()

    assert train(settings, output_dir) == finished.returned

    assert run_of(output_dir).info.run_id == interrupted.info.run_id
    assert run_of(output_dir).info.status == "FINISHED"
    assert_same_training(output_dir, finished.output_dir)


def test_after_a_crash_steps_since_the_checkpoint_are_taken_again_and_recorded_once(
    settings: Settings, output_dir: Path, finished: Finished
) -> None:
    settings.trainer.checkpoint_every = 4

    def crash(reading: int) -> None:
        if reading == 11:  # when step 7 is recorded
            raise RuntimeError("the machine is gone")

    with pytest.raises(RuntimeError, match="the machine is gone"):
        train(settings, output_dir, clock=SteppingClock(crash))
    assert run_of(output_dir).info.status == "FAILED"
    assert [step for step, _ in history(output_dir, "loss")] == [1, 2, 3, 4, 5, 6]

    train(settings, output_dir)

    assert_same_training(output_dir, finished.output_dir)


def test_a_training_that_is_done_gives_its_result_again(
    settings: Settings, finished_copy: Path, finished: Finished
) -> None:
    (finished_copy / "model.keras").unlink()
    assert train(settings, finished_copy) == finished.returned
    assert_same_training(finished_copy, finished.output_dir)


def test_only_the_last_checkpoints_are_kept(finished: Finished) -> None:
    kept = {path.stem for path in (finished.output_dir / "checkpoints").glob("step-*.index")}
    assert kept == {"step-4", "step-6", "step-8"}


def test_a_damaged_checkpoint_is_passed_over_and_named(
    settings: Settings, finished_copy: Path, finished: Finished, caplog: pytest.LogCaptureFixture
) -> None:
    torn = finished_copy / "checkpoints" / "step-8.data-00000-of-00001"
    torn.write_bytes(torn.read_bytes()[:1000])

    assert train(settings, finished_copy) == finished.returned

    assert "checkpoints/step-8 is damaged" in caplog.text
    assert_same_training(finished_copy, finished.output_dir)


def test_with_nothing_but_damaged_checkpoints_the_training_starts_anew(
    settings: Settings, finished_copy: Path, finished: Finished
) -> None:
    for index in (finished_copy / "checkpoints").glob("*.index"):
        index.write_bytes(index.read_bytes()[:20])
    assert train(settings, finished_copy) == finished.returned


def test_a_checkpoint_is_found_without_tensorflows_list_of_them(
    settings: Settings, finished_copy: Path, finished: Finished, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    (finished_copy / "checkpoints" / "checkpoint").unlink()
    assert train(settings, finished_copy) == finished.returned
    assert "Going on from step 8" in caplog.text


def test_a_checkpoint_of_another_model_is_refused(settings: Settings, finished_copy: Path) -> None:
    wider = replace(settings, model=ModelSettings(filters=8, depth=2))
    with pytest.raises(CheckpointError, match="does not fit this model"):
        train(wider, finished_copy)


def test_bad_data_is_refused_before_a_run_is_opened(
    settings: Settings, output_dir: Path, folder: Path
) -> None:
    (folder / "masks" / "0.png").unlink()
    with pytest.raises(DatasetError, match=r"images/0\.png has no mask"):
        train(settings, output_dir)
    assert not (output_dir / RUN_ID_FILE).exists()
    assert not (output_dir / "checkpoints").exists()
