"""Whole images, tile by tile: the same as the whole image at once, where that can be."""

from __future__ import annotations

import tracemalloc
from itertools import pairwise

import keras
import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from unet.models import build_model, with_probabilities
from unet.settings import InferenceSettings, ModelSettings
from unet.tiles import Segmenter, cut

Floats = npt.NDArray[np.float32]


def noise(height: int, width: int, channels: int = 1) -> Floats:
    return np.random.default_rng(0).random((height, width, channels), np.float32)


def network(model: ModelSettings, channels: int = 1) -> keras.Model:
    """With weights whose logits differ from pixel to pixel, and statistics that are not those of its batch."""
    keras.utils.set_random_seed(3)
    built = build_model(model, channels, 3)
    for weight in built.weights:
        if "bias" in weight.path or "beta" in weight.path:
            weight.assign(keras.random.normal(weight.shape, stddev=0.2))
    return built


def segmenter(model: keras.Model, settings: ModelSettings, **inference: object) -> Segmenter:
    wanted = InferenceSettings(**inference)  # type: ignore[arg-type]
    return Segmenter(model, wanted, settings.size_multiple, settings.size_remainder, settings.margin)


def whole(model: keras.Model, image: Floats) -> Floats:
    return np.asarray(tf.nn.softmax(model(image[np.newaxis], training=False))[0])


SMALL = ModelSettings(filters=2, depth=2)
REACH = 2 + 2 * 2 + 4 * 2 + 2 * 2 + 2 + 4
"""Pixels that two levels of convolutions look to each side, the grids of pooling and up-sampling included."""


def test_an_image_that_fits_is_looked_at_as_it_is() -> None:
    model, image = network(SMALL), noise(12, 8)
    np.testing.assert_allclose(segmenter(model, SMALL)(image), whole(model, image), atol=1e-6)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 50), (21, 13), (64, 67), (200, 5), (131, 150)])
@pytest.mark.parametrize("model_settings", [SMALL, ModelSettings(filters=2, depth=1, padding="valid")])
def test_any_size_is_segmented(height: int, width: int, model_settings: ModelSettings) -> None:
    model = network(model_settings, channels=3)
    probabilities = segmenter(model, model_settings, tile=64, overlap=16)(noise(height, width, 3))
    assert probabilities.shape == (height, width, 3)
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(-1), 1, atol=1e-5)


def test_an_image_of_another_size_is_mirrored_up_to_what_the_model_takes() -> None:
    model, image = network(SMALL), noise(21, 13)
    mirrored = np.pad(image, [(0, 3), (0, 3), (0, 0)], mode="reflect")
    np.testing.assert_allclose(segmenter(model, SMALL)(image), whole(model, mirrored)[:21, :13], atol=1e-6)


def test_tiles_of_a_large_image_agree_with_the_whole_image() -> None:
    """2,000x1,500: further from the borders of tiles than the model looks, to the last digits."""
    model, image = network(SMALL), noise(2000, 1500)
    tiled = segmenter(model, SMALL, tile=512, overlap=128)(image)
    expected = whole(model, image)

    near_border = [
        np.zeros(length, bool) for length in image.shape[:2]
    ]  # of a tile that is not a border of the image
    for near, length in zip(near_border, image.shape[:2], strict=True):
        for stretch in cut(length, 512, 128, SMALL.size_multiple):
            for border in (stretch.first, stretch.last):
                if 0 < border < length:
                    near[max(border - REACH, 0) : border + REACH] = True
    far = ~(near_border[0][:, np.newaxis] | near_border[1])
    assert far.mean() > 0.5
    np.testing.assert_allclose(tiled[far], expected[far], atol=2e-6)
    # In the seams, what is near the border of a tile has little weight.
    assert np.abs(tiled - expected).max() < 0.5 * np.abs(expected - expected.mean()).max()
    assert np.abs(tiled - expected)[~far].mean() < 1e-3


@pytest.mark.parametrize(
    "model_settings",
    [
        ModelSettings(filters=2, depth=2, padding="valid"),
        ModelSettings(filters=2, depth=1, stem=2, padding="valid"),
        ModelSettings(filters=2, depth=3, padding="valid", norm="none"),
    ],
)
def test_without_padding_tiles_agree_everywhere(model_settings: ModelSettings) -> None:
    """The model sees everything that it looks at: there is nothing that a border could change."""
    model, image = network(model_settings), noise(150, 131)
    in_one = segmenter(model, model_settings, tile=256)(image)
    tiled = segmenter(model, model_settings, tile=64, overlap=8)(image)
    np.testing.assert_allclose(tiled, in_one, atol=2e-6)


