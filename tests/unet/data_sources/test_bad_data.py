"""Every kind of bad data is found before the first step, and said with the file's name and a remedy."""

from __future__ import annotations

import logging
import os
import shutil
import struct
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from tests.unet.data_sources.conftest import image_of, mask_of, save
from unet.data.dataset import read_dataset
from unet.errors import DatasetError
from unet.settings import DataSettings

Change = Callable[[Path], object]


def tiff(path: Path, pixels: Any, **options: Any) -> None:
    """In place of the PNG of the same name."""
    path.with_suffix(".png").unlink(missing_ok=True)
    tifffile.imwrite(path, pixels, **options)


def empty(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


def truncate(path: Path, to: int) -> None:
    path.write_bytes(path.read_bytes()[:to])


def flip_bytes(path: Path) -> None:
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 20] = bytes(255 - byte for byte in data[middle : middle + 20])
    path.write_bytes(data)


def animated(path: Path) -> None:
    first, second = Image.fromarray(image_of(0)), Image.fromarray(image_of(1))
    first.save(path, save_all=True, append_images=[second])


def torn_deep_png(path: Path) -> None:
    tf = pytest.importorskip("tensorflow")
    path.write_bytes(tf.io.encode_png(np.stack([image_of(0).astype(np.uint16) * 257] * 3, -1)).numpy())
    truncate(path, 500)


def jpeg_mask(root: Path) -> None:
    (root / "masks/0.png").unlink()
    rough = np.random.default_rng(0).integers(0, 2, (36, 40)).astype(np.uint8) * np.uint8(255)
    Image.fromarray(rough).save(root / "masks/0.jpg", quality=60)


def lying_on_its_side(root: Path) -> None:
    (root / "images/0.png").unlink()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(image_of(0)).save(root / "images/0.jpg", exif=exif)


def enormous(path: Path) -> None:
    """A PNG that claims a billion pixels."""
    data = bytearray(path.read_bytes())
    data[16:24] = struct.pack(">II", 40000, 30000)
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    path.write_bytes(data)


def printing_colours(path: Path) -> None:
    Image.fromarray(mask_of(0)).convert("CMYK").save(path.with_suffix(".tif"))
    path.unlink()


def headless_stack(root: Path) -> None:
    """What ImageJ writes beyond 4 GiB: one header, and the pixels of all."""
    (root / "images/0.png").unlink()
    tifffile.imwrite(
        root / "images/0.tif",
        image_of(0),
        description="ImageJ=1.54f\nimages=3\nslices=3\n",
        metadata=None,
    )


def several(*changes: Change) -> Change:
    return lambda root: [change(root) for change in changes]


def stacks(images: int, masks: int) -> Change:
    def change(root: Path) -> None:
        tiff(root / "images/0.tif", np.stack([image_of(0)] * images), photometric="minisblack")
        tiff(root / "masks/0.tif", np.stack([mask_of(0)] * masks), photometric="minisblack")

    return change


