"""What a training leaves: the model for others to use, its scores, a picture of what it does."""

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import mlflow
import numpy as np
import tensorflow as tf
from mlflow.utils.mlflow_tags import MLFLOW_LOGGED_ARTIFACTS

from unet.data.examples import Examples, to_float
from unet.description import DESCRIPTION_FILE, Description
from unet.evaluation import Evaluation
from unet.mlflow_model import PIP_REQUIREMENTS, signature_of
from unet.models import summary_text, with_probabilities
from unet.notes import without_notes
from unet.prediction import MODEL_FILE
from unet.settings import Settings
from unet.sheet import save_prediction_sheet
from unet.table import as_json, score_table, write_confusion, write_csv
from unet.tracking import TrackedRun

SAVED_MODEL = "saved_model"

_UNFINISHED = ".export"
_EXAMPLE_SIDE = 64


def keep_results(
    run: TrackedRun,
    model: keras.Model,
    settings: Settings,
    training: Examples,
    evaluations: Mapping[str, Evaluation | None],
    step: int,
    checkpoint: Sequence[Path],
    output_dir: Path,
) -> None:
    """Write model, scores and pictures into `output_dir`, and record them in MLflow, in its active run.

    Args:
        model: the one to keep; gives logits.
        training: images like those that the model is for; the model's input example is cut from the first.
        evaluations: what the model scores on "validation" and "test"; None where there are no such images.
        step: the training step that the weights are of.
        checkpoint: the files of the checkpoint that the weights are from.
    """
    description = Description.of(settings, training.white)
    exported = in_float32(with_probabilities(model))
    write_model(exported, description, output_dir)
    summary = output_dir / "model_summary.txt"
    summary.write_text(summary_text(model), encoding="utf-8")
    files = [summary, output_dir / DESCRIPTION_FILE]
    scored = {name: evaluation for name, evaluation in evaluations.items() if evaluation is not None}
    for number, (name, evaluation) in enumerate(scored.items()):
        sheet = output_dir / ("predictions.png" if number == 0 else f"{name}_predictions.png")
        save_prediction_sheet(evaluation, sheet)
        files += [sheet, *_write_scores(name, evaluation, output_dir)]

    for file in files:
        run.log_artifact(file)
    if settings.tracking.checkpoint:
        for file in checkpoint:
            run.log_artifact(file, "checkpoint")
    _mark_tables(run.run_id, [_table_file(name) for name in scored])
    if settings.tracking.model:
        example = _input_example(training, description)
        metrics: dict[str, float] = {}
        for name, evaluation in scored.items():
            metrics |= evaluation.metrics("exported_val_" if name == "validation" else f"exported_{name}_")
        _log_model(exported, description, example, step, metrics)


def write_model(exported: keras.Model, description: Description, output_dir: Path) -> None:
    """Write model.keras, saved_model/ and model.json.

    model.json is taken away first and put back last: where it is, it fits the model beside it, whenever the process
    is killed.

    Args:
        exported: gives probabilities.
    """
    unfinished = output_dir / _UNFINISHED
    shutil.rmtree(unfinished, ignore_errors=True)  # of an attempt that was killed
    unfinished.mkdir(parents=True)
    exported.save(unfinished / MODEL_FILE)
    _save_for_serving(exported, description, unfinished / SAVED_MODEL)
    description.write(unfinished / DESCRIPTION_FILE)

    (output_dir / DESCRIPTION_FILE).unlink(missing_ok=True)
    os.replace(unfinished / MODEL_FILE, output_dir / MODEL_FILE)
    if (output_dir / SAVED_MODEL).exists():
        os.replace(
            output_dir / SAVED_MODEL, unfinished / "former"
        )  # a directory that is full cannot be replaced
    os.replace(unfinished / SAVED_MODEL, output_dir / SAVED_MODEL)
    os.replace(unfinished / DESCRIPTION_FILE, output_dir / DESCRIPTION_FILE)
    shutil.rmtree(unfinished)