def test_without_padding_the_inside_is_that_of_the_plain_model() -> None:
    model_settings = ModelSettings(filters=2, depth=2, padding="valid")
    margin = model_settings.margin
    side = 4 * 30 + model_settings.size_remainder
    model, image = network(model_settings), noise(side, side)
    inside = segmenter(model, model_settings)(image)[margin:-margin, margin:-margin]
    np.testing.assert_allclose(inside, whole(model, image), atol=2e-6)


@settings(deadline=None, max_examples=200)
@given(
    length=st.integers(1, 700),
    tile=st.integers(16, 128),
    share=st.floats(0, 0.5),
    grid=st.sampled_from([(1, 0, 0), (16, 0, 0), (32, 0, 0), (16, 12, 92), (4, 0, 20), (8, 0, 40)]),
)
def test_stretches_cover_an_image(length: int, tile: int, share: float, grid: tuple[int, int, int]) -> None:
    overlap, (multiple, remainder, margin) = int(share * tile), grid
    stretches = cut(length, tile, overlap, multiple, remainder, margin)

    total = np.zeros(length)
    for stretch in stretches:
        assert stretch.weights.shape == (stretch.size,)
        assert (stretch.weights > 0).all()
        total[stretch.first : stretch.last] += stretch.weights
        assert stretch.first % multiple == 0
        assert len(stretch.seen) % multiple == remainder % multiple
        assert len(stretch.seen) == len(stretches[0].seen)
        assert len(stretch.seen) - 2 * margin >= stretch.size
        # Where it is the image itself, it is that very place.
        positions = np.arange(len(stretch.seen)) + stretch.first - margin
        is_inside = (positions >= 0) & (positions < length)
        np.testing.assert_array_equal(stretch.seen[is_inside], positions[is_inside])
        assert (stretch.seen >= 0).all() and (stretch.seen < length).all()
    np.testing.assert_allclose(total, 1, atol=1e-6)
    for one, following in pairwise(stretches):
        assert one.last - following.first >= overlap
    if length <= tile:
        assert len(stretches) == 1


def test_seams_have_no_corner() -> None:
    first, second = cut(200, 128, 56)[:2]
    seam = first.weights[second.first :]
    assert len(seam) == 56
    np.testing.assert_allclose(seam + second.weights[: len(seam)], 1, atol=1e-6)
    assert (np.diff(seam) < 0).all()
    assert np.abs(np.diff(seam, 2)).max() < 0.003


def left_weighted() -> keras.Model:
    """Logits that are the image and what is to the left of it: not the same when it is mirrored or turned."""
    inputs = keras.Input((None, None, 1))
    kernel = np.zeros((1, 3, 1, 2), np.float32)
    kernel[0, :, 0, 1] = [3, 1, 0]
    logits = keras.layers.Conv2D(2, (1, 3), padding="same", use_bias=False, dtype="float32")
    model = keras.Model(inputs, logits(inputs))
    logits.set_weights([kernel])
    return model


@pytest.mark.parametrize(("average", "turns"), [("flips", (0, 2)), ("turns", (0, 1, 2, 3))])
def test_averages_are_over_all_ways_to_lay_an_image(average: str, turns: tuple[int, ...]) -> None:
    model, image = left_weighted(), noise(20, 32)
    views = []
    for turn in turns:
        for flipped in (False, True):
            laid = np.rot90(image[:, ::-1] if flipped else image, turn)
            seen = np.rot90(whole(model, np.ascontiguousarray(laid)), -turn)
            views.append(seen[:, ::-1] if flipped else seen)
    plain = InferenceSettings(average=average)
    np.testing.assert_allclose(Segmenter(model, plain, 1, 0, 0)(image), np.mean(views, axis=0), atol=1e-6)
    assert np.abs(views[0] - np.mean(views, axis=0)).max() > 0.1


def test_shifts_are_over_all_places_below_the_grid() -> None:
    model, image = network(SMALL), noise(20, 32)
    places = []
    for down in (0, 1, 2):
        for right in (0, 1, 2):
            beyond = np.pad(image, ((down, 0), (right, 0), (0, 0)), mode="reflect")
            places.append(segmenter(model, SMALL)(beyond)[down:, right:])
    shifted = segmenter(model, SMALL, tile=32, overlap=0, shifts=3)(image)
    np.testing.assert_allclose(shifted, np.mean(places, axis=0), atol=1e-6)
    assert np.abs(places[0] - shifted).max() > 1e-3


