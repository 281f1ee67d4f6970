"""Endless batches of augmented crops, and the same ones again from any step.

Each example is a function of the seed and of its number alone: which image, where the crop lies, how it is
turned. A training that resumes at step 120 gets the batch that an uninterrupted one would have got there.
"""

from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from unet.data_folder import LabelledImages
from unet.settings import DataSettings


def training_batches(
    source: LabelledImages, settings: DataSettings, seed: int, first_step: int
) -> Iterator[tuple[tf.Tensor, tf.Tensor]]:
    """Batches from step `first_step` (counted from 0) on, without end; every image comes once in each pass.

    Yields images: float32 [batch, crop, crop, channels] in [0, 1], and masks: int32 [batch, crop, crop].
    """
    count = len(source.names)
    first_example = first_step * settings.batch
    pixels = _PixelStore(source)

    def one_pass(number: tf.Tensor) -> tf.data.Dataset:
        order = tf.random.experimental.stateless_shuffle(tf.range(count), seed=[seed, number])
        return tf.data.Dataset.from_tensor_slices((order, tf.range(count, dtype=tf.int64) + number * count))

    def example(image: tf.Tensor, number: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        # The pass's shuffle takes [seed, number] too; another stream keeps the two apart.
        example_seed = tf.random.experimental.stateless_fold_in(
            tf.stack([tf.constant(seed, tf.int64), number]), 1
        )
        return augmented_crop(pixels[image], settings, example_seed)

    batches = (
        tf.data.Dataset.range(first_example // count, np.iinfo(np.int64).max)
        .flat_map(one_pass)
        .skip(first_example % count)
        .map(example, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        .batch(settings.batch, drop_remainder=True)
        .prefetch(tf.data.AUTOTUNE)
    )
    return iter(batches)


def augmented_crop(joined: tf.Tensor, settings: DataSettings, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """One random crop, flipped, turned and brightened as `settings` says.

    Args:
        joined: uint8 [height, width, channels + 1], the mask as last channel: what moves one moves the other.
        seed: int64 [2]; the same seed gives the same crop.

    Returns image: float32 [crop, crop, channels] in [0, 1], and mask: int32 [crop, crop].
    """
    for_crop, for_flip, for_flop, for_turn, for_light = tf.unstack(
        tf.random.experimental.stateless_split(seed, 5)
    )
    channels, size = settings.channels, settings.crop
    joined = tf.image.stateless_random_crop(joined, [size, size, channels + 1], seed=for_crop)
    joined = tf.cast(joined, tf.float32)  # every operation below exists for it, and 8-bit numbers stay exact
    if settings.flip:
        joined = tf.image.stateless_random_flip_left_right(joined, seed=for_flip)
        joined = tf.image.stateless_random_flip_up_down(joined, seed=for_flop)
    if settings.rotate:
        quarters = tf.random.stateless_uniform([], seed=for_turn, maxval=4, dtype=tf.int32)
        joined = tf.image.rot90(joined, quarters)
    joined = tf.ensure_shape(joined, [size, size, channels + 1])

    image = joined[..., :channels] / 255.0
    if settings.brightness:
        change = tf.random.stateless_uniform([], for_light, -settings.brightness, settings.brightness)
        image = tf.clip_by_value(image + change, 0.0, 1.0)
    return image, tf.cast(joined[..., channels], tf.int32)


class _PixelStore:
    """All images with their masks in one flat tensor, whatever their sizes, for a tf.data graph to index."""

    def __init__(self, source: LabelledImages) -> None:
        joined = [
            np.concatenate([image, mask[..., np.newaxis]], axis=-1)
            for image, mask in zip(source.images, source.masks, strict=True)
        ]
        self._pixels = tf.constant(np.concatenate([pixels.ravel() for pixels in joined]))
        self._ends = tf.constant(np.cumsum([pixels.size for pixels in joined]), tf.int64)
        self._shapes = tf.constant([pixels.shape for pixels in joined], tf.int64)

    def __getitem__(self, index: tf.Tensor) -> tf.Tensor:
        shape = self._shapes[index]
        end = self._ends[index]
        return tf.reshape(self._pixels[end - tf.reduce_prod(shape) : end], shape)
