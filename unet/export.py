"""What a training leaves: the model as others use it, a picture of predictions, the last checkpoint."""

from collections.abc import Sequence
from pathlib import Path

import keras
import mlflow
import numpy as np
import tensorflow as tf
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec

from unet.data_folder import Dataset
from unet.evaluation import Evaluation, to_float
from unet.model import with_probabilities
from unet.settings import Settings
from unet.sheet import save_prediction_sheet
from unet.tracking import TrackedRun


def keep_results(
    run: TrackedRun,
    model: keras.Model,
    dataset: Dataset,
    evaluation: Evaluation,
    checkpoint: Sequence[Path],
    settings: Settings,
    output_dir: Path,
) -> None:
    """Write model.keras and predictions.png into `output_dir`; record both and the checkpoint in MLflow."""
    sheet = output_dir / "predictions.png"
    save_prediction_sheet(dataset.holdout, evaluation.segmentations, len(settings.data.classes), sheet)
    run.log_artifact(sheet)
    if settings.tracking.checkpoint:
        for file in checkpoint:
            run.log_artifact(file, "checkpoint")
    exported = with_probabilities(model)
    exported.save(output_dir / "model.keras")
    if settings.tracking.model:
        _log_model(exported, settings, dataset)


def _log_model(exported: keras.Model, settings: Settings, dataset: Dataset) -> None:
    """Record the model in the active MLflow run, with signature, input example and required versions."""
    shape = (-1, -1, -1, settings.data.channels)
    probabilities = (-1, -1, -1, len(settings.data.classes))
    size = settings.data.crop
    mlflow.tensorflow.log_model(
        exported,
        name="model",
        signature=ModelSignature(
            inputs=Schema([TensorSpec(np.dtype(np.float32), shape)]),
            outputs=Schema([TensorSpec(np.dtype(np.float32), probabilities)]),
        ),
        input_example=to_float(dataset.training.images[0][:size, :size])[np.newaxis],
        # MLflow would find them out by loading the model in another process, which takes half a minute.
        pip_requirements=[
            f"tensorflow=={tf.__version__}",
            f"keras=={keras.__version__}",
            f"numpy=={np.__version__}",
        ],
        metadata={
            "classes": list(settings.data.classes),
            "size_multiple": settings.model.size_multiple,
        },
    )
