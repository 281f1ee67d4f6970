"""Learning rates step by step, and the optimizers that take them."""

from __future__ import annotations

import math

import keras
import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf

from unet.schedules import LearningRate, build_optimizer
from unet.settings import OptimizerSettings, ScheduleSettings


def rates(settings: ScheduleSettings, lr: float = 0.1, steps: int = 100) -> npt.NDArray[np.float32]:
    rate = LearningRate(settings, lr, steps)
    return np.asarray([rate(tf.constant(step, tf.int64)) for step in range(steps)])


@pytest.mark.parametrize("name", ["constant", "cosine", "polynomial", "plateau"])
def test_the_warm_up_climbs_in_equal_steps_to_the_highest_rate(name: str) -> None:
    climbing = rates(ScheduleSettings(name=name, warmup_steps=4))[:5]
    np.testing.assert_allclose(climbing[:4], [0.025, 0.05, 0.075, 0.1], rtol=1e-6)
    assert climbing[4] == pytest.approx(0.1)


def test_a_constant_rate_stays() -> None:
    np.testing.assert_allclose(rates(ScheduleSettings(name="constant")), 0.1, rtol=1e-6)


def test_a_cosine_sinks_along_half_a_wave_to_its_rest() -> None:
    expected = [0.1 * (0.2 + 0.8 * 0.5 * (1 + math.cos(math.pi * step / 100))) for step in range(100)]
    actual = rates(ScheduleSettings(name="cosine", final_fraction=0.2))
    np.testing.assert_allclose(actual, expected, rtol=1e-5)


def test_a_polynomial_sinks_as_a_power_of_what_is_left() -> None:
    expected = [0.1 * (1 - step / 100) ** 2 for step in range(100)]
    actual = rates(ScheduleSettings(name="polynomial", power=2.0))
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-8)


def test_after_the_last_step_the_rate_does_not_rise_again() -> None:
    rate = LearningRate(ScheduleSettings(name="cosine", final_fraction=0.1), 0.1, 100)
    assert float(rate(tf.constant(250, tf.int64))) == pytest.approx(0.01)


def test_what_a_plateau_takes_off_counts_for_every_schedule() -> None:
    rate = LearningRate(ScheduleSettings(name="plateau"), 0.1, 100)
    rate.scale.assign(0.25)
    assert float(rate(tf.constant(10, tf.int64))) == pytest.approx(0.025)


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        (OptimizerSettings(name="adam"), keras.optimizers.Adam),
        (OptimizerSettings(name="adamw", weight_decay=0.1), keras.optimizers.AdamW),
        (OptimizerSettings(name="lion", weight_decay=0.1), keras.optimizers.Lion),
        (OptimizerSettings(name="rmsprop"), keras.optimizers.RMSprop),
        (OptimizerSettings(name="sgd", nesterov=True), keras.optimizers.SGD),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_the_optimizer_is_the_one_that_is_named(
    settings: OptimizerSettings, kind: type[keras.optimizers.Optimizer]
) -> None:
    assert type(build_optimizer(settings, LearningRate(ScheduleSettings(), 0.1, 10), False)) is kind


@pytest.mark.parametrize("name", ["adamw", "lion"])
def test_weight_decay_leaves_offsets_and_normalisation_alone(name: str) -> None:
    keras.utils.clear_session()
    model = keras.Sequential(
        [keras.Input((8, 8, 1)), keras.layers.Conv2D(2, 3), keras.layers.BatchNormalization()]
    )
    rate = LearningRate(ScheduleSettings(name="constant"), 0.1, 10)
    optimizer = build_optimizer(OptimizerSettings(name=name, weight_decay=0.5), rate, False)
    optimizer.build(model.trainable_variables)
    for variable in model.trainable_variables:
        variable.assign(tf.ones(variable.shape))
    optimizer.apply([tf.zeros(v.shape) for v in model.trainable_variables], model.trainable_variables)
    after = {variable.name: float(np.mean(variable.value)) for variable in model.trainable_variables}
    assert after["kernel"] == pytest.approx(0.95)
    assert after["bias"] == after["beta"] == after["gamma"] == 1.0


def test_float16_scales_its_loss() -> None:
    rate = LearningRate(ScheduleSettings(), 0.1, 10)
    optimizer = build_optimizer(OptimizerSettings(), rate, loss_scaling=True)
    assert float(optimizer.scale_loss(tf.constant(1.0))) > 1
