"""The network, its loss, its learning rates, and its predictions on whole images."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from unet.evaluation import whole_image_logits
from unet.losses import build_loss, cross_entropy, soft_dice
from unet.model import build_unet, with_probabilities
from unet.schedules import build_optimizer, build_schedule
from unet.settings import LossSettings, ModelSettings, OptimizerSettings, ScheduleSettings


@pytest.mark.parametrize(("channels", "classes"), [(1, 2), (3, 5)])
def test_logits_have_the_size_of_the_image(channels: int, classes: int) -> None:
    model = build_unet(ModelSettings(filters=2, depth=2), channels, classes)
    assert model(tf.zeros([2, 16, 24, channels])).shape == (2, 16, 24, classes)


def test_each_level_has_twice_as_many_channels() -> None:
    model = build_unet(ModelSettings(filters=3, depth=3), 1, 2)
    filters = [model.get_layer(f"{level}a_conv").filters for level in ("down0", "down1", "down2", "bottom")]
    assert filters == [3, 6, 12, 24]


def test_the_exported_model_gives_probabilities_of_the_same_logits() -> None:
    model = build_unet(ModelSettings(filters=2, depth=1), 1, 3)
    images = tf.random.stateless_uniform([1, 8, 8, 1], seed=[0, 0])
    np.testing.assert_allclose(
        with_probabilities(model)(images), tf.nn.softmax(model(images)), rtol=1e-5, atol=1e-6
    )


def test_an_image_of_any_size_is_segmented_whole() -> None:
    model = build_unet(ModelSettings(filters=2, depth=3), 1, 2)
    image = tf.random.stateless_uniform([21, 13, 1], seed=[0, 0])
    assert whole_image_logits(model, image, 8).shape == (1, 21, 13, 2)


def test_an_image_that_fits_is_not_changed_before_it_is_segmented() -> None:
    model = build_unet(ModelSettings(filters=2, depth=2), 1, 2)
    image = tf.random.stateless_uniform([12, 8, 1], seed=[0, 0])
    np.testing.assert_allclose(
        whole_image_logits(model, image, 4), model(image[tf.newaxis], training=False), rtol=1e-5
    )


def test_cross_entropy_is_the_mean_negative_log_probability() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(2, 3, 4, 5)).astype(np.float32)
    masks = rng.integers(0, 5, size=(2, 3, 4))
    probabilities = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    expected = -np.log(np.take_along_axis(probabilities, masks[..., np.newaxis], -1)).mean()

    np.testing.assert_allclose(cross_entropy(tf.constant(masks), tf.constant(logits)), expected, rtol=1e-5)


def test_soft_dice_is_one_minus_the_mean_overlap_of_the_classes() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(2, 3, 4, 3)).astype(np.float32)
    masks = rng.integers(0, 3, size=(2, 3, 4))
    probabilities = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    overlaps = [
        (2 * probabilities[masks == c, c].sum() + 1) / ((masks == c).sum() + probabilities[..., c].sum() + 1)
        for c in range(3)
    ]
    np.testing.assert_allclose(
        soft_dice(tf.constant(masks), tf.constant(logits)), 1 - np.mean(overlaps), rtol=1e-5
    )


def test_soft_dice_of_a_perfect_segmentation_is_nothing() -> None:
    masks = tf.constant([[[0, 1], [1, 1]]])
    assert float(soft_dice(masks, 100.0 * tf.one_hot(masks, 3))) == pytest.approx(0, abs=1e-6)


def test_losses_are_added_with_their_weights() -> None:
    masks = tf.constant([[[0, 1], [1, 1]]])
    logits = tf.random.stateless_normal([1, 2, 2, 2], seed=[0, 0])
    entropy, dice = float(cross_entropy(masks, logits)), float(soft_dice(masks, logits))
    assert float(build_loss(LossSettings(dice_weight=0.0))(masks, logits)) == pytest.approx(entropy)
    assert float(build_loss(LossSettings(dice_weight=3.0))(masks, logits)) == pytest.approx(
        entropy + 3 * dice
    )


def test_cosine_climbs_to_lr_and_sinks_to_its_final_fraction() -> None:
    schedule = build_schedule(
        ScheduleSettings(name="cosine", warmup_steps=10, final_fraction=0.1), 2.0, steps=110
    )
    rates = [float(schedule(step)) for step in range(111)]

    assert rates[0] == pytest.approx(0.2)
    assert rates[10] == pytest.approx(2.0)
    assert rates[60] == pytest.approx(2.0 * (0.1 + 0.9 / 2), rel=1e-4)
    assert rates[110] == pytest.approx(0.2, rel=1e-4)
    assert rates[:11] == sorted(rates[:11])
    assert rates[10:] == sorted(rates[10:], reverse=True)


@pytest.mark.parametrize("warmup", [0, 4])
def test_constant_stays_at_lr_after_the_warm_up(warmup: int) -> None:
    schedule = build_schedule(ScheduleSettings(name="constant", warmup_steps=warmup), 0.5, steps=20)
    assert [float(schedule(step)) for step in range(warmup, 25)] == pytest.approx([0.5] * (25 - warmup))


@pytest.mark.parametrize(
    ("name", "kind"),
    [("adam", keras.optimizers.Adam), ("adamw", keras.optimizers.AdamW), ("sgd", keras.optimizers.SGD)],
)
def test_the_optimizer_is_the_one_that_is_named(name: str, kind: type[keras.optimizers.Optimizer]) -> None:
    schedule = build_schedule(ScheduleSettings(name="constant"), 0.25, steps=10)
    optimizer = build_optimizer(OptimizerSettings(name=name, clip_norm=1.5), schedule)
    assert type(optimizer) is kind
    assert float(optimizer.learning_rate) == 0.25
    assert optimizer.global_clipnorm == 1.5
