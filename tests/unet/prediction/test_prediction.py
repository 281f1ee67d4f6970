"""A trained model on new images, wherever it is loaded from."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import keras
import mlflow
import numpy as np
import numpy.typing as npt
import pytest

from tests.unet.results.pictures import half_bright, threshold_model, threshold_settings
from unet.description import Description, ModelError
from unet.export import write_model
from unet.models import with_probabilities
from unet.prediction import Predictor
from unet.settings import InferenceSettings

DESCRIPTION = Description.of(threshold_settings(), 255)


@pytest.fixture(scope="module")
def output_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a training has left."""
    path = tmp_path_factory.mktemp("training")
    write_model(with_probabilities(threshold_model()), DESCRIPTION, path)
    return path


@pytest.fixture
def copy(output_dir: Path, tmp_path: Path) -> Path:
    """The same, to be damaged."""
    return Path(shutil.copytree(output_dir, tmp_path / "copy"))


def predictor(**changes: object) -> Predictor:
    return Predictor(with_probabilities(threshold_model()), replace(DESCRIPTION, **changes))  # type: ignore[arg-type]


def test_an_output_directory_and_the_file_in_it_are_the_same_model(output_dir: Path) -> None:
    example = half_bright()
    for source in (output_dir, output_dir / "model.keras"):
        loaded = Predictor.load(str(source))
        np.testing.assert_array_equal(loaded.classes_of(example.image), example.mask)
        assert loaded.description == DESCRIPTION


def test_a_model_of_mlflow_is_loaded_by_its_uri_or_its_directory(
    tracking: str, output_dir: Path, tmp_path: Path
) -> None:
    model = keras.saving.load_model(output_dir / "model.keras")
    with mlflow.start_run() as run:
        mlflow.tensorflow.log_model(
            model, name="model", metadata=DESCRIPTION.to_dict(), pip_requirements=["tensorflow"]
        )
    uri = f"runs:/{run.info.run_id}/model"
    local = mlflow.artifacts.download_artifacts(uri, dst_path=str(tmp_path))

    for source in (uri, local):
        loaded = Predictor.load(source)
        assert loaded.description == DESCRIPTION
        assert loaded.digest == Predictor.load(str(output_dir)).digest


def test_a_run_that_mlflow_does_not_know_is_named(tracking: str) -> None:
    with pytest.raises(ModelError, match=r"does not give the model runs:/0123/model .*MLFLOW_TRACKING_URI"):
        Predictor.load("runs:/0123/model")


def test_a_foreign_model_of_mlflow_is_refused(tracking: str) -> None:
    with mlflow.start_run() as run:
        mlflow.tensorflow.log_model(threshold_model(), name="model", pip_requirements=["tensorflow"])
    with pytest.raises(ModelError, match="not one that this package has trained"):
        Predictor.load(f"runs:/{run.info.run_id}/model")


def test_a_path_that_is_not_there_is_named_with_what_a_model_is() -> None:
    with pytest.raises(ModelError, match=r"There is no outputs/lost\. A model is the output directory"):
        Predictor.load("outputs/lost")


def test_a_training_that_has_not_ended_says_so(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(ModelError, match="has not come to its end"):
        Predictor.load(str(tmp_path))


def test_a_directory_of_something_else_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"neither a model\.keras nor an MLmodel"):
        Predictor.load(str(tmp_path))


def test_a_model_without_its_description_is_refused(copy: Path) -> None:
    (copy / "model.json").unlink()
    with pytest.raises(ModelError, match=r"has no model\.json beside it"):
        Predictor.load(str(copy))


@pytest.mark.parametrize("content", [b"PK\x03\x04torn", b""])
def test_a_torn_model_is_named(copy: Path, content: bytes) -> None:
    (copy / "model.keras").write_bytes(content)
    with pytest.raises(ModelError, match=r"model\.keras cannot be loaded"):
        Predictor.load(str(copy))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("{", "cannot be read"),
        ("[]", "does not describe a model"),
        ('{"format": 1}', "does not describe a model"),
        ('{"format": 2}', "has format 2, and this version reads format 1"),
    ],
)
def test_a_description_that_makes_no_sense_is_named(copy: Path, change: str, message: str) -> None:
    (copy / "model.json").write_text(change)
    with pytest.raises(ModelError, match=rf"model\.json {message}"):
        Predictor.load(str(copy))


def test_the_description_comes_back_from_json() -> None:
    described = replace(
        DESCRIPTION, classes=("sky", "Bäume"), resize=99, inference=InferenceSettings(average="turns")
    )

    assert Description.from_dict(json.loads(json.dumps(described.to_dict())), "it") == described


def test_an_array_with_other_channels_is_refused() -> None:
    with pytest.raises(ValueError, match=r"shape \[20, 24, 3\]; the model takes \[height, width, 1\]: grey"):
        predictor()(half_bright(channels=3).image)


def test_a_grey_image_needs_no_axis_of_channels() -> None:
    example = half_bright()
    np.testing.assert_array_equal(predictor().classes_of(example.image[..., 0]), example.mask)


def test_16_bit_images_are_taken_by_a_model_that_was_trained_on_8_bit() -> None:
    example = half_bright()
    deep = example.image.astype(np.uint16) * np.uint16(257)

    np.testing.assert_array_equal(predictor()(deep), predictor()(example.image))


@pytest.mark.parametrize(
    ("max_value", "dtype", "white"),
    [
        (None, np.uint8, 255),
        (None, np.uint16, 65535),
        (4095, np.uint16, 4095),
        (4095, np.uint8, 4095 / 257),
        (200, np.uint8, 200),
        (200, np.uint16, 200),
        (None, np.float32, 65535),
    ],
)
def test_white_is_what_it_was_in_the_training(max_value: float | None, dtype: type, white: float) -> None:
    described = replace(DESCRIPTION, max_value=max_value, white=max_value or 65535)
    assert described.white_of(dtype) == pytest.approx(white)


def test_images_are_scaled_as_in_the_training_and_masks_back(monkeypatch: pytest.MonkeyPatch) -> None:
    small = predictor(resize=20)
    seen, segment = [], small._segmenter

    def watched(image: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        seen.append(image.shape)
        return segment(image)

    monkeypatch.setattr(small, "_segmenter", watched)
    large = half_bright(80, 96, 48)

    np.testing.assert_array_equal(small.classes_of(large.image), large.mask)
    assert seen == [(20, 24, 1)]
    assert small(large.image).sum(axis=-1) == pytest.approx(1, abs=1e-5)


def test_the_digest_tells_weights_apart() -> None:
    one, other = with_probabilities(threshold_model()), with_probabilities(threshold_model())
    assert Predictor(one, DESCRIPTION).digest == Predictor(other, DESCRIPTION).digest
    other.set_weights([weight + 1e-6 for weight in other.get_weights()])
    assert Predictor(one, DESCRIPTION).digest != Predictor(other, DESCRIPTION).digest
