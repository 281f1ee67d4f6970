"""What is done to crops: to image, mask and border map alike, once, and to the brightness of images alone."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage  # type: ignore[import-untyped]

from tests.unet.data_pipeline.memory import EVERYTHING, STILL, InMemory, stream, take, twins
from unet.data.augmentation import Augmentation, bicubic, interpolated, nearest
from unet.data.border import border_map
from unet.data.examples import IGNORED, Example
from unet.settings import AugmentSettings

MOVING = replace(EVERYTHING, brightness=0.0, contrast=0.0, gamma=0.0, noise=0.0)
MOVES = {
    "rotate": replace(STILL, rotate=180),
    "scale": replace(STILL, scale=0.5),
    "elastic": replace(STILL, elastic=4),
    "little elastic with flips": AugmentSettings(elastic=0.5, brightness=0.0),
    "all": MOVING,
}


def numbers(*values: int) -> list[tf.Tensor]:
    return [tf.constant(value, tf.int64) for value in values]


@pytest.fixture
def mapped() -> InMemory:
    """A 16-bit image whose first two channels tell row and column, and whose third is noise; a mask of blobs."""
    random = np.random.default_rng(5)
    rows, columns = np.mgrid[:60, :75]
    image = np.stack([rows * 500, columns * 500, random.integers(0, 65536, rows.shape)], axis=-1)
    mask = (ndimage.gaussian_filter(random.normal(size=rows.shape), 2.5) > 0).astype(np.uint8)
    mask[20:30, 5:70] = IGNORED
    return InMemory([Example(image.astype(np.uint16), mask)], white=65535.0)


@pytest.mark.parametrize("augment", MOVES.values(), ids=MOVES)
def test_image_mask_and_border_map_are_moved_alike(augment: AugmentSettings, mapped: InMemory) -> None:
    moved = stream(mapped, augment, border_weight=10, channels=3, crop=40)
    mask, texture = mapped.examples[0].mask, mapped.examples[0].image[..., 2] / 65535
    factors = border_map(mask, 1, 10, 5).astype(np.float32)
    left_the_image = False
    for images, masks, borders in take(moved, 4):
        # Where each pixel comes from is read off the image itself: a plane is interpolated without error.
        at = np.moveaxis(images[..., :2] * (65535 / 500), -1, 0)
        closest = np.rint(at).astype(int)
        no_tie = (abs(at - closest) < 0.49).all(axis=0)
        np.testing.assert_array_equal(masks[no_tie], mask[tuple(closest)][no_tie])
        np.testing.assert_allclose(images[..., 2], ndimage.map_coordinates(texture, at, order=1), atol=0.01)
        np.testing.assert_allclose(borders, ndimage.map_coordinates(factors, at, order=1), atol=0.1)
        assert {0, 1, IGNORED} == set(np.unique(masks))
        left_the_image |= bool((at < 0.5).any())
    assert left_the_image or augment.elastic < 1


@pytest.mark.parametrize("augment", MOVES.values(), ids=MOVES)
def test_an_image_that_is_its_own_mask_stays_so(augment: AugmentSettings) -> None:
    mask = (ndimage.gaussian_filter(np.random.default_rng(2).normal(size=(50, 90)), 3) > 0).astype(np.uint8)
    twin = InMemory([Example(mask[..., np.newaxis] * np.uint8(255), mask)])
    for images, masks in take(stream(twin, augment, crop=32), 6):
        image = images[..., 0]
        is_pure = (image < 1e-6) | (image > 1 - 1e-6)  # all four neighbours are of one class
        assert is_pure.mean() > 0.5
        np.testing.assert_array_equal(np.rint(image[is_pure]), masks[is_pure])


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_without_interpolation_pixels_are_those_of_the_image_to_the_last_bit(
    kind: type[np.uint8] | type[np.uint16],
) -> None:
    examples = twins(kind=kind)
    for images, masks in take(stream(examples, AugmentSettings(brightness=0.0)), 6):
        pixels = np.rint(images[..., 0] * examples.white).astype(int)
        np.testing.assert_array_equal(pixels % 256, masks)
        np.testing.assert_allclose(images[..., 0], pixels / examples.white, rtol=1e-6)


def test_the_border_map_is_flipped_and_turned_with_the_mask() -> None:
    random = np.random.default_rng(0)
    mask = random.permutation(np.arange(24 * 24) % 256).reshape(24, 24).astype(np.uint8) % 3
    example = Example(mask[..., np.newaxis], mask)
    factors = {
        border_map(mask, 1, 10, 5)[:: 1 - 2 * a, :: 1 - 2 * b].tobytes() for a in (0, 1) for b in (0, 1)
    }
    factors |= {np.frombuffer(f, np.float16).reshape(24, 24).T.tobytes() for f in factors}
    augment = AugmentSettings(brightness=0.0)
    [(_, masks, borders)] = take(stream(InMemory([example]), augment, 10, crop=24, batch=40), 1)
    assert {border.astype(np.float16).tobytes() for border in borders} == factors
    for one, border in zip(masks, borders, strict=True):
        np.testing.assert_array_equal(border, border_map(one.astype(np.uint8), 1, 10, 5))


@pytest.mark.parametrize(("flip", "quarter_turns"), list(itertools.product([True, False], repeat=2)))
def test_every_orientation_occurs_that_is_asked_for_and_no_other(flip: bool, quarter_turns: bool) -> None:
    image: Any = twins(1).examples[0].image[:16, :16]
    square = InMemory([Example(image, image[..., 0])])
    allowed = {np.rot90(image[..., 0], k).tobytes() for k in range(4 if quarter_turns else 1)}
    if flip:
        shapes = [np.frombuffer(turned, np.uint8).reshape(16, 16) for turned in allowed]
        allowed = {s[:: 1 - 2 * a, :: 1 - 2 * b].tobytes() for s in shapes for a in (0, 1) for b in (0, 1)}

    augment = replace(STILL, flip=flip, quarter_turns=quarter_turns)
    [(_, masks)] = take(stream(square, augment, batch=80), 1)
    assert {mask.astype(np.uint8).tobytes() for mask in masks} == allowed


def fields(augment: AugmentSettings, count: int = 40, size: int = 9) -> npt.NDArray[np.float32]:
    """float32 [count, 2, size, size]."""
    augmentation = Augmentation(augment, size, 7)
    drawn = tf.function(lambda number: augmentation.field(number, augmentation.draws(number)))
    return np.stack([drawn(number).numpy() for number in numbers(*range(count))])


def test_a_rotation_turns_by_up_to_its_limit_either_way() -> None:
    turned = fields(replace(STILL, rotate=30))
    np.testing.assert_allclose(np.hypot(*turned[:, :, 0, 0].T), np.hypot(4, 4), rtol=1e-5)  # rigid
    angles = np.degrees(np.arctan2(turned[:, 1, 8, 4], turned[:, 0, 8, 4]))
    assert -30 <= angles.min() < -15
    assert 15 < angles.max() <= 30


def test_a_scale_makes_larger_and_smaller_by_up_to_its_factor() -> None:
    scales = fields(replace(STILL, scale=0.5))[:, 0, 8, 4] / 4
    assert 1 / 1.5 <= scales.min() < 0.8
    assert 1.25 < scales.max() <= 1.5
    assert abs(np.log(scales).mean()) < 0.15


def test_an_elastic_deformation_moves_knots_by_its_standard_deviation_and_is_smooth_between() -> None:
    still = fields(STILL, 1, 61)
    moves = fields(replace(STILL, elastic=5, elastic_knots=4), 100, 61) - still
    at_knots = moves[:, :, ::20, ::20]
    assert abs(at_knots.mean()) < 0.5
    assert at_knots.std() == pytest.approx(5, rel=0.1)
    assert np.corrcoef(at_knots[:, 0].ravel(), at_knots[:, 1].ravel())[0, 1] == pytest.approx(0, abs=0.1)
    assert (
        abs(np.diff(moves, n=2, axis=-1)).max() < 0.4
    )  # a kink at a knot would be a large second difference


def test_the_elastic_grid_may_be_finer_than_the_crop() -> None:
    assert np.isfinite(fields(replace(STILL, elastic=5, elastic_knots=64), 2)).all()
    assert np.isfinite(fields(replace(STILL, elastic=5, elastic_knots=2), 2)).all()


@given(st.integers(1, 40), st.integers(2, 9))
@settings(deadline=None, max_examples=40)
def test_bicubic_interpolation_is_keys_kernel_between_the_knots(size: int, knots: int) -> None:
    def kernel(x: float) -> float:
        x = abs(x)
        if x < 1:
            return 1.5 * x**3 - 2.5 * x**2 + 1
        return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x < 2 else 0.0

    padded = range(-3, knots + 3)  # the outermost knots go on beyond the ends
    slow = np.zeros((size, knots))
    for pixel, place in enumerate(np.linspace(0, knots - 1, size)):
        for knot in padded:
            slow[pixel, min(max(knot, 0), knots - 1)] += kernel(place - knot)
    np.testing.assert_allclose(bicubic(size, knots), slow, atol=1e-5)


@given(st.integers(2, 9), st.integers(2, 9), st.integers(1, 3), st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=40)
def test_interpolation_equals_scipys(height: int, width: int, channels: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    pixels = random.random((height, width, channels), np.float32)
    at = np.stack([random.uniform(0, height - 1, (5, 4)), random.uniform(0, width - 1, (5, 4))])
    at[:, 0, 0] = height - 1, width - 1
    at = at.astype(np.float32)
    expected = [ndimage.map_coordinates(pixels[..., c], at, order=1) for c in range(channels)]
    np.testing.assert_allclose(
        interpolated(tf.constant(pixels), tf.constant(at)), np.stack(expected, axis=-1), atol=1e-5
    )
    classes = random.integers(0, 256, (height, width), dtype=np.uint8)
    closest = np.floor(at + 0.5).astype(int)
    np.testing.assert_array_equal(nearest(tf.constant(classes), tf.constant(at)), classes[tuple(closest)])


LIGHTS = {
    "brightness": replace(STILL, brightness=0.3),
    "contrast": replace(STILL, contrast=0.5),
    "gamma": replace(STILL, gamma=0.5),
    "noise": replace(STILL, noise=0.2),
}


def lit(augment: AugmentSettings, image: npt.NDArray[np.float32], count: int = 60) -> npt.NDArray[np.float32]:
    """float32 [count, height, width, channels]."""
    augmentation = Augmentation(augment, len(image), 7)
    drawn = tf.function(
        lambda number: augmentation.lit(tf.constant(image), number, augmentation.draws(number))
    )
    return np.stack([drawn(number).numpy() for number in numbers(*range(count))])


@pytest.mark.parametrize("augment", LIGHTS.values(), ids=LIGHTS)
@pytest.mark.parametrize("moves", [STILL, MOVING], ids=["still", "moving"])
def test_light_changes_the_image_alone(augment: AugmentSettings, moves: AugmentSettings) -> None:
    light = {name: getattr(augment, name) for name in LIGHTS}
    bright, plain = (take(stream(twins(), one, 5.0), 3) for one in (replace(moves, **light), moves))
    for changed, unchanged in zip(bright, plain, strict=True):
        assert not np.array_equal(changed[0], unchanged[0])
        assert 0 <= changed[0].min() < changed[0].max() <= 1
        np.testing.assert_array_equal(changed[1], unchanged[1])
        np.testing.assert_array_equal(changed[2], unchanged[2])


GREY = np.random.default_rng(3).uniform(0.4, 0.6, (20, 20, 3)).astype(np.float32)


def test_brightness_is_one_step_for_all_pixels() -> None:
    steps = lit(LIGHTS["brightness"], GREY) - GREY
    np.testing.assert_allclose(steps, np.broadcast_to(steps[:, :1, :1, :1], steps.shape), atol=1e-6)
    assert -0.3 <= steps.min() < -0.2
    assert 0.2 < steps.max() <= 0.3


def test_contrast_stretches_around_the_mean_of_each_channel() -> None:
    changed = lit(LIGHTS["contrast"], GREY)
    np.testing.assert_allclose(
        changed.mean(axis=(1, 2)), np.broadcast_to(GREY.mean(axis=(0, 1)), (60, 3)), atol=1e-5
    )
    stretched = changed.std(axis=(1, 2)) / GREY.std(axis=(0, 1))
    assert stretched.min() + 1e-5 >= 0.5
    assert stretched.min() < 0.6
    assert 1.4 < stretched.max() <= 1.5 + 1e-5


def test_gamma_is_a_power_that_leaves_black_and_white() -> None:
    image = GREY.copy()
    image[0, 0], image[0, 1] = 0, 1
    changed = lit(LIGHTS["gamma"], image)
    assert (changed[:, 0, 0] == 0).all()
    assert (changed[:, 0, 1] == 1).all()
    powers = np.log(changed[:, 1:]) / np.log(image[1:])
    np.testing.assert_allclose(powers, np.broadcast_to(powers[:, :1, :1, :1], powers.shape), rtol=1e-4)
    assert powers.min() + 1e-4 >= 1 / 1.5
    assert powers.min() < 0.75
    assert 1.35 < powers.max() <= 1.5 + 1e-4


def test_noise_is_of_a_deviation_up_to_its_limit_and_differs_from_pixel_to_pixel() -> None:
    noise = lit(replace(STILL, noise=0.05), GREY) - GREY
    deviations = noise.std(axis=(1, 2, 3))
    assert deviations.min() < 0.01
    assert 0.04 < deviations.max() < 0.055
    assert abs(noise.mean()) < 0.002


def test_what_is_drawn_for_an_example_is_spread_evenly_and_does_not_hang_together() -> None:
    moving = Augmentation(replace(STILL, elastic=1, elastic_knots=2), 2, 0)
    light = Augmentation(replace(STILL, noise=1), 2, 0)
    grey = tf.fill([2, 2, 1], 0.5)

    @tf.function  # type: ignore[untyped-decorator]
    def drawn(number: tf.Tensor) -> Any:
        draws = moving.draws(number)
        knots = tf.reshape(moving.field(number, draws), [-1])
        # As much noise in each, whatever is drawn for its deviation.
        noise = tf.reshape(light.lit(grey, number, draws._replace(noise=0.01)), [-1])
        return tf.stack(draws), tf.concat([tf.stack(draws), knots, noise], axis=0)

    both = [drawn(number) for number in numbers(*range(500))]
    draws = np.stack([draws for draws, _ in both])
    assert 0 <= draws.min() < draws.max() < 1
    np.testing.assert_allclose(draws.mean(axis=0), 0.5, atol=0.06)
    values = np.stack([values for _, values in both])
    values = np.concatenate([values[:-1], values[1:]], axis=1)  # with those of the next example
    values = np.concatenate([values, (values - values.mean(axis=0)) ** 2], axis=1)
    together = np.corrcoef(values.T) - np.eye(values.shape[1])
    half = values.shape[1] // 2
    assert abs(together[:half, :half]).max() < 0.25
    assert abs(together[half:, :half]).max() < 0.35


@pytest.mark.parametrize(("flip", "quarter_turns"), list(itertools.product([True, False], repeat=2)))
def test_flips_and_quarter_turns_are_as_many_where_pixels_are_interpolated(
    flip: bool, quarter_turns: bool
) -> None:
    places = fields(replace(STILL, flip=flip, quarter_turns=quarter_turns, rotate=0.01), 80)
    pixel = {(round(float(down)), round(float(right))) for down, right in places[:, :, 8, 3]}
    all_eight = {(4, -1), (4, 1), (-4, -1), (-4, 1), (1, 4), (1, -4), (-1, 4), (-1, -4)}
    turned = {(4, -1), (1, 4), (-4, 1), (-1, -4)}
    flipped = {(4, -1), (4, 1), (-4, -1), (-4, 1)}
    assert pixel == (
        all_eight if flip and quarter_turns else flipped if flip else turned if quarter_turns else {(4, -1)}
    )