# What is done to a good folder, the settings that are changed, and what has to be said: file or field, and remedy.
BAD: dict[str, tuple[Change, dict[str, Any], list[str]]] = {
    "image without a mask": (
        lambda root: (root / "masks/1.png").unlink(),
        {},
        ["images/1.png has no mask; masks/1.* is expected", "Add it"],
    ),
    "mask without an image": (
        lambda root: save(root / "masks/9.png", mask_of(0)),
        {},
        ["masks/9.png is a mask without an image; images/9.* is expected", "remove the mask"],
    ),
    "another size": (
        lambda root: save(root / "masks/2.png", mask_of(2)[:-1]),
        {},
        ["images/2.png is 40x36 and masks/2.png is 40x35", "export the mask again"],
    ),
    "an image that a camera notes to lie on its side": (
        lying_on_its_side,
        {},
        ["images/0.jpg is 36x40 and masks/0.png is 40x36", "save both upright"],
    ),
    "mask values that are no class": (
        lambda root: save(root / "masks/3.png", mask_of(3) - np.uint8(55)),
        {},
        [
            "masks/3.png has the values 200, 201, which are no class; data.mask_values knows 0, 255",
            "data.ignore_values",
        ],
    ),
    "a mask that JPEG has changed": (
        jpeg_mask,
        {},
        ["masks/0.jpg has the values", "because JPEG changes pixels; export the mask as PNG"],
    ),
    "a colour mask": (
        lambda root: save(root / "masks/0.png", np.stack([mask_of(0), mask_of(1), mask_of(2)], -1)),
        {},
        ["masks/0.png is a colour image; save it as a grey or palette image"],
    ),
    "a mask of printing colours": (
        lambda root: printing_colours(root / "masks/0.png"),
        {},
        ["masks/0.tif has pixels of kind CMYK; save it as a grey or palette image"],
    ),
    "a text file": (
        lambda root: (root / "images/0.png").write_text("hello"),
        {},
        ["images/0.png cannot be read as an image: it is none of PNG", "export it again"],
    ),
    "an empty file": (
        lambda root: (root / "images/0.png").write_bytes(b""),
        {},
        ["images/0.png cannot be read as an image", "export it again"],
    ),
    "a PNG that is cut off": (
        lambda root: truncate(root / "images/0.png", 500),
        {},
        ["images/0.png cannot be read as an image: its data are damaged or cut off; copy it again"],
    ),
    "a PNG with damaged bytes": (
        lambda root: flip_bytes(root / "images/0.png"),
        {},
        ["images/0.png cannot be read as an image: its data are damaged"],
    ),
    "a TIFF that is cut off": (
        several(
            lambda root: tiff(root / "images/0.tif", image_of(0)),
            lambda root: truncate(root / "images/0.tif", 300),
        ),
        {},
        ["images/0.tif cannot be read as an image: its data are damaged"],
    ),
    "a 16-bit colour PNG that is cut off": (
        lambda root: torn_deep_png(root / "images/0.png"),
        {"channels": 3},
        ["images/0.png cannot be read as an image: its data are damaged"],
    ),
    "more pixels than can be": (
        lambda root: enormous(root / "images/0.png"),
        {},
        ["images/0.png has more pixels than is safe to decode; cut it into parts"],
    ),
    "float pixels": (
        lambda root: tiff(root / "images/0.tif", image_of(0).astype(np.float32)),
        {},
        ["images/0.tif has float pixels; scale them and save it with 8- or 16-bit integers"],
    ),
    "NaN": (
        lambda root: tiff(root / "images/0.tif", np.full((36, 40), np.nan, np.float32)),
        {},
        ["images/0.tif has float pixels and pixels that are no numbers (NaN)"],
    ),
    "a float mask": (
        lambda root: tiff(root / "masks/0.tif", mask_of(0).astype(np.float32)),
        {},
        ["masks/0.tif has float pixels"],
    ),
    "negative pixels": (
        lambda root: tiff(root / "images/0.tif", image_of(0).astype(np.int16) - 300),
        {},
        ["images/0.tif has pixels from -300 to", "scale them to 0 to 65535"],
    ),
    "32 bit": (
        lambda root: tiff(root / "images/0.tif", image_of(0).astype(np.uint32) * 1000),
        {},
        ["images/0.tif has pixels from", "scale them to 0 to 65535"],
    ),
    "an animated file": (
        lambda root: animated(root / "images/0.png"),
        {},
        ["images/0.png is animated; save each of its pictures as a file"],
    ),
    "a stack with fewer masks": (
        stacks(3, 2),
        {"train": "*", "validation": ""},
        ["images/0.tif has 3 pages and masks/0.tif has 2; each page needs its mask"],
    ),
    "a stack of ImageJ without headers": (
        headless_stack,
        {},
        ["images/0.tif is an ImageJ stack of 3 images", "save it as BigTIFF"],
    ),
    "smaller than a crop": (
        several(
            lambda root: save(root / "images/0.png", image_of(0)[:9]),
            lambda root: save(root / "masks/0.png", mask_of(0)[:9]),
        ),
        {},
        ["images/0.png is 40x9, smaller than a crop of data.crop=16; take a smaller crop"],
    ),
    "two files of one name": (
        lambda root: Image.fromarray(image_of(0)).save(root / "images/0.tif"),
        {},
        ["images/0.png and images/0.tif both are '0'", "keep one of them"],
    ),
    "a stack whose pages are called like another image": (
        several(
            stacks(2, 2),
            lambda root: save(root / "images/0/1.png", image_of(0)),
            lambda root: save(root / "masks/0/1.png", mask_of(0)),
        ),
        {"train": "*", "validation": ""},
        ["images/0/1.png and images/0.tif both give the name 0/1; rename one"],
    ),
    "an empty folder": (
        lambda root: empty(root / "images"),
        {},
        ["no file in", "images matches data.images=images/{name}.*, and ends in .png", "which is empty"],
    ),
    "a folder of other files": (
        lambda root: [path.rename(path.with_suffix(".dcm")) for path in (root / "images").iterdir()],
        {},
        ["images matches data.images=images/{name}.*, and ends in .png", "there are images/0.dcm"],
    ),
    "a pattern that matches nothing": (
        lambda root: None,
        {"images": "images/{name}_raw.png"},
        ["matches data.images=images/{name}_raw.png; there are images/0.png"],
    ),
    "no folder of masks": (
        lambda root: shutil.rmtree(root / "masks"),
        {},
        ["there is no folder masks/ (looked for"],
    ),
    "no folder at all": (shutil.rmtree, {}, ["there is no folder", "data.folder is a path"]),
    "a link to nowhere": (
        several(
            lambda root: (root / "images/0.png").unlink(),
            lambda root: (root / "images/0.png").symlink_to("/nowhere.png"),
        ),
        {},
        ["images/0.png cannot be opened (No such file or directory); check that it is there"],
    ),
    "a selection of nothing": (
        lambda root: None,
        {"train": "7-9"},
        ["data.train: '7-9' selects no image; there are 0, 1, 2, 3, 4, 5"],
    ),
    "a part that is empty": (
        lambda root: None,
        {"validation": "night_*"},
        ["data.validation: 'night_*' selects no image"],
    ),
    "an image in two parts": (
        lambda root: None,
        {"train": "0-4", "test": "0,5"},
        [
            "data.train and data.validation both select 4",
            "data.train and data.test both select 0",
            "take them out",
        ],
    ),
    "a share of nothing": (
        lambda root: None,
        {"train": "80%"},
        ["data.train is 80%, but a share is one of data.train's images; name them"],
    ),
    "a share of all": (
        lambda root: None,
        {"validation": "100%"},
        ["data.validation is 100%; a share is above 0 % and below 100 %"],
    ),
    "shares that leave nothing": (
        lambda root: None,
        {"validation": "50%", "test": "50%"},
        ["nothing is left to train on", "give them smaller shares"],
    ),
    "more folds than images": (
        lambda root: None,
        {"folds": 5, "validation": ""},
        ["data.folds=5 is more than the 4 images that data.train selects; take fewer"],
    ),
    "a list that is not there": (
        lambda root: None,
        {"train": "@train.txt"},
        ["data.train: the list train.txt cannot be read (No such file or directory); give a path"],
    ),
    "a list of other images": (
        lambda root: (root / "train.txt").write_text("0\nnight_1\nnight_2.png\n"),
        {"train": "@train.txt"},
        ["data.train: the list train.txt names night_1, night_2.png, which are no images of data.folder"],
    ),
    "an empty list": (
        lambda root: (root / "train.txt").write_text("# none yet\n"),
        {"train": "@train.txt"},
        ["data.train: the list train.txt is empty; write one name a line"],
    ),
    "a list that is no text": (
        lambda root: shutil.copy(root / "images/0.png", root / "train.txt"),
        {"train": "@train.txt"},
        ["data.train: the list train.txt is no text"],
    ),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_data_is_said_with_file_and_remedy(
    settings: DataSettings, folder: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    change, changed, expected = BAD[kind]
    change(folder)

    with pytest.raises(DatasetError) as caught:
        read_dataset(replace(settings, **changed))

    said = str(caught.value)
    for part in expected:
        assert part in said
    assert str(folder) in said
    assert "Traceback" not in said and "Error" not in said
    assert caught.value.__cause__ is None


def test_everything_that_is_wrong_is_said_at_once(settings: DataSettings, folder: Path) -> None:
    (folder / "masks/1.png").unlink()
    (folder / "images/2.png").write_text("hello")
    save(folder / "masks/3.png", mask_of(3) - np.uint8(1))
    save(folder / "masks/9.png", mask_of(0))

    with pytest.raises(DatasetError) as caught:
        read_dataset(replace(settings, test="night_*"))

    assert len(caught.value.problems) == 5


def test_image_and_mask_of_one_example_are_both_blamed(settings: DataSettings, folder: Path) -> None:
    truncate(folder / "images/2.png", 500)
    truncate(folder / "masks/2.png", 60)

    with pytest.raises(DatasetError) as caught:
        read_dataset(settings)

    assert [problem.split()[0] for problem in caught.value.problems] == ["images/2.png", "masks/2.png"]


def test_a_long_list_of_problems_is_cut(folder: Path) -> None:
    error = DatasetError(folder, [f"images/{n}.png is missing" for n in range(50)])
    assert "images/19.png" in str(error)
    assert "images/20.png" not in str(error)
    assert "and 30 more" in str(error)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_named(settings: DataSettings, folder: Path) -> None:
    (folder / "images/0.png").chmod(0)
    with pytest.raises(DatasetError, match=r"images/0.png cannot be opened \(Permission denied\)"):
        read_dataset(settings)


def test_images_that_are_not_selected_need_no_mask(settings: DataSettings, folder: Path) -> None:
    save(folder / "images/7.png", image_of(7))
    assert len(read_dataset(settings).training) == 4


# What can be trained on, and may still be a mistake: a warning.
DOUBTFUL: dict[str, tuple[Change, dict[str, Any], str]] = {
    "masks of one class": (
        lambda root: save(root / "masks/1.png", np.zeros((36, 40), np.uint8)),
        {},
        "1 of 6 masks show a single class: 1.",
    ),
    "masks of ignored pixels": (
        lambda root: save(root / "masks/1.png", np.full((36, 40), 7, np.uint8)),
        {"ignore_values": [7]},
        "1 of 6 masks consist of ignored pixels only: 1.",
    ),
    "12-bit images as 16 bit": (
        lambda root: save(root / "images/1.png", np.full((36, 40), 4095, np.uint16)),
        {"train": "1", "validation": ""},
        "their brightest pixel is 4095",
    ),
    "taken for white": (
        lambda root: None,
        {"max_value": 100},
        "above data.max_value=100",
    ),
}


@pytest.mark.parametrize("kind", DOUBTFUL)
def test_doubtful_data_are_warned_of(
    settings: DataSettings, folder: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    change, changed, expected = DOUBTFUL[kind]
    change(folder)

    read_dataset(replace(settings, **changed))

    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert any(expected in warning for warning in warnings), warnings
