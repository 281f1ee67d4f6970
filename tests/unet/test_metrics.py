"""Scores against plain readings of their definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow as tf

from unet.metrics import Scores, confusion, pixel_accuracy


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("classes", [2, 4])
def test_scores_are_those_of_the_definitions(seed: int, classes: int) -> None:
    rng = np.random.default_rng(seed)
    masks = rng.integers(0, classes, size=(3, 7, 5))
    logits = rng.normal(size=(3, 7, 5, classes)).astype(np.float32)
    predicted = logits.argmax(-1)

    scores = Scores.of(confusion(tf.constant(masks), tf.constant(logits)).numpy())

    ious = [
        ((masks == c) & (predicted == c)).sum() / ((masks == c) | (predicted == c)).sum()
        for c in range(classes)
    ]
    assert scores.class_iou == pytest.approx(ious)
    assert scores.mean_iou == pytest.approx(np.mean(ious))
    assert scores.pixel_accuracy == pytest.approx((masks == predicted).mean())
    assert float(pixel_accuracy(tf.constant(masks), tf.constant(logits))) == pytest.approx(
        scores.pixel_accuracy
    )


def test_rows_of_the_confusion_are_the_true_classes() -> None:
    logits = tf.one_hot([[[1, 1, 0]]], 2)
    np.testing.assert_array_equal(confusion(tf.constant([[[0, 1, 1]]]), logits), [[0, 1], [1, 1]])


def test_counts_of_batches_of_any_size_add_up() -> None:
    rng = np.random.default_rng(0)
    masks = rng.integers(0, 3, size=(5, 4, 4))
    logits = rng.normal(size=(5, 4, 4, 3)).astype(np.float32)
    parts = sum(
        confusion(tf.constant(masks[part]), tf.constant(logits[part])).numpy()
        for part in (slice(0, 4), slice(4, 5))
    )
    np.testing.assert_array_equal(parts, confusion(tf.constant(masks), tf.constant(logits)))


def test_a_class_that_does_not_occur_counts_for_nothing() -> None:
    scores = Scores.of(np.array([[3, 1, 0], [0, 4, 0], [0, 0, 0]]))
    assert scores.mean_iou == pytest.approx((3 / 4 + 4 / 5) / 2)
    assert math.isnan(scores.class_iou[2])


def test_counts_beyond_what_a_float32_can_tell_apart_are_exact() -> None:
    many = 2**24
    scores = Scores.of(np.array([[many + 1, 0], [1, many]]))
    assert scores.pixel_accuracy == (2 * many + 1) / (2 * many + 2)
