"""Reads a folder of images and masks, and finds everything that is wrong with it before a step is taken.

<folder>/images/<name>.png      grey or colour, 8 bit
<folder>/masks/<name>.png       one grey value for each class
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from unet.errors import DatasetError
from unet.settings import DataSettings

ENDINGS = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp"})
_RANGE = re.compile(r"(\d+)-(\d+)")

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class LabelledImages:
    """Images and the class of each of their pixels, in the order of their names."""

    names: tuple[str, ...]
    images: tuple[Pixels, ...]
    """Each uint8 [height, width, channels]; one may be of another size than the next."""
    masks: tuple[Pixels, ...]
    """Each uint8 [height, width]: the index of the class."""


@dataclass(frozen=True)
class Dataset:
    """What is trained on, and what is held out to score the model."""

    training: LabelledImages
    holdout: LabelledImages


def read_dataset(settings: DataSettings) -> Dataset:
    """Read all that `settings` selects.

    Raises:
        DatasetError: with everything that is wrong, found in one pass: missing partners, unreadable files,
            sizes that differ, values that are no class, images smaller than a crop, an empty or overlapping
            selection.
    """
    folder = Path(settings.folder)
    problems: list[str] = []
    images = _files_by_name(folder / "images", problems)
    masks = _files_by_name(folder / "masks", problems)
    if problems:
        raise DatasetError(folder, problems)

    training = _select(images, settings.train, "data.train", problems)
    holdout = _select(images, settings.holdout, "data.holdout", problems)
    if both := [name for name in training if name in set(holdout)]:
        problems.append(
            f"data.train and data.holdout both select {_listing(both)}; an image belongs to one of them"
        )

    read: dict[str, tuple[Pixels, Pixels]] = {}
    for name in dict.fromkeys(training + holdout):
        if name not in masks:
            problems.append(f"{_short(images[name])} has no mask; masks/{name}.png is expected")
            continue
        image = _read_image(images[name], settings.channels, problems)
        mask = _read_mask(masks[name], settings, problems)
        if image is None or mask is None:
            continue
        if image.shape[:2] != mask.shape:
            problems.append(
                f"{_short(images[name])} is {_size(image)} and {_short(masks[name])} is {_size(mask)}; "
                "both have to be of the same size"
            )
        if name in training and min(image.shape[:2]) < settings.crop:
            problems.append(
                f"{_short(images[name])} is {_size(image)}, smaller than a crop of data.crop={settings.crop}"
            )
        read[name] = image, mask
    if problems:
        raise DatasetError(folder, problems)
    return Dataset(_labelled(training, read), _labelled(holdout, read))


def _labelled(names: list[str], read: Mapping[str, tuple[Pixels, Pixels]]) -> LabelledImages:
    return LabelledImages(tuple(names), tuple(read[n][0] for n in names), tuple(read[n][1] for n in names))


def _files_by_name(folder: Path, problems: list[str]) -> dict[str, Path]:
    """The images of a folder by their name without ending, ordered as people count: 2 before 10."""
    if not folder.is_dir():
        problems.append(f"there is no folder {folder.name}/ (looked for {folder})")
        return {}
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir(), key=lambda path: (_counting_order(path.stem), path.suffix)):
        if path.suffix.lower() not in ENDINGS or path.name.startswith("."):
            continue
        if path.stem in found:
            problems.append(
                f"{folder.name}/{found[path.stem].name} and {path.name} have the same name; keep one of them"
            )
        found[path.stem] = path
    if not found:
        problems.append(f"{folder.name}/ is empty: no file ends in {', '.join(sorted(ENDINGS))}")
    return found


def _counting_order(name: str) -> list[tuple[bool, int, str]]:
    parts = re.split(r"(\d+)", name)
    return [(part.isdigit(), int(part) if part.isdigit() else 0, part) for part in parts]


def _select(images: Iterable[str], selection: str, field: str, problems: list[str]) -> list[str]:
    """Names that a selection such as `0-23,40,test_*` means, each once, in the folder's order."""
    chosen: set[str] = set()
    available = list(images)
    for term in (term.strip() for term in selection.split(",")):
        if (numbers := _RANGE.fullmatch(term)) and term not in available:
            first, last = int(numbers[1]), int(numbers[2])
            found = {name for name in available if name.isdecimal() and first <= int(name) <= last}
        else:
            found = {name for name in available if fnmatchcase(name, term)}
        if not found:
            problems.append(f"{field}: {term!r} selects no image; there are {_listing(available)}")
        chosen |= found
    return [name for name in available if name in chosen]


def _read_image(path: Path, channels: int, problems: list[str]) -> Pixels | None:
    opened = _open(path, problems)
    if opened is None:
        return None
    if opened.mode not in ("1", "L", "LA", "P", "RGB", "RGBA"):
        problems.append(f"{_short(path)} has pixels of kind {opened.mode}; convert it to 8-bit grey or RGB")
        return None
    pixels = np.asarray(opened.convert("L" if channels == 1 else "RGB"), dtype=np.uint8)
    return pixels.reshape(*pixels.shape[:2], channels)


def _read_mask(path: Path, settings: DataSettings, problems: list[str]) -> Pixels | None:
    opened = _open(path, problems)
    if opened is None:
        return None
    if opened.mode not in ("1", "L", "P"):
        problems.append(
            f"{_short(path)} has pixels of kind {opened.mode}; a mask is an 8-bit grey or palette image"
        )
        return None
    # A palette image says its class by the index, whatever colour the palette gives it.
    values = np.asarray(opened.convert("L") if opened.mode == "1" else opened, dtype=np.uint8)
    if unknown := sorted(set(np.unique(values).tolist()) - set(settings.mask_values)):
        problems.append(
            f"{_short(path)} has the values {_listing([str(value) for value in unknown])}, which are "
            f"no class; data.mask_values knows {', '.join(map(str, settings.mask_values))}"
        )
        return None
    class_of_value = np.zeros(256, dtype=np.uint8)
    class_of_value[settings.mask_values] = range(len(settings.mask_values))
    return class_of_value[values]


def _open(path: Path, problems: list[str]) -> Image.Image | None:
    try:
        with Image.open(path) as opened:
            image: Image.Image = opened.copy()  # reads every pixel, so that a torn file shows here
    except (UnidentifiedImageError, OSError, SyntaxError) as error:  # Pillow's PNG reader raises SyntaxError
        problems.append(f"{_short(path)} cannot be read as an image ({error})")
        return None
    return image


def _short(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


def _size(pixels: Pixels) -> str:
    return f"{pixels.shape[1]}x{pixels.shape[0]}"


def _listing(names: list[str]) -> str:
    return (
        ", ".join(names)
        if len(names) <= 6
        else f"{', '.join(names[:3])}, … {names[-1]} ({len(names)} in all)"
    )
