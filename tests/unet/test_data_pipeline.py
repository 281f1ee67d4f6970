"""Batches of augmented crops."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf

from unet.data_folder import LabelledImages, read_dataset
from unet.data_pipeline import augmented_crop, training_batches
from unet.settings import DataSettings

Batch = tuple[npt.NDArray[np.float32], npt.NDArray[np.int32]]


def take(batches: Iterator[tuple[tf.Tensor, tf.Tensor]], count: int) -> list[Batch]:
    return [(images.numpy(), masks.numpy()) for images, masks in (next(batches) for _ in range(count))]


def twin_images(count: int = 3) -> LabelledImages:
    """Images of different sizes whose every pixel says where it is, and whose masks are the same pixels."""
    rng = np.random.default_rng(1)
    pixels = [rng.integers(0, 256, (20 + 3 * n, 30 - 2 * n), dtype=np.uint8) for n in range(count)]
    names = tuple(str(n) for n in range(count))
    return LabelledImages(names, tuple(p[..., np.newaxis] for p in pixels), tuple(pixels))


@pytest.fixture
def twin_settings() -> DataSettings:
    return DataSettings(crop=16, batch=4, flip=True, rotate=True, brightness=0.0)


def test_a_batch_has_the_shapes_and_ranges_that_the_model_takes(data_settings: DataSettings) -> None:
    [(images, masks)] = take(training_batches(read_dataset(data_settings).training, data_settings, 0, 0), 1)

    assert images.shape == (4, 16, 16, 1)
    assert images.dtype == np.float32
    assert 0 <= images.min() < images.max() <= 1
    assert masks.shape == (4, 16, 16)
    assert masks.dtype == np.int32
    assert set(np.unique(masks)) <= {0, 1}


def test_crops_flips_and_turns_move_image_and_mask_alike(twin_settings: DataSettings) -> None:
    for images, masks in take(training_batches(twin_images(), twin_settings, 0, 0), 8):
        np.testing.assert_array_equal(np.rint(images[..., 0] * 255).astype(int), masks)


def test_brightness_changes_the_image_alone(twin_settings: DataSettings) -> None:
    joined = tf.constant(np.repeat(twin_images(1).images[0], 2, axis=-1))
    seed = tf.constant([1, 2], tf.int64)
    plain, mask = augmented_crop(joined, twin_settings, seed)
    bright, same_mask = augmented_crop(joined, replace(twin_settings, brightness=0.3), seed)

    np.testing.assert_array_equal(mask, same_mask)
    inside = (bright.numpy() > 0) & (bright.numpy() < 1)
    changes = (bright.numpy() - plain.numpy())[inside]
    assert 0 < abs(changes.mean()) <= 0.3
    np.testing.assert_allclose(changes, changes.mean(), atol=1e-6)


def test_every_orientation_of_a_crop_occurs_when_asked_for_and_none_otherwise(
    twin_settings: DataSettings,
) -> None:
    square = LabelledImages(("0",), (twin_images().images[0][:16, :16],), (twin_images().masks[0][:16, :16],))

    def orientations(settings: DataSettings) -> int:
        batches = take(training_batches(square, settings, 0, 0), 20)
        return len({mask.tobytes() for _, masks in batches for mask in masks})

    assert orientations(twin_settings) == 8
    assert orientations(replace(twin_settings, flip=False)) == 4
    assert orientations(replace(twin_settings, rotate=False)) == 4
    assert orientations(replace(twin_settings, flip=False, rotate=False)) == 1


def test_each_image_comes_once_in_each_pass(twin_settings: DataSettings) -> None:
    pixels = tuple(np.full((16, 16), n, dtype=np.uint8) for n in range(6))
    source = LabelledImages(tuple("abcdef"), tuple(p[..., np.newaxis] for p in pixels), pixels)

    batches = take(training_batches(source, twin_settings, 0, 0), 6)  # four passes of six images

    order = np.concatenate([masks[:, 0, 0] for _, masks in batches]).reshape(4, 6)
    assert all(sorted(one_pass) == [0, 1, 2, 3, 4, 5] for one_pass in order.tolist())
    assert len({tuple(one_pass) for one_pass in order.tolist()}) > 1


@pytest.mark.parametrize("step", [1, 5])
def test_batches_from_a_later_step_are_those_of_an_uninterrupted_sequence(
    twin_settings: DataSettings, step: int
) -> None:
    settings = replace(twin_settings, brightness=0.2)
    whole = take(training_batches(twin_images(), settings, 3, 0), 8)
    rest = take(training_batches(twin_images(), settings, 3, step), 8 - step)

    for (images, masks), (later_images, later_masks) in zip(whole[step:], rest, strict=True):
        np.testing.assert_array_equal(images, later_images)
        np.testing.assert_array_equal(masks, later_masks)


def test_another_seed_gives_other_crops(twin_settings: DataSettings) -> None:
    [(_, one)] = take(training_batches(twin_images(), twin_settings, 1, 0), 1)
    [(_, other)] = take(training_batches(twin_images(), twin_settings, 2, 0), 1)
    assert not np.array_equal(one, other)
