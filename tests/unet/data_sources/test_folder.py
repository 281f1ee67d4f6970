"""Images and masks are read as they are meant, whatever the layout, format and depth."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tifffile
from PIL import Image

from tests.unet.data_sources.conftest import image_of, mask_of, save
from unet.data.dataset import read_dataset
from unet.data.examples import IGNORED, to_float
from unet.errors import DatasetError
from unet.settings import DataSettings


def deep(number: int, channels: int | None = None) -> npt.NDArray[np.uint16]:
    shape = (36, 40) if channels is None else (36, 40, channels)
    return np.random.default_rng(number).integers(0, 65536, shape, np.uint16)


def only(settings: DataSettings, **changed: Any) -> DataSettings:
    """Nothing but image 0."""
    return replace(settings, **({"train": "0", "validation": ""} | changed))


def test_images_come_with_their_masks_as_class_indices(settings: DataSettings, folder: Path) -> None:
    dataset = read_dataset(settings)

    assert tuple(dataset.training.names) == ("0", "1", "2", "3")
    assert tuple(dataset.validation.names) == ("4", "5")
    assert len(dataset.test) == 0
    assert dataset.training.files[2] == str(folder / "images/2.png")
    example = dataset.training.read(2)
    np.testing.assert_array_equal(example.image, image_of(2)[..., np.newaxis])
    np.testing.assert_array_equal(example.mask, mask_of(2) // 255)
    assert to_float(example.image, dataset.training.white).max() == pytest.approx(1, abs=0.02)


def test_numbered_images_are_in_counting_order(settings: DataSettings, folder: Path) -> None:
    for name in ("10", "a2", "a10", "a1"):
        save(folder / "images" / f"{name}.png", image_of(0))
        save(folder / "masks" / f"{name}.png", mask_of(0))

    names = read_dataset(replace(settings, train="*", validation="")).training.names

    assert tuple(names) == ("0", "1", "2", "3", "4", "5", "10", "a1", "a2", "a10")


@pytest.mark.parametrize(
    ("images", "masks", "image", "mask", "name"),
    [
        ("{name}.png", "{name}_mask.*", "x.png", "x_mask.png", "x"),
        ("{name}_image.png", "{name}.png", "x_image.png", "x.png", "x"),
        ("raw/*/{name}.png", "raw/*/{name}.tif", "raw/monday/x.png", "raw/monday/x.tif", "x"),
        (
            "left/{name}_left.png",
            "gt/{name}_ids.png",
            "left/ulm/x_1_left.png",
            "gt/ulm/x_1_ids.png",
            "ulm/x_1",
        ),
        ("in/{name}.*", "out/{name}.*", "in/a.b.bmp", "out/a.b.PNG", "a.b"),
        ("in (1)/[{name}].png", "out+/{name}.png", "in (1)/[x].png", "out+/x.png", "x"),
    ],
)
def test_partners_are_found_by_patterns(
    settings: DataSettings, tmp_path: Path, images: str, masks: str, image: str, mask: str, name: str
) -> None:
    root = tmp_path / "other"
    save(root / image, image_of(0))
    save(root / mask, mask_of(0))
    (root / "notes.txt").write_text("not an image")
    save(root / ".hidden/x.png", image_of(1))

    dataset = read_dataset(
        replace(settings, folder=str(root), images=images, masks=masks, train="*", validation="")
    )

    assert tuple(dataset.training.names) == (name,)
    np.testing.assert_array_equal(dataset.training.read(0).mask, mask_of(0) // 255)


def test_two_stacks_without_a_name_give_a_page_for_each_number(
    settings: DataSettings, tmp_path: Path
) -> None:
    root = tmp_path / "isbi"
    root.mkdir()
    tifffile.imwrite(
        root / "train-volume.tif", np.stack([image_of(n) for n in range(12)]), photometric="minisblack"
    )
    tifffile.imwrite(
        root / "train-labels.tif", np.stack([mask_of(n) for n in range(12)]), photometric="minisblack"
    )

    dataset = read_dataset(
        replace(
            settings,
            folder=str(root),
            images="train-volume.tif",
            masks="train-labels.tif",
            train="0-9",
            validation="10-11",
        )
    )

    assert tuple(dataset.validation.names) == ("10", "11")
    assert dataset.validation.files[1] == f"{root}/train-volume.tif page 11"
    example = dataset.validation.read(1)
    np.testing.assert_array_equal(example.image[..., 0], image_of(11))
    np.testing.assert_array_equal(example.mask, mask_of(11) // 255)


def test_pages_of_stacks_are_selected_one_by_one_or_together(settings: DataSettings, folder: Path) -> None:
    for name in ("left", "right"):
        tifffile.imwrite(
            folder / f"images/{name}.tif", np.stack([image_of(n) for n in range(3)]), photometric="minisblack"
        )
        tifffile.imwrite(
            folder / f"masks/{name}.tif", np.stack([mask_of(n) for n in range(3)]), photometric="minisblack"
        )

    dataset = read_dataset(replace(settings, train="left,right/0", validation="right/[12]"))

    assert tuple(dataset.training.names) == ("left/0", "left/1", "left/2", "right/0")
    assert tuple(dataset.validation.names) == ("right/1", "right/2")


# How a 16-bit picture may be written, and what is read of it.
DEEP: dict[str, dict[str, Any]] = {
    "plain": {},
    "deflate": {"compression": "zlib"},
    "tiled": {"tile": (16, 16)},
    "big-endian": {"byteorder": ">"},
    "BigTIFF": {"bigtiff": True},
}


@pytest.mark.parametrize("options", DEEP.values(), ids=DEEP)
@pytest.mark.parametrize("channels", [1, 3])
def test_16_bit_tiffs_keep_every_bit(
    settings: DataSettings, folder: Path, options: dict[str, Any], channels: int
) -> None:
    pixels = deep(0, channels if channels == 3 else None)
    (folder / "images/0.png").unlink()
    tifffile.imwrite(folder / "images/0.tif", pixels, **options)

    training = read_dataset(only(settings, channels=channels)).training

    assert training.white == 65535
    np.testing.assert_array_equal(training.read(0).image, pixels.reshape(36, 40, channels))


def test_planes_behind_each_other_are_channels(settings: DataSettings, folder: Path) -> None:
    pixels = deep(0, 3)
    (folder / "images/0.png").unlink()
    tifffile.imwrite(
        folder / "images/0.tif", np.moveaxis(pixels, -1, 0), photometric="rgb", planarconfig="separate"
    )
    np.testing.assert_array_equal(read_dataset(only(settings, channels=3)).training.read(0).image, pixels)


def test_16_bit_grey_is_read_with_a_compression_that_tifffile_lacks(
    settings: DataSettings, folder: Path
) -> None:
    (folder / "images/0.png").unlink()
    Image.fromarray(deep(0)).save(folder / "images/0.tif", compression="tiff_lzw")
    np.testing.assert_array_equal(read_dataset(only(settings)).training.read(0).image[..., 0], deep(0))


def test_16_bit_pngs_keep_every_bit(settings: DataSettings, folder: Path) -> None:
    tf = pytest.importorskip("tensorflow")
    save(folder / "images/0.png", deep(0))
    (folder / "images/1.png").write_bytes(tf.io.encode_png(deep(1, 3)).numpy())

    training = read_dataset(only(settings, train="0-1", channels=3)).training

    np.testing.assert_array_equal(training.read(0).image, np.repeat(deep(0)[..., np.newaxis], 3, -1))
    np.testing.assert_array_equal(training.read(1).image, deep(1, 3))


def test_8_bit_images_among_16_bit_ones_are_scaled_up(settings: DataSettings, folder: Path) -> None:
    save(folder / "images/0.png", deep(0))

    dataset = read_dataset(settings)

    assert dataset.training.read(1).image.dtype == dataset.validation.read(0).image.dtype == np.uint16
    assert dataset.validation.white == 65535
    np.testing.assert_array_equal(dataset.training.read(1).image[..., 0], image_of(1).astype(np.uint16) * 257)


def test_max_value_is_white(settings: DataSettings) -> None:
    assert read_dataset(replace(settings, max_value=100)).validation.white == 100


@pytest.mark.parametrize("depth", [8, 16])
def test_colour_becomes_grey_by_its_brightness(settings: DataSettings, folder: Path, depth: int) -> None:
    white = 2**depth - 1
    colours = np.zeros((36, 40, 3), np.uint8 if depth == 8 else np.uint16)
    colours[:, :20, 1] = white
    (folder / "images/0.png").unlink()
    tifffile.imwrite(folder / "images/0.tif", colours)

    image = read_dataset(only(settings)).training.read(0).image

    assert image.shape == (36, 40, 1)
    assert int(image[0, 0, 0]) == pytest.approx(0.587 * white, rel=0.01)
    assert int(image[0, 30, 0]) == 0


def test_masks_are_read_as_they_are_meant(settings: DataSettings, folder: Path) -> None:
    bright = mask_of(0) > 0
    Image.fromarray(bright).save(folder / "masks/0.png")  # two tones
    palette = Image.fromarray(mask_of(1)).convert("P")
    palette.putpalette([255, 0, 0] * 255 + [0, 0, 255])
    palette.putdata(mask_of(1).ravel().tolist())
    palette.save(folder / "masks/1.png")
    save(folder / "masks/2.png", np.repeat(mask_of(2)[..., np.newaxis], 3, -1))  # grey, saved as colour
    save(folder / "masks/3.png", mask_of(3).astype(np.uint16))

    training = read_dataset(settings).training

    for number in range(4):
        np.testing.assert_array_equal(training.read(number).mask, mask_of(number) // 255)


@pytest.mark.parametrize("values", [[0, 1], [0, 255]])
def test_white_of_two_tone_masks_is_1_or_255(settings: DataSettings, folder: Path, values: list[int]) -> None:
    Image.fromarray(mask_of(0) > 0).save(folder / "masks/0.png")
    mask = read_dataset(only(settings, mask_values=values)).training.read(0).mask
    np.testing.assert_array_equal(mask, mask_of(0) // 255)


def test_mask_values_of_16_bit_become_classes(settings: DataSettings, folder: Path) -> None:
    save(folder / "masks/0.png", np.where(mask_of(0) > 0, 1007, 300).astype(np.uint16))
    mask = read_dataset(only(settings, mask_values=[1007, 300])).training.read(0).mask
    np.testing.assert_array_equal(mask, 1 - mask_of(0) // 255)


def test_ignored_values_are_marked(settings: DataSettings, folder: Path) -> None:
    marked = mask_of(0)
    marked[:5] = 99
    save(folder / "masks/0.png", marked)

    mask = read_dataset(replace(settings, ignore_values=[99, 1234])).training.read(0).mask

    assert (mask[:5] == IGNORED).all()
    assert (mask[5:] != IGNORED).all()


def test_pictures_are_read_upright(settings: DataSettings, folder: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side
    lying = Image.fromarray(image_of(0)).rotate(90, expand=True)
    (folder / "images/0.png").unlink()
    lying.save(folder / "images/0.jpg", exif=exif, quality=100)

    image = read_dataset(only(settings)).training.read(0).image[..., 0]

    assert np.abs(image.astype(int) - image_of(0)).mean() < 3


@pytest.mark.parametrize("orientation", range(1, 9))
def test_16_bit_colour_is_turned_as_8_bit_is(settings: DataSettings, folder: Path, orientation: int) -> None:
    (folder / "images/0.png").unlink()
    images = []
    for kind in (np.uint8, np.uint16):
        tifffile.imwrite(
            folder / "images/0.tif",
            np.stack([image_of(0)[:, :36]] * 3, -1).astype(kind),
            extratags=[(274, "H", 1, orientation, True)],
        )
        save(folder / "masks/0.png", mask_of(0)[:, :36])
        images.append(read_dataset(only(settings, channels=3)).training.read(0).image)
    np.testing.assert_array_equal(images[0], images[1])


def test_masks_may_lie_in_another_folder(settings: DataSettings, folder: Path, tmp_path: Path) -> None:
    (folder / "masks").rename(tmp_path / "elsewhere")
    for masks in ("../elsewhere/{name}.png", f"{tmp_path}/elsewhere/{{name}}.png"):
        assert len(read_dataset(replace(settings, masks=masks)).training) == 4


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_images_and_masks_are_scaled_together(settings: DataSettings, folder: Path, kind: Any) -> None:
    bright = np.zeros((36, 40), np.uint8)
    bright[12:24, 20:] = 255
    save(folder / "images/0.png", bright.astype(kind) * kind(np.iinfo(kind).max // 255))
    save(folder / "masks/0.png", bright)

    example = read_dataset(only(settings, resize=18)).training.read(0)

    assert example.image.shape == (18, 20, 1) and example.image.dtype == kind
    np.testing.assert_array_equal(example.mask, bright[::2, ::2] // 255)
    inside = example.image[7:11, 12:, 0]
    assert (inside == np.iinfo(kind).max).all()


def test_nobody_can_write_into_an_example(settings: DataSettings) -> None:
    example = read_dataset(settings).training.read(0)
    with pytest.raises(ValueError, match="read-only"):
        example.image[0, 0, 0] = 1


def test_a_loop_of_links_ends(settings: DataSettings, folder: Path) -> None:
    (folder / "images/again").symlink_to(folder / "images")
    assert len(read_dataset(settings).training) == 4


def test_folders_behind_an_address_are_read_alike(settings: DataSettings, folder: Path) -> None:
    tf = pytest.importorskip("tensorflow")
    address = f"ram://{folder.parent.name}/data"
    tifffile.imwrite(
        folder / "images/stack.tif", np.stack([image_of(8), image_of(9)]), photometric="minisblack"
    )
    tifffile.imwrite(folder / "masks/stack.tif", np.stack([mask_of(8), mask_of(9)]), photometric="minisblack")
    (folder / "held.txt").write_text("4\n5.png\n")
    for path in folder.rglob("*.*"):
        there = f"{address}/{path.relative_to(folder)}"
        tf.io.gfile.makedirs(there.rpartition("/")[0])
        with tf.io.gfile.GFile(there, "wb") as file:
            file.write(path.read_bytes())

    dataset = read_dataset(replace(settings, folder=address, train="0-3,stack", validation="@held.txt"))

    assert tuple(dataset.training.names) == ("0", "1", "2", "3", "stack/0", "stack/1")
    assert tuple(dataset.validation.names) == ("4", "5")
    assert dataset.training.files[0] == f"{address}/images/0.png"
    np.testing.assert_array_equal(dataset.training.read(5).image[..., 0], image_of(9))


def test_an_address_that_nobody_answers_is_said_plainly(settings: DataSettings) -> None:
    pytest.importorskip("tensorflow")
    with pytest.raises(DatasetError, match="there is no folder ram://nowhere"):
        read_dataset(replace(settings, folder="ram://nowhere"))
    with pytest.raises(DatasetError, match=r"cannot be reached .*check the address"):
        read_dataset(replace(settings, folder="nfs9://nowhere"))


def test_a_local_folder_is_read_without_tensorflow(settings: DataSettings) -> None:
    program = (
        "import sys; from unet.data.dataset import read_dataset; from unet.settings import DataSettings;"
        "read_dataset(DataSettings(train='0-3', validation='4-5', crop=16, cache='memory', "
        f"folder={settings.folder!r}));"
        "assert 'tensorflow' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
