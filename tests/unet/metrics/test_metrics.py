"""Scores against scikit-learn and against plain readings of their definitions."""

from __future__ import annotations

import math
from typing import Any

import hypothesis.extra.numpy as arrays
import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics  # type: ignore[import-untyped]

from unet.data.examples import IGNORED
from unet.metrics import Scores, confusion, pixel_accuracy

Ints = npt.NDArray[np.int32]


@st.composite
def segmentations(draw: st.DrawFn) -> tuple[Ints, Ints, int]:
    """Masks and predictions [batch, height, width] of some of the classes, and how many classes there are."""
    classes = draw(st.integers(2, 5))
    shape = draw(arrays.array_shapes(min_dims=3, max_dims=3, max_side=5))
    used = st.sampled_from(draw(st.lists(st.integers(0, classes - 1), min_size=1, max_size=classes)))
    masks = draw(arrays.arrays(np.int32, shape, elements=st.one_of(used, st.just(IGNORED))))
    return masks, draw(arrays.arrays(np.int32, shape, elements=used)), classes


def counts_of(masks: Ints, predicted: Ints, classes: int) -> npt.NDArray[np.int64]:
    return np.asarray(confusion(tf.constant(masks), tf.one_hot(predicted, classes)))


@settings(deadline=None, max_examples=60)
@given(segmentations())
def test_scores_are_those_of_scikit_learn(drawn: tuple[Ints, Ints, int]) -> None:
    masks, predicted, classes = drawn
    counted = masks != IGNORED
    truth, guess, labels = masks[counted], predicted[counted], list(range(classes))
    counts = counts_of(*drawn)
    scores = Scores.of(counts)
    if not counted.any():
        assert not counts.any()
        assert math.isnan(scores.mean_iou)
        return

    np.testing.assert_array_equal(counts, sklearn_metrics.confusion_matrix(truth, guess, labels=labels))
    assert scores.pixel_accuracy == pytest.approx(sklearn_metrics.accuracy_score(truth, guess))
    per_class: dict[str, Any] = {"labels": labels, "average": None, "zero_division": np.nan}
    for ours, theirs in (
        (scores.class_dice, sklearn_metrics.f1_score(truth, guess, **per_class)),
        (scores.class_precision, sklearn_metrics.precision_score(truth, guess, **per_class)),
        (scores.class_recall, sklearn_metrics.recall_score(truth, guess, **per_class)),
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)
    occurring = sorted({*truth.tolist(), *guess.tolist()})
    iou = sklearn_metrics.jaccard_score(truth, guess, labels=occurring, average=None)
    np.testing.assert_allclose(np.array(scores.class_iou)[occurring], iou, rtol=1e-12)
    assert scores.mean_iou == pytest.approx(iou.mean())


@settings(deadline=None, max_examples=60)
@given(segmentations())
def test_scores_are_those_of_the_definitions(drawn: tuple[Ints, Ints, int]) -> None:
    masks, predicted, classes = drawn
    pairs = [(t, p) for t, p in zip(masks.flat, predicted.flat, strict=True) if t != IGNORED]
    scores = Scores.of(counts_of(*drawn))

    ious, dices = [], []
    for c in range(classes):
        both = sum(t == c == p for t, p in pairs)
        either = sum(c in pair for pair in pairs)
        taken, there = sum(p == c for _, p in pairs), sum(t == c for t, _ in pairs)
        assert scores.class_iou[c] == pytest.approx(both / either if either else math.nan, nan_ok=True)
        assert scores.class_precision[c] == pytest.approx(both / taken if taken else math.nan, nan_ok=True)
        assert scores.class_recall[c] == pytest.approx(both / there if there else math.nan, nan_ok=True)
        if either:
            ious.append(both / either)
            dices.append(2 * both / (taken + there))
    assert scores.mean_iou == pytest.approx(sum(ious) / len(ious) if ious else math.nan, nan_ok=True)
    assert scores.mean_dice == pytest.approx(sum(dices) / len(dices) if dices else math.nan, nan_ok=True)


@settings(deadline=None, max_examples=30)
@given(segmentations())
def test_accuracy_of_the_step_is_that_of_the_confusion(drawn: tuple[Ints, Ints, int]) -> None:
    masks, predicted, classes = drawn
    accuracy = float(pixel_accuracy(tf.constant(masks), tf.one_hot(predicted, classes), lambda value: value))
    expected = Scores.of(counts_of(*drawn)).pixel_accuracy
    assert accuracy == pytest.approx(0 if math.isnan(expected) else expected, rel=1e-6)


def test_accuracy_is_that_of_all_devices_together() -> None:
    masks, logits = tf.constant([[[0, 1, 1, IGNORED]]]), tf.one_hot([[[0, 1, 0, 0]]], 2)
    elsewhere = tf.constant([0.0, 5.0])  # another device has 5 pixels, none of them right
    assert float(pixel_accuracy(masks, logits, lambda value: value + elsewhere)) == pytest.approx(2 / 8)


def test_rows_of_the_confusion_are_the_true_classes() -> None:
    logits = tf.one_hot([[[1, 1, 0]]], 2)
    np.testing.assert_array_equal(confusion(tf.constant([[[0, 1, 1]]]), logits), [[0, 1], [1, 1]])


@pytest.mark.parametrize("classes", [2, 3, 21])
def test_the_confusion_is_the_same_when_xla_compiles_it(classes: int) -> None:
    rng = np.random.default_rng(0)
    masks = rng.integers(0, classes, (2, 8, 8)).astype(np.int32)
    masks[:, :2] = IGNORED
    logits = tf.constant(rng.normal(size=(2, 8, 8, classes)), tf.float32)
    compiled = tf.function(confusion, jit_compile=True)
    np.testing.assert_array_equal(compiled(tf.constant(masks), logits), confusion(masks, logits))


def test_counts_of_batches_of_any_size_add_up() -> None:
    rng = np.random.default_rng(0)
    masks = rng.integers(0, 3, size=(5, 4, 4)).astype(np.int32)
    predicted = rng.integers(0, 3, size=(5, 4, 4)).astype(np.int32)
    parts = counts_of(masks[:4], predicted[:4], 3) + counts_of(masks[4:], predicted[4:], 3)
    np.testing.assert_array_equal(parts, counts_of(masks, predicted, 3))


def test_masks_may_be_bytes() -> None:
    masks = np.array([[[0, 1, IGNORED]]], np.uint8)
    counts = confusion(masks, tf.one_hot([[[0, 0, 1]]], 2))
    np.testing.assert_array_equal(counts, [[1, 0], [1, 0]])


def test_a_class_that_does_not_occur_counts_for_nothing() -> None:
    scores = Scores.of([[3, 1, 0], [0, 4, 0], [0, 0, 0]])
    assert scores.mean_iou == pytest.approx((3 / 4 + 4 / 5) / 2)
    assert math.isnan(scores.class_iou[2])


def test_counts_beyond_what_a_float32_can_tell_apart_are_exact() -> None:
    many = 2**24
    scores = Scores.of([[many + 1, 0], [1, many]])
    assert scores.pixel_accuracy == (2 * many + 1) / (2 * many + 2)
