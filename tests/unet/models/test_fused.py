"""Batch normalisation in one operation does what Keras's does in many."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from unet.models import build_model
from unet.models.fused import fuse_batch_normalization
from unet.settings import ModelSettings

IMAGES = np.random.default_rng(0).normal(0.4, 0.3, (3, 16, 24, 1)).astype(np.float32)


def pair() -> tuple[keras.Model, keras.Model]:
    """The same network twice, with weights that are no longer at their start; the second one fused."""
    keras.utils.set_random_seed(0)
    settings = ModelSettings(filters=4, depth=2)
    composed, fused = build_model(settings, 1, 2), build_model(settings, 1, 2)
    random = np.random.default_rng(1)
    composed.set_weights([w + random.uniform(0, 0.05, w.shape) for w in composed.get_weights()])
    fused.set_weights(composed.get_weights())
    fuse_batch_normalization(fused)
    return composed, fused


def step(model: keras.Model) -> tuple[tf.Tensor, list[tf.Tensor]]:
    with tf.GradientTape() as tape:
        logits = model(IMAGES, training=True)
        loss = tf.reduce_mean(logits**2)
    return logits, tape.gradient(loss, model.trainable_variables)


def assert_same(actual: tf.Tensor, expected: tf.Tensor, of_the_largest: float) -> None:
    """A sum in float32 is off by a part of its largest terms: an element near zero by as much as any other."""
    np.testing.assert_allclose(actual, expected, rtol=0, atol=of_the_largest * np.abs(expected).max())


def test_outputs_gradients_and_statistics_are_those_of_keras() -> None:
    composed, fused = pair()
    (logits, gradients), (fused_logits, fused_gradients) = step(composed), step(fused)
    assert_same(fused_logits, logits, 1e-4)
    # A bias in front of a normalisation has the gradient zero, and noise in its place: no scale of its own.
    largest = max(np.abs(gradient).max() for gradient in gradients)
    for gradient, other in zip(gradients, fused_gradients, strict=True):
        np.testing.assert_allclose(other, gradient, rtol=0, atol=1e-4 * largest)
    for weight, other in zip(composed.get_weights(), fused.get_weights(), strict=True):
        np.testing.assert_allclose(other, weight, rtol=1e-5, atol=1e-6)
    assert_same(fused(IMAGES), composed(IMAGES), 1e-4)


def test_what_is_saved_is_keras_own_layer(tmp_path: Path) -> None:
    _, fused = pair()
    fused.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert {type(layer) for layer in loaded.layers} == {type(layer) for layer in fused.layers}
    assert loaded.to_json() == fused.to_json()
    np.testing.assert_allclose(loaded(IMAGES), fused(IMAGES), rtol=1e-6)


def test_a_frozen_layer_stays_as_it_is() -> None:
    _, fused = pair()
    fused.trainable = False
    before = fused.get_weights()
    fused(IMAGES, training=True)
    for weight, other in zip(before, fused.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, other)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_half_precision_keeps_statistics_in_float32(policy: str) -> None:
    keras.mixed_precision.set_global_policy(policy)
    _, fused = pair()
    logits, _ = step(fused)
    assert logits.dtype == tf.float32
    assert np.isfinite(logits).all()
    assert {variable.dtype for variable in fused.variables} == {"float32"}


def test_xla_compiles_it() -> None:
    _, fused = pair()
    expected, _ = step(fused)
    compiled, _ = tf.function(lambda: step(fused), jit_compile=True)()
    assert_same(compiled, expected, 1e-3)
