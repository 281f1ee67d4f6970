"""The border-weight map: the paper's formula, by hand and against a slow reading of it."""

from __future__ import annotations

import math
import threading
import time

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from unet.data.border import BorderMaps, border_map
from unet.data.examples import IGNORED
from unet.settings import LossSettings


def slow_map(
    mask: npt.NDArray[np.uint8], object_class: int, weight: float, sigma: float
) -> npt.NDArray[np.float64]:
    """The formula, pixel by pixel."""
    objects: list[set[tuple[int, int]]] = []
    left = {(int(y), int(x)) for y, x in np.argwhere(mask == object_class)}
    while left:
        part, edge = set(), [left.pop()]
        while edge:
            y, x = edge.pop()
            part.add((y, x))
            for neighbour in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
                if neighbour in left:
                    left.remove(neighbour)
                    edge.append(neighbour)
        objects.append(part)
    factors = np.ones(mask.shape)
    for (y, x), value in np.ndenumerate(mask):
        if value in (object_class, IGNORED) or len(objects) < 2:
            continue
        d1, d2, *_ = sorted(min(math.hypot(y - a, x - b) for a, b in part) for part in objects)
        factors[y, x] = 1 + weight * math.exp(-((d1 + d2) ** 2) / (2 * sigma**2))
    return factors


def test_two_cells_in_a_row_by_hand() -> None:
    mask = np.array([[1, 1, 0, 0, 0, 1]], np.uint8)
    # Distances to both: 1 + 3, 2 + 2 and 3 + 1 pixels.
    between = 1 + 10 * math.exp(-(4**2) / (2 * 5**2))
    np.testing.assert_allclose(
        border_map(mask, 1, 10, 5), [[1, 1, between, between, between, 1]], rtol=2**-11
    )


def test_the_nearest_two_of_three_cells_count() -> None:
    mask = np.zeros((1, 30), np.uint8)
    mask[0, [0, 10, 13]] = 1
    factors = border_map(mask, 1, 10, 5)
    assert factors[0, 4] == pytest.approx(1 + 10 * math.exp(-((4 + 6) ** 2) / 50), rel=1e-3)
    assert factors[0, 20] == pytest.approx(1 + 10 * math.exp(-((7 + 10) ** 2) / 50), rel=1e-3)


@given(
    arrays(
        np.uint8,
        st.tuples(st.integers(1, 14), st.integers(1, 14)),
        elements=st.sampled_from([0, 0, 0, 0, 1, 2, IGNORED]),
    ),
    st.sampled_from([0, 1, 2]),
    st.sampled_from([0.5, 10.0, 1000.0]),
    st.sampled_from([0.3, 1.0, 5.0, 50.0]),
)
@settings(deadline=None, max_examples=150)
def test_equals_a_slow_reading_of_the_paper(
    mask: npt.NDArray[np.uint8], object_class: int, weight: float, sigma: float
) -> None:
    expected = slow_map(mask, object_class, weight, sigma)
    np.testing.assert_allclose(border_map(mask, object_class, weight, sigma), expected, rtol=2**-10)


@pytest.mark.parametrize("count", [0, 1])
def test_with_fewer_than_two_objects_nothing_is_added(count: int) -> None:
    mask = np.zeros((6, 7), np.uint8)
    mask[2:4, 3] = count
    np.testing.assert_array_equal(border_map(mask, 1, 10, 5), np.ones((6, 7)))


def test_ignored_pixels_and_pixels_of_objects_count_as_ever() -> None:
    mask = np.array([[1, 0, IGNORED, 0, 1]], np.uint8)
    factors = border_map(mask, 1, 10, 5)
    assert factors[0, [0, 2, 4]].tolist() == [1, 1, 1]
    assert (factors[0, [1, 3]] > 5).all()


def test_a_membrane_of_one_pixel_parts_two_cells_though_it_runs_diagonally() -> None:
    mask = np.ones((8, 8), np.uint8)
    np.fill_diagonal(mask, 0)
    np.testing.assert_allclose(
        np.diag(border_map(mask, 1, 10, 5))[1:-1], 1 + 10 * math.exp(-4 / 50), rtol=1e-3
    )


def test_an_image_of_a_data_set_takes_a_fraction_of_a_second() -> None:
    mask = np.ones((512, 512), np.uint8)
    mask[::40] = mask[:, ::40] = 0  # 169 cells
    started = time.process_time()
    border_map(mask, 1, 10, 5)
    assert time.process_time() - started < 2  # 0.1 s here


def test_a_map_is_kept_as_long_as_there_is_memory_and_is_the_same_without() -> None:
    random = np.random.default_rng(0)
    masks = [random.integers(0, 2, (10, 12), dtype=np.uint8) for _ in range(3)]
    loss = LossSettings(border_weight=10)
    maps = BorderMaps(1, loss, memory=2 * 10 * 12 * 2)  # two maps of two bytes a pixel

    first = [maps.of(index, mask) for index, mask in enumerate(masks)]
    again = [maps.of(index, mask) for index, mask in enumerate(masks)]

    assert [one is other for one, other in zip(first, again, strict=True)] == [True, True, False]
    for factors, other, mask in zip(first, again, masks, strict=True):
        assert factors.dtype == np.float16
        np.testing.assert_array_equal(factors, border_map(mask, 1, 10, 5))
        np.testing.assert_array_equal(factors, other)


def test_threads_that_want_one_map_at_once_keep_one() -> None:
    mask = np.random.default_rng(0).integers(0, 2, (40, 40), dtype=np.uint8)
    maps = BorderMaps(1, LossSettings(border_weight=10), memory=2 * 40 * 40 * 2)
    together = threading.Barrier(8)

    def want() -> None:
        together.wait(timeout=60)
        maps.of(0, mask)

    threads = [threading.Thread(target=want) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert maps.of(0, mask) is maps.of(0, mask)
    assert maps.of(1, mask) is maps.of(1, mask)  # there is room for a second
