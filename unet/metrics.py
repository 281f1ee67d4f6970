"""How good a segmentation is. Counted in integers, divided in float64: right for any number of pixels."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import tensorflow as tf

Counts = npt.NDArray[np.int64]
"""int64 [classes, classes]: how many pixels of the row's class were taken for the column's."""


def confusion(masks: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Counts of (true class, predicted class) as int64 [classes, classes].

    Args:
        masks: integers [batch, height, width].
        logits: [batch, height, width, classes].
    """
    classes = logits.shape[-1]
    truth = tf.reshape(tf.cast(masks, tf.int64), [-1])
    predicted = tf.reshape(tf.argmax(logits, axis=-1), [-1])
    counts = tf.math.bincount(
        truth * classes + predicted, minlength=classes**2, maxlength=classes**2, dtype=tf.int64
    )
    return tf.reshape(counts, [classes, classes])


def pixel_accuracy(masks: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Share of pixels whose class is right, for the compiled step: float32 []."""
    return tf.reduce_mean(tf.cast(tf.equal(tf.argmax(logits, -1), tf.cast(masks, tf.int64)), tf.float32))


@dataclass(frozen=True)
class Scores:
    """What a confusion matrix says."""

    pixel_accuracy: float
    mean_iou: float
    """Mean over the classes that occur, in truth or in prediction, of intersection over union."""
    class_iou: tuple[float, ...]
    """Intersection over union of each class; nan for one that does not occur."""

    @classmethod
    def of(cls, counts: Counts) -> "Scores":
        """Scores of a confusion matrix that has counted at least one pixel."""
        hits = np.diag(counts).astype(np.float64)
        unions = (counts.sum(axis=0) + counts.sum(axis=1)).astype(np.float64) - hits
        class_iou = np.divide(hits, unions, out=np.full_like(hits, np.nan), where=unions > 0)
        return cls(
            pixel_accuracy=float(hits.sum() / counts.sum()),
            mean_iou=float(np.nanmean(class_iou)),
            class_iou=tuple(float(iou) for iou in class_iou),
        )
