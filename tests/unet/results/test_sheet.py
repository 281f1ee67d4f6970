"""The picture of predictions, looked at pixel by pixel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from unet.data.examples import IGNORED, Pixels
from unet.evaluation import Evaluation, ScoredImage, ShownImage
from unet.metrics import Scores
from unet.palette import class_colours, vivid_colours
from unet.sheet import for_display, save_prediction_sheet

WRONG = (214, 39, 40)


def evaluation_of(
    image: Pixels, mask: npt.NDArray[np.uint8], segmentation: npt.NDArray[np.uint8]
) -> Evaluation:
    classes = 2 if mask[mask != IGNORED].max(initial=0) < 2 else 200
    scores = Scores.of(np.eye(classes, dtype=np.int64))
    names = tuple(f"class {number}" for number in range(classes))
    shown = (ShownImage("a", image, mask, segmentation),)
    return Evaluation(
        names, scores, (ScoredImage("a", scores, 1),), shown, white=float(np.iinfo(image.dtype).max)
    )


def sheet_of(evaluation: Evaluation, path: Path) -> npt.NDArray[np.uint8]:
    save_prediction_sheet(evaluation, path)
    return np.asarray(Image.open(path))


def share(sheet: npt.NDArray[np.uint8], column: int, colour: tuple[int, ...]) -> float:
    """How much of a column's tile, which is as high as wide, has this colour."""
    tile = sheet[60:300, 8 + column * 296 : 8 + column * 296 + 288]
    return float((tile == colour).all(axis=-1).mean())


def test_wrong_pixels_are_red_and_no_others(tmp_path: Path) -> None:
    mask = np.zeros((32, 32), np.uint8)
    segmentation = mask.copy()
    segmentation[:, :8] = 1
    sheet = sheet_of(
        evaluation_of(np.full((32, 32, 1), 90, np.uint8), mask, segmentation), tmp_path / "s.png"
    )

    assert [share(sheet, column, WRONG) for column in range(4)] == [0, 0, 0, pytest.approx(0.25, abs=0.01)]
    assert share(sheet, 1, (0, 0, 0)) == 1
    assert share(sheet, 2, (255, 255, 255)) == pytest.approx(0.25, abs=0.01)


def test_ignored_pixels_are_striped_and_never_wrong(tmp_path: Path) -> None:
    mask = np.full((32, 32), IGNORED, np.uint8)
    sheet = sheet_of(
        evaluation_of(np.zeros((32, 32, 1), np.uint8), mask, np.zeros_like(mask)), tmp_path / "s.png"
    )

    assert share(sheet, 3, WRONG) == 0
    for column in (1, 3):
        assert share(sheet, column, (120, 120, 140)) == pytest.approx(0.5, abs=0.02)


def test_a_thin_error_in_a_large_image_is_still_seen(tmp_path: Path) -> None:
    mask = np.zeros((2880, 2880), np.uint8)
    segmentation = mask.copy()
    segmentation[:, 1404] = 1  # would be skipped by taking each tenth pixel
    sheet = sheet_of(
        evaluation_of(np.zeros((2880, 2880, 1), np.uint8), mask, segmentation), tmp_path / "s.png"
    )

    assert len(np.unique(sheet[60:300, 8 + 3 * 296 : 8 + 3 * 296 + 288].reshape(-1, 3), axis=0)) == 2


@settings(deadline=None, max_examples=12)
@given(
    size=st.tuples(st.integers(1, 700), st.integers(1, 40)),
    channels=st.sampled_from([1, 3]),
    dtype=st.sampled_from([np.uint8, np.uint16]),
    classes=st.sampled_from([2, 3, 200]),
)
def test_any_image_fits(
    tmp_path_factory: pytest.TempPathFactory,
    size: tuple[int, int],
    channels: int,
    dtype: type[np.uint8] | type[np.uint16],
    classes: int,
) -> None:
    rng = np.random.default_rng(0)
    image: Pixels = rng.integers(0, np.iinfo(dtype).max, (*size, channels)).astype(dtype)  # type: ignore[assignment]
    mask = rng.choice([*range(classes), IGNORED], size).astype(np.uint8)
    sheet = sheet_of(evaluation_of(image, mask, mask % classes), tmp_path_factory.mktemp("s") / "s.png")

    assert sheet.shape[1] == 4 * 296 + 8
    assert sheet.shape[2] == 3


def test_a_dark_12_bit_image_is_made_visible() -> None:
    image = np.linspace(0, 4095, 10_000).reshape(100, 100, 1).astype(np.uint16)

    assert for_display(image, 65535).mean() > 100
    assert for_display((image // 16).astype(np.uint8), 255).max() == 255
    assert for_display(np.zeros((3, 3, 1), np.uint16), 65535).max() == 0


def test_each_class_has_its_own_colour() -> None:
    for classes in (2, 3, 8, 255):
        assert len({tuple(colour) for colour in class_colours(classes).tolist()}) == classes
        assert len({tuple(colour) for colour in vivid_colours(classes).tolist()}) == classes
    assert class_colours(2).tolist() == [[0, 0, 0], [255, 255, 255]]
