"""A trained model on new images of any size, wherever the model lies.

predictor = Predictor.load("runs:/<run>/model")
classes = predictor.classes_of(pixels)  # uint8 [height, width]
"""

import re
from hashlib import sha256
from pathlib import Path

import keras
import numpy as np
import numpy.typing as npt
from PIL import Image

from unet.data.examples import Classes, Example, Pixels, to_float
from unet.data.reading import resized
from unet.description import DESCRIPTION_FILE, Description, ModelError
from unet.settings import InferenceSettings
from unet.tiles import Segmenter

MODEL_FILE = "model.keras"

_MLFLOW_MODEL = "MLmodel"
# Two letters at least: C:/models is a path.
_URI = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]+:/")


class Predictor:
    """A model that gives probabilities, with what one has to know of it.

    Args:
        inference: how it looks at images larger than a tile; None = as in the validation of its training.
    """

    def __init__(
        self, model: keras.Model, description: Description, inference: InferenceSettings | None = None
    ) -> None:
        self.description = description
        self.inference = inference or description.inference
        self._model = model
        self._segmenter = Segmenter(
            model,
            self.inference,
            description.size_multiple,
            description.size_remainder,
            description.margin,
        )

    @classmethod
    def load(cls, source: str, inference: InferenceSettings | None = None) -> "Predictor":
        """The model that a training has left.

        Args:
            source: an MLflow URI (`runs:/<run>/model`, `models:/<name>/<version>`), a directory with an MLflow model,
                the output directory of a training, or the model.keras in it.

        Raises:
            ModelError: there is no such model, or it is not one of this package's trainings.
        """
        return cls(*load_model(source), inference)

    def __call__(self, image: Pixels) -> npt.NDArray[np.float32]:
        """Probabilities float32 [height, width, classes].

        Args:
            image: [height, width, channels], or [height, width] for a model of grey images.

        Raises:
            ValueError: the image has another number of channels than the model takes.
        """
        if image.ndim == 2:
            image = image[..., np.newaxis]
        channels = self.description.channels
        if image.ndim != 3 or image.shape[-1] != channels or 0 in image.shape:
            raise ValueError(
                f"an image of shape {list(image.shape)}; the model takes [height, width, {channels}]: "
                + ("grey" if channels == 1 else "colour")
            )
        white, shorter = self.description.white_of(image.dtype), self.description.resize
        if not shorter:
            return self._segmenter(to_float(image, white))
        size = image.shape[:2]
        scaled = resized(Example(image, np.zeros(size, np.uint8)), shorter).image
        return _resized_back(self._segmenter(to_float(scaled, white)), *size)

    def classes_of(self, image: Pixels) -> Classes:
        """The most probable class of each pixel, as its index in `description.classes`: uint8 [height, width]."""
        classes: Classes = np.argmax(self(image), axis=-1).astype(np.uint8)
        return classes

    @property
    def digest(self) -> str:
        """The same for the same weights, and for no others."""
        total = sha256()
        for weight in self._model.get_weights():
            total.update(np.ascontiguousarray(weight).tobytes())
        return total.hexdigest()


def _resized_back(probabilities: npt.NDArray[np.float32], height: int, width: int) -> npt.NDArray[np.float32]:
    if probabilities.shape[:2] == (height, width):
        return probabilities
    planes = [
        np.asarray(Image.fromarray(plane).resize((width, height), Image.Resampling.BILINEAR))
        for plane in np.moveaxis(probabilities, -1, 0)
    ]
    return np.stack(planes, axis=-1)


def load_model(source: str) -> tuple[keras.Model, Description]:
    """A model that gives probabilities, with its description; for `source` see `Predictor.load`.

    Raises:
        ModelError: there is no such model, or it is not one of this package's trainings.
    """
    path = Path(source)
    if _URI.match(source) or (path / _MLFLOW_MODEL).is_file():
        return _from_mlflow(source)
    if path.is_dir():
        path = path / MODEL_FILE
    description = path.parent / DESCRIPTION_FILE
    if not path.is_file():
        raise ModelError(_missing(source, path))
    if not description.is_file():
        raise ModelError(
            f"{path} has no {DESCRIPTION_FILE} beside it, which says how it was trained. A training writes both; "
            "one that was interrupted meanwhile does so when it is started again with the same output directory."
        )
    try:
        return keras.saving.load_model(path, compile=False), Description.read(description)
    except (ValueError, OSError, TypeError) as error:
        raise ModelError(f"{path} cannot be loaded as a Keras model ({error}).") from error


def _missing(source: str, path: Path) -> str:
    if not Path(source).exists():
        return (
            f"There is no {source}. A model is the output directory of a training, the {MODEL_FILE} in it, or an "
            "MLflow URI such as runs:/<run>/model."
        )
    if (path.parent / "checkpoints").is_dir():
        return (
            f"The training in {source} has not come to its end: there are checkpoints and no {MODEL_FILE}. Started "
            f"again with this output directory, it goes on."
        )
    return f"There is no model in {source}: neither a {MODEL_FILE} nor an {_MLFLOW_MODEL} of MLflow."


def _from_mlflow(uri: str) -> tuple[keras.Model, Description]:
    # Late: MLflow takes seconds to import, and a local model does without.
    import mlflow
    from mlflow.exceptions import MlflowException

    try:
        metadata = mlflow.models.get_model_info(uri).metadata
        if not metadata:
            raise ModelError(f"The model {uri} is not one that this package has trained: it has no metadata.")
        description = Description.from_dict(metadata, f"The metadata of the model {uri}")
        return mlflow.tensorflow.load_model(uri, keras_model_kwargs={"compile": False}), description
    except (MlflowException, OSError) as error:
        raise ModelError(
            f"MLflow at {mlflow.get_tracking_uri()} does not give the model {uri} ({error}). "
            "MLFLOW_TRACKING_URI says where the records of the training are."
        ) from error
