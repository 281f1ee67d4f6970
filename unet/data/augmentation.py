"""How one look at an image differs from the next: where its pixels come from, and how bright they are.

Everything that moves pixels is put together into one field of coordinates, and the image is interpolated once: twice
would blur it twice. All chance comes from a seed that is given: the same seed, the same crop.
"""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from unet.settings import AugmentSettings


class Draws(NamedTuple):
    """The numbers that a crop is drawn with: float32 [] each, in [0, 1)."""

    down: tf.Tensor
    right: tf.Tensor
    flip: tf.Tensor
    flop: tf.Tensor
    turn: tf.Tensor
    rotate: tf.Tensor
    scale: tf.Tensor
    brightness: tf.Tensor
    contrast: tf.Tensor
    gamma: tf.Tensor
    noise: tf.Tensor


_SCALARS, _KNOTS, _NOISE = range(3)


class Augmentation:
    """What `settings` allow, for crops of `size` pixels a side.

    Args:
        seed: of the whole training; from 0 to 2**32 - 1.
    """

    def __init__(self, settings: AugmentSettings, size: int, seed: int) -> None:
        self._settings, self._size, self._seed = settings, size, seed
        self._bicubic = tf.constant(bicubic(size, settings.elastic_knots))

    @property
    def is_exact(self) -> bool:
        """Whether crops are pixels as they are: nothing but mirrored, or turned by multiples of 90 degrees."""
        return not (self._settings.rotate or self._settings.scale or self._settings.elastic)

    def draws(self, number: tf.Tensor) -> Draws:
        """For the example of this number, int64 []."""
        count = len(Draws._fields)
        seed = self._stream(number, _SCALARS)
        return Draws(*tf.unstack(tf.random.stateless_uniform([count], seed, alg="philox")))

    def orientation(self, draws: Draws) -> tf.Tensor:
        """bool [3]: mirror up and down, mirror left and right, then swap rows and columns."""
        settings = self._settings
        flip, flop, swap = draws.flip < 0.5, draws.flop < 0.5, draws.turn < 0.5
        if settings.quarter_turns and not settings.flip:
            swap = tf.math.logical_xor(flip, flop)  # mirrored once and swapped is turned by 90 degrees
        elif not settings.quarter_turns:
            swap = tf.constant(False)
            if not settings.flip:
                flip = flop = swap
        return tf.stack([flip, flop, swap])

    def scale(self, draws: Draws) -> tf.Tensor:
        """float32 []: pixels of the image for each of the crop."""
        return tf.exp(_both_ways(draws.scale) * math.log1p(self._settings.scale))

    def field(self, number: tf.Tensor, draws: Draws) -> tf.Tensor:
        """Where each pixel of the crop comes from, as pixels of the image down and to the right of the crop's centre.

        Returns float32 [2, size, size].
        """
        settings = self._settings
        steps = tf.range(self._size, dtype=tf.float32) - (self._size - 1) / 2
        down = tf.repeat(steps[:, tf.newaxis], self._size, axis=1)
        right = tf.transpose(down)
        if settings.elastic:
            knots = [2, settings.elastic_knots, settings.elastic_knots]
            seed = self._stream(number, _KNOTS)
            moves = tf.random.stateless_normal(knots, seed, 0.0, settings.elastic, alg="philox")
            moves = tf.matmul(self._bicubic, tf.matmul(moves, self._bicubic, transpose_b=True))
            down, right = down + moves[0], right + moves[1]
        flip, flop, swap = tf.unstack(self.orientation(draws))
        down, right = tf.where(swap, right, down), tf.where(swap, down, right)
        down, right = tf.where(flip, -down, down), tf.where(flop, -right, right)
        angle = _both_ways(draws.rotate) * math.radians(settings.rotate)
        scale = self.scale(draws)
        cosine, sine = scale * tf.cos(angle), scale * tf.sin(angle)
        return tf.stack([cosine * down - sine * right, sine * down + cosine * right])

    def lit(self, image: tf.Tensor, number: tf.Tensor, draws: Draws) -> tf.Tensor:
        """Another brightness, contrast and gamma, and noise.

        Args:
            image: float32 [size, size, channels] in [0, 1].

        Returns the same.
        """
        settings = self._settings
        if settings.contrast:
            mean = tf.reduce_mean(image, axis=[0, 1])
            image = (image - mean) * (1 + _both_ways(draws.contrast) * settings.contrast) + mean
        if settings.brightness:
            image = image + _both_ways(draws.brightness) * settings.brightness
        if settings.gamma:
            exponent = tf.exp(_both_ways(draws.gamma) * math.log1p(settings.gamma))
            image = tf.pow(tf.clip_by_value(image, 0.0, 1.0), exponent)
        if settings.noise:
            deviation = draws.noise * settings.noise
            seed = self._stream(number, _NOISE)
            image = image + deviation * tf.random.stateless_normal(tf.shape(image), seed, alg="philox")
        return tf.clip_by_value(image, 0.0, 1.0)

    def _stream(self, number: tf.Tensor, stream: int) -> tf.Tensor:
        """A seed of its own for each example and each use: seeds of trainings are below 2**32."""
        return tf.stack([tf.constant(self._seed + (stream << 32), tf.int64), number])


