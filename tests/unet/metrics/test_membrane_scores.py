"""The challenge's scores on pictures whose scores can be worked out by hand, and against a slow reading."""

from __future__ import annotations

import math
from collections import Counter

import hypothesis.extra.numpy as arrays
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unet.membrane_scores import THRESHOLDS, Labels, membrane_scores, pair_scores, parts, thinned

pytest.importorskip("skimage")


def picture(*rows: str) -> npt.NDArray[np.bool_]:
    """Cells where a dot is, membrane where a hash is."""
    return np.array([[pixel == "." for pixel in row] for row in rows])


def labels(*rows: str) -> Labels:
    return np.array([[int(pixel) for pixel in row] for row in rows])


TWO_CELLS = picture("...#...", "...#...", "...#...")


def test_a_perfect_segmentation_scores_one() -> None:
    scores = membrane_scores([TWO_CELLS.astype(np.float32)], [TWO_CELLS])
    assert (scores.v_rand, scores.v_info) == (1.0, 1.0)


def test_membranes_may_be_thicker_than_in_truth() -> None:
    thick = picture("..###..", "..###..", "..###..").astype(np.float32)
    scores = membrane_scores([thick], [TWO_CELLS])
    assert (scores.v_rand, scores.v_info) == (1.0, 1.0)


def test_two_equal_cells_merged() -> None:
    """One cell in the segmentation: sum p^2 = 1/2, sum s^2 = 1, sum t^2 = 1/2; what it says of the cells is nothing."""
    assert pair_scores(labels("1111"), labels("1122")) == pytest.approx((0.5 / (0.5 + 0.25), 0.0))


def test_one_cell_split_in_halves() -> None:
    assert pair_scores(labels("1122"), labels("1111")) == pytest.approx((0.5 / (0.25 + 0.5), 0.0))


def test_one_of_two_cells_split() -> None:
    """sum p^2 = sum s^2 = 1/4 + 2/16, sum t^2 = 1/2; H(s) = 3/2 ln 2, H(t) = ln 2 = I."""
    rand, info = pair_scores(labels("11112233"), labels("11112222"))
    assert rand == pytest.approx(2 * 0.375 / (0.375 + 0.5))
    assert info == pytest.approx(2 * 1.0 / (1.5 + 1.0))


def test_a_gap_in_a_membrane_merges_two_cells() -> None:
    gap = picture("...#...", ".......", "...#...").astype(np.float32)
    scores = membrane_scores([gap], [TWO_CELLS])
    assert scores.v_rand == pytest.approx(0.5 / (0.5 + 0.25))
    assert scores.v_info == pytest.approx(0)


def test_pixels_that_are_membrane_in_truth_count_for_nothing() -> None:
    assert pair_scores(labels("1111222"), labels("1110222")) == pytest.approx((1.0, 1.0))


@st.composite
def label_pairs(draw: st.DrawFn) -> tuple[Labels, Labels]:
    shape = draw(arrays.array_shapes(min_dims=2, max_dims=2, max_side=5))
    numbers = arrays.arrays(np.int64, shape, elements=st.integers(0, 3))
    segmentation, truth = draw(numbers), draw(numbers)
    truth.flat[0] = 1  # something has to be a cell
    return segmentation, truth


@settings(deadline=None, max_examples=200)
@given(label_pairs())
def test_scores_are_those_of_a_slow_reading(pair: tuple[Labels, Labels]) -> None:
    """Rand over all pairs of pixels, information over the shares as the paper writes them."""
    segmentation, truth = pair
    cells = [
        ((int(s) if s else -1 - place), int(t))  # a membrane's pixel is a cell by itself
        for place, (s, t) in enumerate(zip(segmentation.flat, truth.flat, strict=True))
        if t
    ]
    in_both = sum(a == b for a in cells for b in cells)
    in_found = sum(a[0] == b[0] for a in cells for b in cells)
    in_true = sum(a[1] == b[1] for a in cells for b in cells)

    shares = {pair: count / len(cells) for pair, count in Counter(cells).items()}
    found = {s: count / len(cells) for s, count in Counter(s for s, _ in cells).items()}
    true = {t: count / len(cells) for t, count in Counter(t for _, t in cells).items()}
    mutual = sum(p * math.log(p / (found[s] * true[t])) for (s, t), p in shares.items())
    entropies = -sum(p * math.log(p) for p in [*found.values(), *true.values()])

    rand, info = pair_scores(segmentation, truth)
    assert rand == pytest.approx(in_both / (in_found / 2 + in_true / 2))
    assert info == pytest.approx(2 * mutual / entropies if entropies else 1.0, abs=1e-9)


def test_thinning_keeps_the_cells_and_leaves_a_line_between_them() -> None:
    rng = np.random.default_rng(0)
    inside = np.ones((60, 60), bool)
    inside[18:26], inside[:, 30:37] = False, False  # membranes 8 and 7 wide
    inside[5, 5] = False  # and a speck inside a cell
    inside &= rng.random(inside.shape) > 0.001
    thin, cells = thinned(inside), parts(inside)

    assert thin.max() == 4
    np.testing.assert_array_equal(thin[inside], cells[inside])
    assert thin[5, 5] == thin[0, 0]
    for one, next_one in ((thin[:-1], thin[1:]), (thin[:, :-1], thin[:, 1:])):
        assert not ((one != next_one) & (one > 0) & (next_one > 0)).any()  # no two cells touch
    assert (thin == 0).sum() <= 60 + 60


def test_without_any_cell_all_is_one_cell() -> None:
    np.testing.assert_array_equal(thinned(np.zeros((2, 3), bool)), np.ones((2, 3)))


def test_the_best_threshold_over_all_images_counts() -> None:
    """At 0.5 both images are right; at other thresholds one of them is merged."""
    dim, bright = 0.5 * TWO_CELLS, np.where(TWO_CELLS, 1.0, 0.35)
    scores = membrane_scores([dim, bright], [TWO_CELLS, TWO_CELLS])
    assert scores.v_rand == 1.0
    assert scores.v_rand_threshold == scores.v_info_threshold == 0.4
    one = membrane_scores([dim, bright], [TWO_CELLS, TWO_CELLS], thresholds=[0.3])
    assert one.v_rand == pytest.approx((1 + 0.5 / 0.75) / 2)
    assert THRESHOLDS[0] == 0.0 and THRESHOLDS[-1] == 1.0


def test_an_image_without_cells_is_refused() -> None:
    with pytest.raises(ValueError, match="no pixel inside of a cell"):
        membrane_scores([np.zeros((2, 2))], [np.zeros((2, 2), bool)])
    with pytest.raises(ValueError, match="0 predictions for 0 images"):
        membrane_scores([], [])
