"""Windows of images: where they may lie, and what is beyond the border."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unet.data_pipeline.memory import InMemory
from unet.data.examples import Example
from unet.data.order import PassOrder
from unet.data.windows import AS_IT_IS, Orientation, Windows, mirrored_part, oriented
from unet.settings import AugmentSettings, DataSettings

LAST = 1 - 2**-24
"""The largest float32 that is drawn."""


def windows(height: int, width: int, overhang: float = 0.0) -> tuple[Windows, npt.NDArray[np.uint8]]:
    data = DataSettings(augment=AugmentSettings(overhang=overhang))
    pixels = np.arange(height * width, dtype=np.uint8).reshape(height, width)
    examples = InMemory([Example(pixels[..., np.newaxis], pixels)])
    return Windows(examples, PassOrder(1, 1, False, 0), None, data), pixels


@given(
    st.integers(1, 9),
    st.integers(1, 9),
    st.tuples(st.integers(-30, 30), st.integers(1, 30)),
    st.tuples(st.integers(-30, 30), st.integers(1, 30)),
)
@settings(deadline=None, max_examples=100)
def test_beyond_the_border_lies_the_mirror_image_of_the_image(
    height: int, width: int, rows: tuple[int, int], columns: tuple[int, int]
) -> None:
    pixels = np.arange(height * width).reshape(height, width)
    far = np.pad(pixels, 80, mode="reflect")
    top, left = rows[0] + 80, columns[0] + 80
    expected = far[top : top + rows[1], left : left + columns[1]]
    np.testing.assert_array_equal(mirrored_part(pixels, rows, columns), expected)


def test_every_place_inside_is_as_likely_as_any_other_and_none_is_outside() -> None:
    cut, pixels = windows(7, 6)
    seen: dict[int, int] = {}
    for down in np.arange(0.05, 1, 0.1):  # four rows and three columns to begin at
        for right in np.arange(1 / 24, 1, 1 / 12):
            image, mask, _ = cut.crop(0, (down, right), AS_IT_IS, 4)
            np.testing.assert_array_equal(image[..., 0], mask)
            first = int(mask[0, 0])
            np.testing.assert_array_equal(mask, pixels[first // 6 :, first % 6 :][:4, :4])
            seen[first] = seen.get(first, 0) + 1
    assert sorted(seen) == [0, 1, 2, 6, 7, 8, 12, 13, 14, 18, 19, 20]
    assert min(seen.values()) >= 8  # 12 on average, and 10 shares fall unevenly into 4 rows


def test_with_an_overhang_crops_reach_so_far_beyond_the_image_and_no_further() -> None:
    cut, pixels = windows(7, 6, overhang=0.5)
    far = np.pad(pixels, 2, mode="reflect")
    rows = []
    for down in np.arange(1 / 16, 1, 1 / 8):  # eight rows to begin at: from -2 to 5
        _, mask, _ = cut.crop(0, (down, 0.0), AS_IT_IS, 4)
        (row,) = [row for row in range(8) if (far[row : row + 4, :4] == mask).all()]
        rows.append(row - 2)
    assert rows == list(range(-2, 6))


def test_with_an_overhang_the_centre_of_a_deformed_crop_may_lie_anywhere_in_the_image() -> None:
    cut, _ = windows(9, 9, overhang=0.5)
    places = []
    for share in (0.0, 0.5, LAST):
        (image, _, _), (row, _) = cut.around(0, (share, 0.5), 4.0, (-2.0, 2.0, -2.0, 2.0))
        places.append((int(image[0, 0, 0]) // 9, row))
    # The window begins so far above the centre; row -2 of the image is the mirror image of row 2.
    assert [(first, round(row, 3)) for first, row in places] == [(2, 2.0), (2, 2.0), (5, 3.0)]


def test_the_least_and_the_largest_draw_are_the_corners() -> None:
    cut, pixels = windows(9, 12)
    np.testing.assert_array_equal(cut.crop(0, (0, 0), AS_IT_IS, 4)[1], pixels[:4, :4])
    np.testing.assert_array_equal(cut.crop(0, (LAST, LAST), AS_IT_IS, 4)[1], pixels[-4:, -4:])


@pytest.mark.parametrize("draw", [0.0, 0.5, LAST])
def test_an_image_as_large_as_the_crop_is_taken_whole(draw: float) -> None:
    cut, pixels = windows(8, 8)
    np.testing.assert_array_equal(cut.crop(0, (draw, draw), AS_IT_IS, 8)[1], pixels)
    window, centre = cut.around(0, (draw, draw), 7.0, (-3.5, 3.5, -3.5, 3.5))
    assert centre == (3.5, 3.5)
    np.testing.assert_array_equal(window[1][:8, :8], pixels)


def test_an_image_smaller_than_the_crop_is_continued_by_its_mirror_image() -> None:
    cut, pixels = windows(4, 5)
    np.testing.assert_array_equal(
        cut.crop(0, (0.3, 0.9), AS_IT_IS, 8)[1], np.pad(pixels, ((2, 2), (2, 1)), "reflect")
    )


@given(
    st.tuples(st.floats(0, LAST), st.floats(0, LAST)),
    st.floats(0, 12),
    st.tuples(st.floats(-30, 0), st.floats(0, 30), st.floats(-30, 0), st.floats(0, 30)),
)
@settings(deadline=None, max_examples=100)
def test_a_window_holds_both_neighbours_of_each_place_in_its_box(
    place: tuple[float, float], extent: float, box: tuple[float, float, float, float]
) -> None:
    cut, _ = windows(9, 12)
    (image, mask, _), (row, column) = cut.around(0, place, extent, box)
    height, width = mask.shape
    assert image.shape == (height, width, 1)
    assert 0 <= row + box[0] <= row + box[1] <= height - 1
    assert 0 <= column + box[2] <= column + box[3] <= width - 1
    assert height <= box[1] - box[0] + 3  # and not much more
    assert width <= box[3] - box[2] + 3


ORIENTATIONS = [(a, b, c) for a in (False, True) for b in (False, True) for c in (False, True)]


def test_the_eight_orientations_are_all_ways_a_square_can_lie() -> None:
    pixels = np.arange(9).reshape(3, 3)
    turned: set[bytes] = {np.rot90(p, k).tobytes() for p in (pixels, pixels[::-1]) for k in range(4)}
    assert {oriented(pixels, orientation).tobytes() for orientation in ORIENTATIONS} == turned
    assert len(turned) == 8


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_a_crop_is_mirrored_and_turned_to_the_last_pixel(orientation: Orientation) -> None:
    cut, pixels = windows(9, 12)
    image, mask, _ = cut.crop(0, (0, 0), orientation, 5)
    expected: Any = pixels[:5, :5]
    expected = expected[::-1] if orientation[0] else expected
    expected = expected[:, ::-1] if orientation[1] else expected
    expected = expected.T if orientation[2] else expected
    np.testing.assert_array_equal(mask, expected)
    np.testing.assert_array_equal(image[..., 0], expected)
