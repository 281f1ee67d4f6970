"""What the training makes small."""

import keras
import tensorflow as tf


def cross_entropy(masks: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Mean over all pixels of the cross-entropy between classes and logits, in nats.

    Args:
        masks: int32 [batch, height, width], the class of each pixel.
        logits: float32 [batch, height, width, classes].
    """
    per_pixel = keras.losses.sparse_categorical_crossentropy(masks, logits, from_logits=True)
    return tf.reduce_mean(per_pixel)
