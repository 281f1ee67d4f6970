"""What the training makes small."""

from collections.abc import Callable

import keras
import tensorflow as tf

from unet.settings import LossSettings

Loss = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
"""Of masks, int32 [batch, height, width], and logits, float32 [batch, height, width, classes]: float32 []."""


def build_loss(settings: LossSettings) -> Loss:
    """The weighted sum of losses that `settings` name."""

    def loss(masks: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        total = cross_entropy(masks, logits)
        if settings.dice_weight:
            total += settings.dice_weight * soft_dice(masks, logits)
        return total

    return loss


def cross_entropy(masks: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Mean over all pixels of the cross-entropy between classes and logits, in nats."""
    per_pixel = keras.losses.sparse_categorical_crossentropy(masks, logits, from_logits=True)
    return tf.reduce_mean(per_pixel)


def soft_dice(masks: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """One minus the mean over classes of 2 |A and B| / (|A| + |B|), with probabilities for members.

    Counted over the whole batch (Milletari, Navab and Ahmadi 2016). One pixel is added above and below, so that
    a class that occurs nowhere has nothing to lose.
    """
    truth = tf.one_hot(masks, logits.shape[-1])
    probabilities = tf.nn.softmax(logits)
    both = tf.reduce_sum(truth * probabilities, axis=[0, 1, 2])
    either = tf.reduce_sum(truth, axis=[0, 1, 2]) + tf.reduce_sum(probabilities, axis=[0, 1, 2])
    return 1.0 - tf.reduce_mean((2.0 * both + 1.0) / (either + 1.0))
