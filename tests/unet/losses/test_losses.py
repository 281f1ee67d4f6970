"""Losses against plain readings of their definitions."""

from __future__ import annotations

import math
import subprocess
import sys
from functools import cache
from typing import Any

import hypothesis.extra.numpy as arrays
import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from unet.data.examples import IGNORED
from unet.losses import build_loss
from unet.settings import LossSettings

Floats = npt.NDArray[np.float64]

ALONE = {"cross_entropy": 0.0, "dice": 0.0, "focal": 0.0}
"""Settings in which a test switches one part on."""


def alone(part: str, **others: Any) -> LossSettings:
    return LossSettings(**{**ALONE, part: 1.0, **others})


def on_one_device(value: tf.Tensor) -> tf.Tensor:
    return value


def loss_of(
    settings: LossSettings, masks: npt.ArrayLike, logits: npt.ArrayLike, border: npt.ArrayLike | None = None
) -> float:
    logits = np.asarray(logits, np.float32)
    weights = None if border is None else tf.constant(border, tf.float32)
    loss = build_loss(settings, logits.shape[-1])
    return float(loss(tf.constant(masks, tf.int32), tf.constant(logits), weights, on_one_device))


def batch(
    seed: int = 0, classes: int = 3, ignored: float = 0.25
) -> tuple[npt.NDArray[np.int32], Floats, Floats]:
    """Masks, some of them ignored, with logits and a border map."""
    rng = np.random.default_rng(seed)
    masks = rng.integers(0, classes, (2, 5, 4)).astype(np.int32)
    masks[rng.random(masks.shape) < ignored] = IGNORED
    return masks, rng.normal(size=(2, 5, 4, classes)), 1 + 9 * rng.random(masks.shape)


def probabilities(logits: Floats) -> Floats:
    return np.asarray(np.exp(logits) / np.exp(logits).sum(-1, keepdims=True))


def by_pixel(
    masks: npt.NDArray[np.int32], logits: Floats, border: Floats, class_weights: list[float], gamma: float = 0
) -> float:
    """Weighted mean of (1 - p)^gamma (-log p) over the pixels that count, one after the other."""
    total, weights = 0.0, 0.0
    for place in np.ndindex(masks.shape):
        if masks[place] != IGNORED:
            p = probabilities(logits[place])[masks[place]]
            weight = border[place] * class_weights[masks[place]]
            total += weight * (1 - p) ** gamma * -math.log(p)
            weights += weight
    return total / weights


@pytest.mark.parametrize("seed", range(3))
def test_cross_entropy_is_the_weighted_mean_over_the_pixels_that_count(seed: int) -> None:
    masks, logits, border = batch(seed)
    settings = alone("cross_entropy", class_weights=[1.0, 0.5, 3.0])
    expected = by_pixel(masks, logits, border, [1.0, 0.5, 3.0])
    assert loss_of(settings, masks, logits, border) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0, 5.0])
def test_focal_makes_little_of_pixels_that_are_right(gamma: float) -> None:
    masks, logits, border = batch()
    settings = alone("focal", focal_gamma=gamma, class_weights=[1.0, 0.5, 3.0])
    expected = by_pixel(masks, logits, border, [1.0, 0.5, 3.0], gamma)
    assert loss_of(settings, masks, logits, border) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("classes", [2, 5])
def test_dice_is_one_minus_the_mean_overlap_of_the_classes(classes: int) -> None:
    masks, logits, border = batch(classes=classes)
    counted, p = masks != IGNORED, probabilities(logits)
    overlaps = [
        (2 * p[masks == c, c].sum() + 1) / ((masks == c).sum() + p[counted, c].sum() + 1)
        for c in range(classes)
    ]
    # Weights of pixels are for cross-entropy and focal.
    assert loss_of(alone("dice"), masks, logits, border) == pytest.approx(1 - np.mean(overlaps), rel=1e-5)


def test_dice_of_a_perfect_segmentation_is_nothing() -> None:
    masks = np.array([[[0, 1], [1, 1]]])
    assert loss_of(alone("dice"), masks, 100 * np.eye(3)[masks]) == pytest.approx(0, abs=1e-6)


def test_parts_are_added_with_their_weights() -> None:
    masks, logits, border = batch()
    parts = {part: loss_of(alone(part), masks, logits, border) for part in ALONE}
    together = LossSettings(cross_entropy=0.5, dice=2.0, focal=3.0)
    expected = 0.5 * parts["cross_entropy"] + 2 * parts["dice"] + 3 * parts["focal"]
    assert loss_of(together, masks, logits, border) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("part", list(ALONE))
def test_what_the_model_says_of_ignored_pixels_changes_nothing(part: str) -> None:
    masks, logits, _ = batch()
    other = np.where((masks == IGNORED)[..., np.newaxis], 50 * logits, logits)
    assert loss_of(alone(part), masks, logits) == pytest.approx(loss_of(alone(part), masks, other), rel=1e-6)


