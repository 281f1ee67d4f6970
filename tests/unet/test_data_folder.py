"""Reading a folder of images and masks, and saying all that is wrong with it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from tests.unet.conftest import save
from unet.data_folder import read_dataset
from unet.errors import DatasetError
from unet.settings import DataSettings

WHITE = np.full((36, 40), 255, dtype=np.uint8)


def save_pair(root: Path, name: str, pixels: npt.NDArray[np.uint8]) -> None:
    for kind in ("images", "masks"):
        save(root / kind / f"{name}.png", pixels)


def empty(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


def test_images_come_with_their_masks_as_class_indices(data_settings: DataSettings, folder: Path) -> None:
    dataset = read_dataset(data_settings)

    assert dataset.training.names == ("0", "1", "2", "3")
    assert dataset.holdout.names == ("4", "5")
    assert dataset.training.images[2].shape == (36, 40, 1)
    expected = np.asarray(Image.open(folder / "masks" / "2.png")) // 255
    np.testing.assert_array_equal(dataset.training.masks[2], expected)


def test_numbered_images_are_in_counting_order(data_settings: DataSettings, folder: Path) -> None:
    save_pair(folder, "10", WHITE)

    dataset = read_dataset(replace(data_settings, train="0-3,10"))

    assert dataset.training.names == ("0", "1", "2", "3", "10")


def test_images_can_be_selected_by_pattern(data_settings: DataSettings, folder: Path) -> None:
    for name in ("night_a", "night_b"):
        save_pair(folder, name, WHITE)

    assert read_dataset(replace(data_settings, holdout="night_*")).holdout.names == ("night_a", "night_b")


def test_colour_images_keep_their_channels(data_settings: DataSettings, folder: Path) -> None:
    coloured = np.zeros((36, 40, 3), dtype=np.uint8)
    coloured[..., 2] = 200
    save(folder / "images" / "0.png", coloured)

    image = read_dataset(replace(data_settings, channels=3)).training.images[0]

    np.testing.assert_array_equal(image, coloured)


def test_palette_and_two_tone_masks_are_read_as_they_are_meant(
    data_settings: DataSettings, folder: Path
) -> None:
    two_tone = np.zeros((36, 40), dtype=bool)
    two_tone[:9] = True
    Image.fromarray(two_tone).save(folder / "masks" / "0.png")
    palette = Image.fromarray(np.where(two_tone, 255, 0).astype(np.uint8), mode=None).convert("P")
    palette.putdata((two_tone.ravel() * 255).tolist())
    palette.save(folder / "masks" / "1.png")

    masks = read_dataset(data_settings).training.masks

    np.testing.assert_array_equal(masks[0], two_tone)
    np.testing.assert_array_equal(masks[1], two_tone)


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "no mask": (lambda root: (root / "masks" / "1.png").unlink(), "images/1.png has no mask; masks/1.png"),
    "another size": (
        lambda root: save(root / "masks" / "2.png", WHITE[:-1]),
        "images/2.png is 40x36 and masks/2.png is 40x35",
    ),
    "unknown mask value": (
        lambda root: save(root / "masks" / "3.png", WHITE - np.uint8(55)),
        "masks/3.png has the values 200, which are no class; data.mask_values knows 0, 255",
    ),
    "not an image": (
        lambda root: (root / "images" / "0.png").write_text("hello"),
        "images/0.png cannot be read as an image",
    ),
    "cut off": (
        lambda root: (root / "images" / "0.png").write_bytes((root / "images" / "0.png").read_bytes()[:500]),
        "images/0.png cannot be read as an image",
    ),
    "16 bit": (
        lambda root: Image.fromarray(np.zeros((36, 40), dtype=np.uint16)).save(root / "images" / "0.png"),
        "images/0.png has pixels of kind I;16; convert it to 8-bit grey or RGB",
    ),
    "colour mask": (
        lambda root: save(root / "masks" / "0.png", np.zeros((36, 40, 3), dtype=np.uint8)),
        "masks/0.png has pixels of kind RGB",
    ),
    "smaller than a crop": (
        lambda root: save_pair(root, "0", WHITE[:9]),
        "images/0.png is 40x9, smaller than a crop of data.crop=16",
    ),
    "empty folder": (
        lambda root: empty(root / "images"),
        "images/ is empty",
    ),
    "no masks folder": (lambda root: shutil.rmtree(root / "masks"), "there is no folder masks/"),
    "no folder at all": (shutil.rmtree, "there is no folder images/"),
    "two of one name": (
        lambda root: save(root / "images" / "0.tif", WHITE),
        "images/0.png and 0.tif have the same name",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_is_wrong_is_said_with_the_name_of_the_file(
    data_settings: DataSettings, folder: Path, case: str
) -> None:
    change, message = BROKEN[case]
    change(folder)

    with pytest.raises(DatasetError) as caught:
        read_dataset(data_settings)

    assert message in str(caught.value)
    assert str(folder) in str(caught.value)


@pytest.mark.parametrize(
    ("train", "holdout", "message"),
    [
        ("7-9", "4-5", "data.train: '7-9' selects no image; there are 0, 1, 2, 3, 4, 5"),
        ("0-3", "night_*", "data.holdout: 'night_*' selects no image"),
        ("0-4", "4-5", "data.train and data.holdout both select 4"),
    ],
)
def test_a_selection_that_cannot_be_meant_is_refused(
    data_settings: DataSettings, train: str, holdout: str, message: str
) -> None:
    with pytest.raises(DatasetError) as caught:
        read_dataset(replace(data_settings, train=train, holdout=holdout))
    assert message in str(caught.value)


def test_everything_that_is_wrong_is_said_at_once(data_settings: DataSettings, folder: Path) -> None:
    (folder / "masks" / "1.png").unlink()
    (folder / "images" / "2.png").write_text("hello")
    save(folder / "masks" / "5.png", WHITE - np.uint8(1))

    with pytest.raises(DatasetError) as caught:
        read_dataset(data_settings)

    assert len(caught.value.problems) == 3


def test_a_long_list_of_problems_is_cut(folder: Path) -> None:
    error = DatasetError(folder, [f"images/{n}.png is missing" for n in range(50)])
    assert "images/19.png" in str(error)
    assert "images/20.png" not in str(error)
    assert "and 30 more" in str(error)
