"""The network of a checkpoint as a directory that MLflow loads a model from, written by NumPy alone.

A training that is under way has TensorFlow for itself. So TensorFlow writes one such directory before the first step,
and afterwards a thread puts the weights of a checkpoint into copies of it.
"""

import io
import json
import logging
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import h5py
import mlflow
import numpy as np
import tensorflow as tf
from mlflow.models import Model

from unet.description import Description
from unet.export import in_float32
from unet.mlflow_model import PIP_REQUIREMENTS, signature_of
from unet.models import with_probabilities
from unet.notes import without_notes
from unet.state import NOTES, Notes, TrainingState

_KERAS_FILE = Path("data", "model.keras")
_WEIGHTS = "model.weights.h5"
_DESCRIBED = "MLmodel"


class ModelFiles:
    """A model holds what an export of the checkpoint would: the weights that are validated, in float32, with class
    probabilities as output. Optimizer and random generators are in the checkpoint alone.
    """

    def __init__(self, state: TrainingState, description: Description) -> None:
        names = {id(value): name for name, value in state.variables().items()}
        with tempfile.TemporaryDirectory(prefix="unet-model-") as folder:
            pattern = Path(folder, "pattern")
            _write_pattern(state, description, pattern)
            with zipfile.ZipFile(pattern / _KERAS_FILE) as archive:
                self._members = {name: archive.read(name) for name in archive.namelist()}
            (pattern / _KERAS_FILE).unlink()
            files = (path for path in pattern.rglob("*") if path.is_file())
            self._others = {path.relative_to(pattern): path.read_bytes() for path in files}
        of_weights = [names[id(weight.value)] for weight in state.averaged.weights]
        self._names = _names_of_arrays(self._members[_WEIGHTS], of_weights)

    def write(self, checkpoint: Path, folder: Path, run_id: str) -> Notes:
        """Write the model of a checkpoint's file into `folder`, and return the checkpoint's notes."""
        with checkpoint.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            notes = Notes(**json.loads(str(file[NOTES])))
            arrays = {place: file[name] for place, name in self._names.items()}
        for path, other in self._others.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(other)
        content = io.BytesIO(self._members[_WEIGHTS])
        with h5py.File(content, "r+") as weights:
            for place, array in arrays.items():
                weights[place][...] = array
        with zipfile.ZipFile(folder / _KERAS_FILE, "w") as archive:
            for name, member in self._members.items():
                archive.writestr(name, content.getbuffer() if name == _WEIGHTS else member)
        described = Model.load(str(folder / _DESCRIBED))
        described.run_id = run_id
        described.save(str(folder / _DESCRIBED))
        return notes


def _write_pattern(state: TrainingState, description: Description, folder: Path) -> None:
    """A model as MLflow saves it, each of whose weights is filled with the weight's number.

    Which array of its file is which weight, nothing tells but the content.
    """
    # Without pip in the environment MLflow would warn, as it does once more at the export.
    quiet = without_notes(logging.getLogger("mlflow.utils.environment"), logging.ERROR)
    with tf.device("CPU:0"), quiet:
        model = in_float32(with_probabilities(state.averaged))
        model.set_weights(
            [np.full(weight.shape, number, weight.dtype) for number, weight in enumerate(model.weights)]
        )
        mlflow.tensorflow.save_model(
            model,
            str(folder),
            signature=signature_of(description),
            pip_requirements=PIP_REQUIREMENTS,
            metadata=description.to_dict(),
        )


def _names_of_arrays(weights: bytes, of_weights: list[str]) -> dict[str, str]:
    """The name that each weight has in a checkpoint, by its place in a file of weights that are their own numbers."""
    names: dict[str, str] = {}

    def look(place: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and "seed_generator" not in place and item.size:
            names[place] = of_weights[int(np.ravel(item[()])[0])]

    with h5py.File(io.BytesIO(weights), "r") as file:
        file.visititems(look)
    if sorted(names.values()) != sorted(of_weights):
        raise AssertionError("Keras has written the weights of the model in a way that is not known.")
    return names