def in_float32(model: keras.Model) -> keras.Model:
    """A copy that computes in float32, whatever precision the model was trained in.

    Half precision is for the accelerator of the training: a CPU is slow in it, or does not have it at all. The copy
    has its own weights, on one device.
    """

    def in_full(layer: keras.Layer) -> keras.Layer:
        return type(layer).from_config(_without_half_precision(layer.get_config()))

    copy = keras.models.clone_model(model, clone_function=in_full, recursive=True)
    copy.set_weights(model.get_weights())
    return copy


def _without_half_precision(config: Any) -> Any:
    if isinstance(config, dict):
        if config.get("class_name") == "DTypePolicy":
            return {**config, "config": {"name": "float32"}}
        return {key: _without_half_precision(value) for key, value in config.items()}
    if isinstance(config, list | tuple):
        return type(config)(_without_half_precision(value) for value in config)
    return config


def _save_for_serving(exported: keras.Model, description: Description, path: Path) -> None:
    """A SavedModel for images of any size: `images` to `probabilities` of the same height and width."""
    signature = tf.TensorSpec([None, None, None, description.channels], tf.float32, name="images")

    def serve(images: tf.Tensor) -> dict[str, tf.Tensor]:
        height, width = tf.shape(images)[1], tf.shape(images)[2]
        for axis, size in ((1, height), (2, width)):
            images = tf.gather(images, _mirrored(size, description), axis=axis)
        return {"probabilities": exported(images, training=False)[:, :height, :width]}

    archive = keras.export.ExportArchive()
    archive.track(exported)
    archive.add_endpoint("serve", serve, input_signature=[signature])
    with without_notes(tf.get_logger()):  # of a path that is another one a moment later
        archive.write_out(str(path), verbose=False)


def _mirrored(size: tf.Tensor, description: Description) -> tf.Tensor:
    """Which pixels along an axis the network is shown, as in unet/tiles.py: beyond the border the mirrored ones."""
    margin = description.margin
    more = (description.size_remainder - size - 2 * margin) % description.size_multiple
    period = tf.maximum(2 * (size - 1), 1)
    places = tf.range(-margin, size + margin + more) % period
    return tf.minimum(places, period - places)


def _write_scores(name: str, evaluation: Evaluation, output_dir: Path) -> list[Path]:
    table = score_table(evaluation)
    for_people, for_mlflow = output_dir / f"{name}_scores.csv", output_dir / _table_file(name)
    confusion = output_dir / f"{name}_confusion.json"
    write_csv(table, for_people)
    for_mlflow.write_text(as_json(table), encoding="utf-8")
    write_confusion(evaluation, confusion)
    return [for_people, for_mlflow, confusion]


def _table_file(name: str) -> str:
    return f"{name}_scores.json"


def _mark_tables(run_id: str, tables: Sequence[str]) -> None:
    """Tell MLflow that these artifacts are tables, as `mlflow.log_table` would.

    That function itself adds to a table that is there: a training that went on after its export would have each
    image twice.
    """
    marks = [{"path": table, "type": "table"} for table in tables]
    mlflow.MlflowClient().set_tag(run_id, MLFLOW_LOGGED_ARTIFACTS, json.dumps(marks))


def _input_example(training: Examples, description: Description) -> np.ndarray[Any, np.dtype[np.float32]]:
    """The smallest piece of the first image that the network takes and a person sees something in."""
    image = to_float(training.read(0).image, training.white)
    least = max(_EXAMPLE_SIDE, 2 * description.margin + 1)
    side = least + (description.size_remainder - least) % description.size_multiple
    for axis in (0, 1):
        image = np.take(image, range(side), axis=axis, mode="wrap")
    return image[np.newaxis]


def _log_model(
    exported: keras.Model,
    description: Description,
    example: np.ndarray[Any, np.dtype[np.float32]],
    step: int,
    metrics: Mapping[str, float],
) -> None:
    """Record the model in the active MLflow run, so that `mlflow models serve` needs nothing of this package."""
    logged = mlflow.tensorflow.log_model(
        exported,
        name="model",
        signature=signature_of(description),
        input_example=example,
        pip_requirements=PIP_REQUIREMENTS,
        metadata=description.to_dict(),
        step=step,
    )
    mlflow.log_metrics(dict(metrics), step=step, model_id=logged.model_id)
