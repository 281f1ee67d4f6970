"""What the training makes small: a loss of the whole batch, however many devices it is spread over.

Every part is a quotient of sums over the pixels that count. The sums go over all devices before anything is divided,
so that a device with fewer images, or with more ignored pixels, weighs as much as it should.
"""

from collections.abc import Callable
from dataclasses import dataclass

import tensorflow as tf

from unet.data.examples import IGNORED
from unet.settings import LossSettings

SumOverReplicas = Callable[[tf.Tensor], tf.Tensor]
"""The sum of what each device has, through which gradients flow. On one device: the tensor itself."""

_SMALLEST = 1e-7
"""Below it, the power of a number has no gradient that float32 could hold."""


@dataclass(frozen=True)
class Loss:
    """The weighted sum of losses that settings name. Made by `build_loss`."""

    settings: LossSettings
    classes: int

    def __call__(
        self,
        masks: tf.Tensor,
        logits: tf.Tensor,
        border: tf.Tensor | None,
        sum_over_replicas: SumOverReplicas,
    ) -> tf.Tensor:
        """The loss of the batch as float32 [], the same on each device; 0 where no pixel counts.

        Args:
            masks: int32 [batch, height, width], classes or IGNORED.
            logits: float32 [batch, height, width, classes].
            border: float32 [batch, height, width], how much more each pixel counts in cross-entropy and focal.
        """
        parts = [
            (weight, sums, quotient)
            for weight, sums, quotient in (
                (self.settings.cross_entropy, self._cross_entropy_sums, _mean),
                (self.settings.focal, self._focal_sums, _mean),
                (self.settings.dice, self._dice_sums, self._dice),
            )
            if weight
        ]
        pixels = _pixels(masks, logits, border, self.settings.class_weights)
        # One exchange between the devices for all parts together.
        sums = [sums(pixels) for _, sums, _ in parts]
        total = tf.split(sum_over_replicas(tf.concat(sums, axis=0)), [own.shape[0] for own in sums])
        return tf.add_n(
            [weight * quotient(of_all) for (weight, _, quotient), of_all in zip(parts, total, strict=True)]
        )

    def _cross_entropy_sums(self, pixels: "_Pixels") -> tf.Tensor:
        return tf.stack([tf.reduce_sum(pixels.weights * pixels.entropy), tf.reduce_sum(pixels.weights)])

    def _focal_sums(self, pixels: "_Pixels") -> tf.Tensor:
        gamma = self.settings.focal_gamma
        if gamma == 0:
            return self._cross_entropy_sums(pixels)
        wrong = tf.maximum(-tf.math.expm1(-pixels.entropy), _SMALLEST)  # 1 - p, with all its digits
        return tf.stack(
            [tf.reduce_sum(pixels.weights * wrong**gamma * pixels.entropy), tf.reduce_sum(pixels.weights)]
        )

    def _dice_sums(self, pixels: "_Pixels") -> tf.Tensor:
        """Pixels that are in both, and in the one plus in the other, of each class: float32 [2 classes]."""
        truth = tf.one_hot(pixels.masks, self.classes)  # zeros for an ignored pixel
        probabilities = tf.nn.softmax(pixels.logits) * pixels.counted[..., tf.newaxis]
        both = tf.reduce_sum(truth * probabilities, axis=[0, 1, 2])
        return tf.concat([both, tf.reduce_sum(truth + probabilities, axis=[0, 1, 2])], axis=0)

    def _dice(self, sums: tf.Tensor) -> tf.Tensor:
        """One minus the mean over classes of 2 |A and B| / (|A| + |B|) (Milletari, Navab and Ahmadi 2016).

        One pixel is added above and below, so that a class that occurs nowhere has nothing to lose.
        """
        both, either = tf.split(sums, 2)
        return 1.0 - tf.reduce_mean((2.0 * both + 1.0) / (either + 1.0))


def build_loss(settings: LossSettings, classes: int) -> Loss:
    """The loss that `settings` describe, for masks of so many classes."""
    return Loss(settings, classes)


@dataclass(frozen=True)
class _Pixels:
    """What the parts look at."""

    masks: tf.Tensor
    logits: tf.Tensor
    counted: tf.Tensor
    """float32 [batch, height, width]: 1, and 0 for ignored pixels."""
    weights: tf.Tensor
    """float32 [batch, height, width]: how much each pixel counts in cross-entropy and focal."""
    entropy: tf.Tensor
    """float32 [batch, height, width]: -log of the probability of the true class."""


def _pixels(
    masks: tf.Tensor, logits: tf.Tensor, border: tf.Tensor | None, class_weights: list[float] | None
) -> _Pixels:
    logits = tf.cast(logits, tf.float32)
    is_counted = tf.not_equal(masks, IGNORED)
    known = tf.where(is_counted, masks, 0)
    counted = tf.cast(is_counted, tf.float32)
    weights = counted
    if class_weights is not None:
        weights *= tf.gather(tf.constant(class_weights, tf.float32), known)
    if border is not None:
        weights *= tf.cast(border, tf.float32)
    entropy = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=known, logits=logits)
    return _Pixels(masks, logits, counted, weights, entropy)


def _mean(sums: tf.Tensor) -> tf.Tensor:
    weighted, weights = tf.unstack(sums, num=2)
    return tf.math.divide_no_nan(weighted, weights)
