"""Learning rates over steps, and the optimizers that take them."""

import math
from collections.abc import Callable

import keras
import tensorflow as tf

from unet.settings import OptimizerSettings, ScheduleSettings


class LearningRate(keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]
    """The learning rate of each step: up to `lr` in the warm-up, then as the settings say.

    `scale` is what a plateau has made of it so far; it is part of the training's state.
    """

    def __init__(self, settings: ScheduleSettings, lr: float, steps: int) -> None:
        super().__init__()
        self.scale = tf.Variable(1.0, trainable=False, name="rate_scale")
        self._lr, self._warmup, self._steps = lr, settings.warmup_steps, steps
        self._decay = _DECAYS[settings.name](settings)

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        """The rate of this step (counted from 0): float32 []."""
        step = tf.cast(step, tf.float32)
        # The first of the warm-up steps has lr / warmup: with a rate of 0 it would be taken for nothing.
        climbed = tf.minimum((step + 1.0) / max(self._warmup, 1), 1.0)
        done = tf.clip_by_value((step - self._warmup) / max(self._steps - self._warmup, 1), 0.0, 1.0)
        return self._lr * climbed * self._decay(done) * self.scale

    def get_config(self) -> dict[str, object]:
        """Nothing: an exported model carries no optimizer."""
        return {}


_Decay = Callable[[tf.Tensor], tf.Tensor]


def _constant(settings: ScheduleSettings) -> _Decay:
    return lambda done: tf.ones_like(done)


def _cosine(settings: ScheduleSettings) -> _Decay:
    rest = settings.final_fraction
    return lambda done: rest + (1 - rest) * 0.5 * (1.0 + tf.cos(math.pi * done))


def _polynomial(settings: ScheduleSettings) -> _Decay:
    rest = settings.final_fraction
    return lambda done: rest + (1 - rest) * (1.0 - done) ** settings.power


# A plateau's steps down come from the validations, through `scale`.
_DECAYS: dict[str, Callable[[ScheduleSettings], _Decay]] = {
    "constant": _constant,
    "cosine": _cosine,
    "polynomial": _polynomial,
    "plateau": _constant,
}


def build_optimizer(
    settings: OptimizerSettings, rate: LearningRate, loss_scaling: bool
) -> keras.optimizers.Optimizer:
    """The optimizer that `settings` name; with `loss_scaling`, small float16 gradients survive."""
    names = keras.optimizers
    optimizer: keras.optimizers.Optimizer
    if settings.name == "sgd":
        optimizer = names.SGD(rate, momentum=settings.momentum, nesterov=settings.nesterov)
    elif settings.name == "rmsprop":
        optimizer = names.RMSprop(rate, momentum=settings.momentum)
    elif settings.name == "lion":
        optimizer = names.Lion(rate, weight_decay=settings.weight_decay or None)
    elif settings.name == "adamw":
        optimizer = names.AdamW(rate, weight_decay=settings.weight_decay)
    else:
        optimizer = names.Adam(rate)
    if settings.weight_decay:
        # Offsets and the scales of normalisation are left alone, as is usual.
        optimizer.exclude_from_weight_decay(var_names=["bias", "beta", "gamma"])
    return names.LossScaleOptimizer(optimizer) if loss_scaling else optimizer