def interpolated(pixels: tf.Tensor, at: tf.Tensor) -> tf.Tensor:
    """Values between the pixels, bilinearly.

    Args:
        pixels: float32 [height, width, channels], two rows and columns at least.
        at: float32 [2, rows, columns]: row and column, from 0 to height - 1 and to width - 1.

    Returns float32 [rows, columns, channels].
    """
    shape = tf.shape(pixels)
    height, width = shape[0], shape[1]
    flat = tf.reshape(pixels, [-1, pixels.shape[-1]])
    row = tf.clip_by_value(tf.floor(at[0]), 0.0, tf.cast(height - 2, tf.float32))
    column = tf.clip_by_value(tf.floor(at[1]), 0.0, tf.cast(width - 2, tf.float32))
    down, right = (at[0] - row)[..., tf.newaxis], (at[1] - column)[..., tf.newaxis]
    index = tf.cast(row, tf.int32) * width + tf.cast(column, tf.int32)
    upper_left, upper_right = tf.gather(flat, index), tf.gather(flat, index + 1)
    lower_left, lower_right = tf.gather(flat, index + width), tf.gather(flat, index + width + 1)
    above = upper_left + (upper_right - upper_left) * right
    below = lower_left + (lower_right - lower_left) * right
    return above + (below - above) * down


def nearest(classes: tf.Tensor, at: tf.Tensor) -> tf.Tensor:
    """The class of the pixel that is nearest.

    Args:
        classes: uint8 [height, width].
        at: float32 [2, rows, columns]: row and column.

    Returns uint8 [rows, columns].
    """
    height, width = tf.unstack(tf.shape(classes))
    row = tf.clip_by_value(tf.cast(tf.floor(at[0] + 0.5), tf.int32), 0, height - 1)
    column = tf.clip_by_value(tf.cast(tf.floor(at[1] + 0.5), tf.int32), 0, width - 1)
    return tf.gather(tf.reshape(classes, [-1]), row * width + column)


def bicubic(size: int, knots: int) -> npt.NDArray[np.float32]:
    """Interpolates between knots that are spread evenly from the first of `size` pixels to the last.

    Catmull-Rom splines (Keys 1981 with a = -1/2); the outermost knots are repeated beyond the ends.

    Returns float32 [size, knots]: how much of each knot is in each pixel.
    """
    places = np.linspace(0, knots - 1, size)
    first = np.minimum(places.astype(int), knots - 2)
    t = places - first
    shares = [
        -0.5 * t + t**2 - 0.5 * t**3,
        1 - 2.5 * t**2 + 1.5 * t**3,
        0.5 * t + 2 * t**2 - 1.5 * t**3,
        -0.5 * t**2 + 0.5 * t**3,
    ]
    matrix = np.zeros((size, knots), np.float32)
    for offset, share in enumerate(shares, start=-1):
        np.add.at(matrix, (np.arange(size), np.clip(first + offset, 0, knots - 1)), share)
    return matrix


def _both_ways(draw: tf.Tensor) -> tf.Tensor:
    """From -1 to 1."""
    return 2 * draw - 1
