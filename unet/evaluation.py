"""The model on whole images, whatever their size."""

from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from unet.data_folder import LabelledImages, Pixels
from unet.metrics import Scores, confusion

Segmentation = npt.NDArray[np.uint8]
"""uint8 [height, width]: the index of the class of each pixel."""


@dataclass(frozen=True)
class Evaluation:
    """Scores over all held-out pixels together, and what the model made of each image."""

    scores: Scores
    segmentations: tuple[Segmentation, ...]


Evaluate = Callable[[], Evaluation]


def compile_evaluation(model: keras.Model, holdout: LabelledImages, size_multiple: int) -> Evaluate:
    """A function that scores the model as it is now on whole held-out images."""

    @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator]
    def segment(image: tf.Tensor, mask: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        logits = whole_image_logits(model, image, size_multiple)
        return confusion(mask[tf.newaxis], logits), tf.cast(tf.argmax(logits[0], axis=-1), tf.uint8)

    def evaluate() -> Evaluation:
        results = [
            segment(tf.constant(to_float(image)), tf.constant(mask))
            for image, mask in zip(holdout.images, holdout.masks, strict=True)
        ]
        counts = np.sum([counts.numpy() for counts, _ in results], axis=0)
        return Evaluation(Scores.of(counts), tuple(segmentation.numpy() for _, segmentation in results))

    return evaluate


def whole_image_logits(model: keras.Model, image: tf.Tensor, size_multiple: int) -> tf.Tensor:
    """Logits of one image: mirrored at its lower and right border to a size the model takes, and cut back.

    Args:
        image: float32 [height, width, channels] in [0, 1].

    Returns float32 [1, height, width, classes].
    """
    height, width = tf.shape(image)[0], tf.shape(image)[1]
    padded = tf.pad(
        image, [[0, -height % size_multiple], [0, -width % size_multiple], [0, 0]], mode="SYMMETRIC"
    )
    logits = model(padded[tf.newaxis], training=False)
    return logits[:, :height, :width]


def to_float(image: Pixels) -> npt.NDArray[np.float32]:
    """8-bit pixels as float32 in [0, 1]: what the model takes."""
    return np.divide(image, 255, dtype=np.float32)
