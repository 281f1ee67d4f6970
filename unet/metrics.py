"""How good a segmentation is. Counted in integers, divided in float64: right for any number of pixels."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from unet.data.examples import IGNORED

Counts = npt.NDArray[np.int64]
"""int64 [classes, classes]: how many pixels of the row's class were taken for the column's."""

_Floats = npt.NDArray[np.float64]


def confusion(masks: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Counts of (true class, predicted class) as int64 [classes, classes], without ignored pixels.

    Those of parts of a batch, of devices and of batches simply add up.

    Args:
        masks: integers [batch, height, width], classes or IGNORED.
        logits: [batch, height, width, classes], or probabilities.
    """
    classes = logits.shape[-1]
    truth, predicted = tf.cast(masks, tf.int32), tf.argmax(logits, axis=-1, output_type=tf.int32)
    # Not tf.math.bincount, which XLA cannot compile for every number of classes. A negative number is not counted.
    number = tf.reshape(tf.where(truth == IGNORED, -1, truth * classes + predicted), [-1])
    counts = tf.math.unsorted_segment_sum(tf.ones_like(number, tf.int64), number, classes**2)
    return tf.reshape(counts, [classes, classes])


def pixel_accuracy(
    masks: tf.Tensor, logits: tf.Tensor, sum_over_replicas: Callable[[tf.Tensor], tf.Tensor]
) -> tf.Tensor:
    """Share of the pixels of the whole batch whose class is right, for the compiled step: float32 [].

    Without ignored pixels; 0 where all are.

    Args:
        masks: integers [batch, height, width], classes or IGNORED.
        logits: [batch, height, width, classes].
        sum_over_replicas: the sum of what each device has; on one device the tensor itself.
    """
    truth, predicted = tf.cast(masks, tf.int32), tf.argmax(logits, axis=-1, output_type=tf.int32)
    # No prediction is IGNORED. Counted in integers: float32 cannot tell 2^24 pixels from one more.
    right = tf.math.count_nonzero(truth == predicted, dtype=tf.int32)
    counted = tf.math.count_nonzero(truth != IGNORED, dtype=tf.int32)
    right, counted = tf.unstack(sum_over_replicas(tf.cast(tf.stack([right, counted]), tf.float32)), num=2)
    return tf.math.divide_no_nan(right, counted)


@dataclass(frozen=True)
class Scores:
    """What a confusion matrix says. A score is nan where it would be 0 / 0."""

    pixel_accuracy: float
    """Share of the pixels whose class is right."""
    mean_iou: float
    """Mean over the classes that occur, in truth or in prediction."""
    class_iou: tuple[float, ...]
    """Intersection over union of each class; nan for one that does not occur."""
    mean_dice: float
    """Mean over the classes that occur, in truth or in prediction."""
    class_dice: tuple[float, ...]
    """Twice the intersection over the sum of both (F1); nan for a class that does not occur."""
    class_precision: tuple[float, ...]
    """Share of the pixels taken for this class that are of it; nan where none is taken for it."""
    class_recall: tuple[float, ...]
    """Share of the pixels of this class that are taken for it; nan where there is none."""
    counts: Counts = field(compare=False, repr=False)

    @classmethod
    def of(cls, counts: npt.ArrayLike) -> "Scores":
        """Scores of a confusion matrix: integers [classes, classes], rows are the true classes."""
        matrix = np.asarray(counts, dtype=np.int64)
        hits, true, predicted = np.diag(matrix), matrix.sum(axis=1), matrix.sum(axis=0)
        iou = _quotients(hits, true + predicted - hits)
        dice = _quotients(2 * hits, true + predicted)
        return cls(
            pixel_accuracy=float(_quotients(hits.sum(), matrix.sum())),
            mean_iou=_mean_of_occurring(iou),
            class_iou=tuple(iou.tolist()),
            mean_dice=_mean_of_occurring(dice),
            class_dice=tuple(dice.tolist()),
            class_precision=tuple(_quotients(hits, predicted).tolist()),
            class_recall=tuple(_quotients(hits, true).tolist()),
            counts=matrix,
        )


def _quotients(above: npt.ArrayLike, below: npt.ArrayLike) -> _Floats:
    above, below = np.asarray(above, np.float64), np.asarray(below, np.float64)
    result = np.full_like(above, np.nan)
    np.divide(above, below, out=result, where=below > 0)
    return result


def _mean_of_occurring(scores: _Floats) -> float:
    occurring = scores[~np.isnan(scores)]
    return float(occurring.mean()) if occurring.size else float("nan")