def test_a_model_without_a_grid_is_not_changed_by_shifts_but_at_the_border() -> None:
    model, image = left_weighted(), noise(24, 24)
    plain = Segmenter(model, InferenceSettings(), 1, 0, 0)(image)
    shifted = Segmenter(model, InferenceSettings(shifts=2), 1, 0, 0)(image)
    np.testing.assert_allclose(shifted[2:, 2:], plain[2:, 2:], atol=1e-6)


def test_a_model_that_looks_all_ways_alike_is_not_changed_by_averages() -> None:
    inputs = keras.Input((None, None, 1))
    logits = keras.layers.Conv2D(2, 3, padding="same", dtype="float32")
    model = keras.Model(inputs, logits(inputs))
    kernel = np.zeros((3, 3, 1, 2), np.float32)
    kernel[..., 1] = np.array([[1, 2, 1], [2, 5, 2], [1, 2, 1]])[..., np.newaxis]
    logits.set_weights([kernel, np.array([3, -3], np.float32)])

    image = noise(50, 41)
    plain = Segmenter(model, InferenceSettings(tile=24, overlap=8), 1, 0, 0)(image)
    averaged = Segmenter(model, InferenceSettings(tile=24, overlap=8, average="turns"), 1, 0, 0)(image)
    np.testing.assert_allclose(averaged, plain, atol=1e-6)


def test_a_model_of_probabilities_is_known_by_its_softmax() -> None:
    model, image = network(SMALL), noise(16, 16)
    np.testing.assert_allclose(
        segmenter(with_probabilities(model), SMALL)(image), segmenter(model, SMALL)(image), atol=1e-6
    )


def test_the_model_is_taken_as_it_is_at_each_call() -> None:
    model, image = network(SMALL), noise(16, 16)
    segment = segmenter(model, SMALL)
    before = segment(image)
    bias = model.get_layer("logits").bias
    bias.assign_add([4.0, 0.0, 0.0])
    assert (segment(image)[..., 0] > before[..., 0]).all()


def test_one_tile_at_a_time_all_of_one_size() -> None:
    shapes: list[tuple[int, ...]] = []
    inputs = keras.Input((None, None, 1))
    model = keras.Model(inputs, keras.layers.Conv2D(2, 1, dtype="float32")(inputs))
    segment = Segmenter(model, InferenceSettings(tile=64, overlap=8), 16, 0, 0)
    compiled = segment._probabilities

    def noted(tile: Floats) -> tf.Tensor:
        shapes.append(tile.shape)
        return compiled(tile)

    segment._probabilities = noted
    segment(noise(300, 170))
    assert set(shapes) == {(1, 64, 64, 1)}
    assert compiled.experimental_get_tracing_count() == 1
    segment(noise(30, 17))
    assert compiled.experimental_get_tracing_count() == 1


def test_memory_is_that_of_the_result_and_a_tile() -> None:
    model = network(ModelSettings(filters=1, depth=1, norm="none"))
    image = noise(1200, 1600)
    segment = Segmenter(model, InferenceSettings(tile=128, overlap=16), 2, 0, 0)
    segment(image[:128, :128])  # what is made once
    tracemalloc.start()
    try:
        result = segment(image)
        _, peak = tracemalloc.get_traced_memory()  # numpy's arrays
    finally:
        tracemalloc.stop()
    tile = 128 * 128 * 3 * 4
    assert peak < result.nbytes + 12 * tile + 200_000


def test_a_class_that_weighs_more_is_found_more_often() -> None:
    model = keras.Sequential([keras.layers.Input((None, None, 2)), keras.layers.Softmax()])
    image = np.random.default_rng(0).normal(size=(20, 30, 2)).astype(np.float32)
    plain = Segmenter(model, InferenceSettings(), 1, 0, 0)(image)
    weighted = Segmenter(model, InferenceSettings(class_weights=[2.0, 1.0]), 1, 0, 0)(image)
    np.testing.assert_allclose(weighted.sum(axis=-1), 1, rtol=1e-6)
    odds = plain[..., 0] / plain[..., 1]
    np.testing.assert_allclose(weighted[..., 0] / weighted[..., 1], 2 * odds, rtol=1e-4)