@pytest.mark.parametrize("part", list(ALONE))
@pytest.mark.parametrize("jit", [False, True], ids=["graph", "xla"])
@settings(deadline=None, max_examples=15)
@given(
    masks=arrays.arrays(np.int32, (1, 2, 3), elements=st.sampled_from([0, 1, IGNORED])),
    logits=arrays.arrays(
        np.float32, (1, 2, 3, 2), elements=st.sampled_from([-1e30, -1e4, -88.0, -1e-30, 0.0, 3.0, 1e4, 1e30])
    ),
)
def test_loss_and_gradient_are_finite_whatever_the_logits(
    part: str, jit: bool, masks: npt.NDArray[np.int32], logits: npt.NDArray[np.float32]
) -> None:
    loss, gradient = compiled(part, jit)(tf.constant(masks), tf.constant(logits))
    assert np.isfinite(loss)
    assert np.isfinite(gradient).all()
    assert not np.asarray(gradient)[masks == IGNORED].any()


@cache
def compiled(part: str, jit: bool) -> Any:
    """The loss with its gradient, compiled once for all examples."""
    loss_function = build_loss(alone(part, focal_gamma=0.5), 2)

    @tf.function(jit_compile=jit)  # type: ignore[untyped-decorator]
    def both(masks: tf.Tensor, logits: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(logits)
            loss = loss_function(masks, logits, None, on_one_device)
        return loss, tape.gradient(loss, logits)

    return both


def test_a_batch_with_nothing_but_ignored_pixels_teaches_nothing() -> None:
    masks = np.full((1, 2, 2), IGNORED)
    logits = np.zeros((1, 2, 2, 3))
    assert loss_of(LossSettings(focal=1.0), masks, logits) == 0.0


@pytest.mark.parametrize("sizes", [(1, 3), (2, 2), (0, 4)])
def test_the_loss_of_devices_together_is_that_of_the_whole_batch(sizes: tuple[int, int]) -> None:
    """Played by hand: what each device sums, then each with the sums of both. A device may have no image."""
    rng = np.random.default_rng(1)
    masks = rng.integers(0, 3, (4, 3, 3)).astype(np.int32)
    masks[1:3, :2] = IGNORED
    logits = rng.normal(size=(4, 3, 3, 3)).astype(np.float32)
    border = rng.random((4, 3, 3)).astype(np.float32)
    loss = build_loss(LossSettings(focal=0.5, class_weights=[1, 2, 3]), 3)
    whole = loss(tf.constant(masks), tf.constant(logits), tf.constant(border), on_one_device)

    shares = [slice(0, sizes[0]), slice(sizes[0], None)]
    of_each: list[tf.Tensor] = []

    def on_each(sum_over_replicas: Any) -> list[float]:
        return [
            float(
                loss(tf.constant(masks[s]), tf.constant(logits[s]), tf.constant(border[s]), sum_over_replicas)
            )
            for s in shares
        ]

    def noted(value: tf.Tensor) -> tf.Tensor:
        of_each.append(value)
        return value

    on_each(noted)
    assert len(of_each) == 2  # one exchange between the devices for all parts
    assert on_each(lambda value: tf.add_n(of_each)) == pytest.approx([float(whole)] * 2, rel=1e-6)


def test_devices_under_mirrored_strategy_agree_with_one_device() -> None:
    """Loss and gradient; in a process of its own, for TensorFlow splits a CPU only before it starts."""
    done = subprocess.run([sys.executable, "-c", _MIRRORED], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


_MIRRORED = """
import numpy as np, tensorflow as tf
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)
from unet.losses import build_loss
from unet.replicas import share_of, sum_over_replicas
from unet.settings import LossSettings

rng = np.random.default_rng(0)
masks = rng.integers(0, 3, (5, 4, 4)).astype(np.int32)
masks[:, 0] = 255
masks[4] = 255
images, kernel = rng.normal(size=(5, 4, 4, 2)).astype(np.float32), rng.normal(size=(2, 3)).astype(np.float32)
loss = build_loss(LossSettings(focal=1.0, class_weights=[1, 2, 3]), 3)

def step(masks, images, kernel):
    masks, images = share_of((masks, images))
    with tf.GradientTape() as tape:
        tape.watch(kernel)
        count = tf.distribute.get_replica_context().num_replicas_in_sync
        value = loss(masks, images @ kernel, None, sum_over_replicas)
        scaled = value / count
    return value, sum_over_replicas(tape.gradient(scaled, kernel))

def on(strategy):
    args = tuple(map(tf.constant, (masks, images, kernel)))
    value, gradient = tf.function(lambda: strategy.run(step, args=args))()
    return strategy.experimental_local_results(value), strategy.experimental_local_results(gradient)

(value,), (gradient,) = on(tf.distribute.get_strategy())
values, gradients = on(tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]))
assert len(values) == len(gradients) == 2
for of_device in values:
    np.testing.assert_allclose(of_device, value, rtol=1e-6)
for of_device in gradients:
    np.testing.assert_allclose(of_device, gradient, rtol=1e-5, atol=1e-7)
"""
