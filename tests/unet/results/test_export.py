"""What a training leaves, on disk and in MLflow, and whether others can use it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import mlflow
import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf
from mlflow.entities import LoggedModelOutput

from tests.unet.results.pictures import Pictures, half_bright, threshold_model, threshold_settings
from unet import export
from unet.data.examples import to_float
from unet.description import Description
from unet.evaluation import Evaluator
from unet.export import in_float32, keep_results, write_model
from unet.models import build_model, with_probabilities
from unet.prediction import Predictor
from unet.settings import ModelSettings, Settings
from unet.tracking import TrackedRun

Images = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Kept:
    """The results of a training, written and recorded."""

    output_dir: Path
    run_id: str
    model: keras.Model

    @property
    def uri(self) -> str:
        return f"runs:/{self.run_id}/model"

    def probabilities(self, images: Images) -> Images:
        return np.asarray(keras.ops.softmax(self.model(images, training=False)))


def keep(output_dir: Path, settings: Settings, run_id: str | None = None) -> Kept:
    """Keep the results of the threshold model as the training loop does."""
    model, pictures = threshold_model(), Pictures([half_bright()] * 2)
    evaluations = {name: Evaluator(model, pictures, settings)() for name in ("validation", "test")}
    checkpoint = output_dir / "step-7.checkpoint"
    output_dir.mkdir(parents=True, exist_ok=True)
    checkpoint.write_bytes(b"weights")
    with mlflow.start_run(run_id=run_id) as active:
        run = TrackedRun(active.info.run_id, resumed=False, log_every=1)
        keep_results(run, model, settings, pictures, evaluations, 7, [checkpoint], output_dir)
        run.finish()
    return Kept(output_dir, active.info.run_id, model)


@pytest.fixture(scope="module")
def store(mlflow_store: str) -> Iterator[str]:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("MLFLOW_TRACKING_URI", mlflow_store)
        environment.setenv("MLFLOW_EXPERIMENT_NAME", "tests")
        yield mlflow_store


@pytest.fixture(scope="module")
def kept(store: str, tmp_path_factory: pytest.TempPathFactory) -> Kept:
    return keep(tmp_path_factory.mktemp("kept"), threshold_settings())


@pytest.fixture
def images() -> Images:
    return np.random.default_rng(3).random((2, 16, 24, 1)).astype(np.float32)


def test_keras_saved_model_and_mlflow_give_the_probabilities_of_the_trained_model(
    kept: Kept, images: Images
) -> None:
    wanted = kept.probabilities(images)
    loaded = keras.saving.load_model(kept.output_dir / "model.keras")
    served = tf.saved_model.load(str(kept.output_dir / "saved_model")).signatures["serving_default"]

    np.testing.assert_allclose(loaded(images), wanted, rtol=1e-6)
    np.testing.assert_allclose(served(images=images)["probabilities"], wanted, rtol=1e-6)
    np.testing.assert_allclose(mlflow.pyfunc.load_model(kept.uri).predict(images), wanted, rtol=1e-6)
    np.testing.assert_allclose(mlflow.tensorflow.load_model(kept.uri)(images), wanted, rtol=1e-6)


@pytest.mark.parametrize("size", [(1, 1), (3, 7), (21, 16)])
def test_the_saved_model_takes_images_of_any_size(kept: Kept, size: tuple[int, int]) -> None:
    served = tf.saved_model.load(str(kept.output_dir / "saved_model")).signatures["serving_default"]
    probabilities = served(images=np.full((1, *size, 1), 0.9, np.float32))["probabilities"]

    assert probabilities.shape == (1, *size, 2)
    assert np.asarray(probabilities)[..., 1].min() > 0.99


@pytest.mark.parametrize("padding", ["same", "valid"])
def test_the_saved_model_gives_what_a_predictor_gives(tmp_path: Path, padding: str) -> None:
    network = ModelSettings(filters=2, depth=2, padding=padding)
    settings = Settings(model=network, data=replace(threshold_settings().data, crop=64))
    exported, description = with_probabilities(build_model(network, 1, 2)), Description.of(settings, 255)
    write_model(exported, description, tmp_path)
    image = np.random.default_rng(0).integers(0, 255, (21, 14, 1)).astype(np.uint8)

    served = tf.saved_model.load(str(tmp_path / "saved_model")).signatures["serving_default"]
    probabilities = served(images=to_float(image, 255)[np.newaxis])["probabilities"]

    np.testing.assert_allclose(probabilities[0], Predictor(exported, description)(image), rtol=1e-5)


def test_the_saved_model_of_a_network_without_padding_gives_all_pixels(tmp_path: Path) -> None:
    data = replace(threshold_settings().data, crop=32)
    settings = Settings(model=ModelSettings(filters=2, depth=1, padding="valid"), data=data)
    model = build_model(settings.model, 1, 2)
    write_model(with_probabilities(model), Description.of(settings, 255), tmp_path)
    served = tf.saved_model.load(str(tmp_path / "saved_model")).signatures["serving_default"]
    image = np.random.default_rng(0).random((1, 30, 40, 1)).astype(np.float32)
    probabilities = np.asarray(served(images=image)["probabilities"])

    assert probabilities.shape == (1, 30, 40, 2)
    # The network itself leaves `margin` pixels out on each side.
    margin = settings.model.margin
    inner = np.asarray(keras.ops.softmax(model(image)))
    np.testing.assert_allclose(
        probabilities[:, margin : margin + inner.shape[1], margin : margin + inner.shape[2]], inner, rtol=1e-4
    )


def test_the_description_has_what_a_stranger_needs(kept: Kept) -> None:
    content = json.loads((kept.output_dir / "model.json").read_text())

    assert content["classes"] == ["dark", "bright"]
    assert content["mask_values"] == [0, 255]
    assert (content["channels"], content["white"]) == (1, 255)
    assert (content["size_multiple"], content["size_remainder"], content["margin"]) == (2, 0, 0)
    assert content["inference"] == {
        "tile": 64,
        "overlap": 8,
        "average": "none",
        "shifts": 1,
        "class_weights": None,
    }


def test_only_what_keras_has_built_in_is_in_the_model(kept: Kept) -> None:
    config = json.loads(keras.saving.load_model(kept.output_dir / "model.keras").to_json())

    assert {layer["module"] for layer in config["config"]["layers"]} == {"keras.layers"}


def test_a_model_trained_in_half_precision_is_kept_in_full(tmp_path: Path) -> None:
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        model = build_model(ModelSettings(filters=2, depth=1), 1, 2)
    finally:
        keras.mixed_precision.set_global_policy("float32")
    full = in_float32(model)

    assert any(layer.compute_dtype == "bfloat16" for layer in model.layers)
    assert {layer.compute_dtype for layer in full.layers} == {"float32"}
    for weight, copy in zip(model.get_weights(), full.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, copy)


def test_a_layer_of_ones_own_and_a_model_inside_a_model_are_kept_in_full_precision(tmp_path: Path) -> None:
    class Doubled(keras.layers.Layer):  # type: ignore[misc]
        def call(self, x: tf.Tensor) -> tf.Tensor:
            return 2 * x

    inner = keras.Sequential(
        [keras.Input((None, None, 1)), keras.layers.Conv2D(2, 1, dtype="mixed_bfloat16")]
    )
    inputs = keras.Input((None, None, 1))
    full = in_float32(keras.Model(inputs, Doubled(dtype="mixed_bfloat16")(inner(inputs))))

    assert type(full.layers[-1]) is Doubled
    assert {layer.compute_dtype for layer in full._flatten_layers()} == {"float32"}


@pytest.mark.parametrize("survived", range(4))
def test_a_crash_leaves_the_former_model_or_none_that_one_could_take_for_whole(
    tmp_path: Path, survived: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    former, settings = with_probabilities(threshold_model()), threshold_settings()
    description = Description.of(settings, 255)
    write_model(former, description, tmp_path)
    replaced = 0

    def crash(source: Path, target: Path) -> None:
        nonlocal replaced
        if replaced == survived:
            raise KeyboardInterrupt
        replaced += 1
        os.rename(source, target)

    monkeypatch.setattr("unet.export.os.replace", crash)
    changed = with_probabilities(threshold_model())
    changed.set_weights([-weight for weight in changed.get_weights()])
    with pytest.raises(KeyboardInterrupt):
        write_model(changed, replace(description, white=99), tmp_path)
    assert not (tmp_path / "model.json").exists()

    monkeypatch.undo()
    write_model(changed, replace(description, white=99), tmp_path)  # the attempt after
    assert Description.read(tmp_path / "model.json").white == 99
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.json", "model.keras", "saved_model"]


def test_a_crash_while_the_weights_are_written_leaves_the_former_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    description = Description.of(threshold_settings(), 255)
    write_model(with_probabilities(threshold_model()), description, tmp_path)
    before = (tmp_path / "model.keras").read_bytes()

    def crash(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(export, "_save_for_serving", crash)
    with pytest.raises(KeyboardInterrupt):
        write_model(with_probabilities(threshold_model()), replace(description, white=99), tmp_path)

    assert (tmp_path / "model.keras").read_bytes() == before
    assert Description.read(tmp_path / "model.json").white == 255


def test_mlflow_has_signature_example_labels_and_pinned_requirements(kept: Kept) -> None:
    model = mlflow.models.get_model_info(kept.uri)
    local = Path(mlflow.artifacts.download_artifacts(kept.uri))
    requirements = (local / "requirements.txt").read_text().split()

    assert model.signature.inputs.inputs[0].shape == (-1, -1, -1, 1)
    assert model.signature.outputs.inputs[0].shape == (-1, -1, -1, 2)
    assert model.metadata == json.loads((kept.output_dir / "model.json").read_text())
    assert {r.split("==")[0] for r in requirements} == {"mlflow", "tensorflow", "keras", "numpy"}
    assert all("==" in requirement for requirement in requirements)
    loaded = mlflow.pyfunc.load_model(str(local))
    assert loaded.predict(loaded.input_example).shape == (1, 64, 64, 2)


def logged_models(run_id: str) -> list[LoggedModelOutput]:
    outputs = mlflow.get_run(run_id).outputs
    return list(outputs.model_outputs) if outputs else []


def test_the_logged_model_has_its_step_and_scores(kept: Kept) -> None:
    (output,) = logged_models(kept.run_id)
    logged = mlflow.get_logged_model(output.model_id)
    metrics = {metric.key: (metric.value, metric.step) for metric in logged.metrics or ()}

    assert output.step == 7
    assert metrics["exported_val_miou"] == metrics["exported_test_accuracy"] == (1.0, 7)


def artifacts(run_id: str, folder: str = "") -> set[str]:
    return {file.path for file in mlflow.MlflowClient().list_artifacts(run_id, folder)}


def test_scores_pictures_and_checkpoint_are_artifacts(kept: Kept) -> None:
    assert artifacts(kept.run_id) >= {
        "predictions.png",
        "test_predictions.png",
        "validation_scores.csv",
        "validation_confusion.json",
        "test_scores.csv",
        "model.json",
        "model_summary.txt",
    }
    assert artifacts(kept.run_id, "checkpoint") == {"checkpoint/step-7.checkpoint"}
    assert "logits" in (kept.output_dir / "model_summary.txt").read_text()


def test_a_second_export_into_the_same_run_does_not_double_its_tables(store: str, tmp_path: Path) -> None:
    settings = threshold_settings()
    settings.tracking.model = settings.tracking.checkpoint = False
    first = keep(tmp_path, settings)
    keep(tmp_path, settings, run_id=first.run_id)
    table = mlflow.load_table("validation_scores.json", run_ids=[first.run_id])

    assert list(table["image"]) == ["picture-0", "picture-1"]
    assert artifacts(first.run_id, "checkpoint") == set()
    assert logged_models(first.run_id) == []
    assert (tmp_path / "model.keras").exists()


def test_without_held_out_images_the_model_is_kept_without_scores(store: str, tmp_path: Path) -> None:
    settings = threshold_settings()
    settings.tracking.model = False
    with mlflow.start_run() as active:
        run = TrackedRun(active.info.run_id, resumed=False, log_every=1)
        none: dict[str, Any] = {"validation": None, "test": None}
        keep_results(run, threshold_model(), settings, Pictures([half_bright()]), none, 7, [], tmp_path)
        run.finish()

    assert (tmp_path / "model.keras").exists()
    assert not (tmp_path / "predictions.png").exists()


@pytest.mark.slow
def test_mlflow_predicts_in_a_process_that_has_nothing_of_this_package(
    kept: Kept, images: Images, tmp_path: Path
) -> None:
    (tmp_path / "unet.py").write_text("raise ImportError('this package is not to be needed')\n")
    request = tmp_path / "request.json"
    request.write_text(json.dumps({"inputs": images.tolist()}))
    command = [sys.executable, "-m", "mlflow", "models", "predict", "-m", kept.uri]
    command += [
        "--env-manager",
        "local",
        "-i",
        str(request),
        "-t",
        "json",
        "-o",
        str(tmp_path / "answer.json"),
    ]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stderr
    answer = json.loads((tmp_path / "answer.json").read_text())["predictions"]
    np.testing.assert_allclose(answer, kept.probabilities(images), rtol=1e-5)
