"""A small folder of images with masks, and the settings that read it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from unet.settings import DataSettings

HEIGHT, WIDTH = 36, 40


def save(path: Path, pixels: npt.NDArray[np.generic]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def image_of(number: int) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(number).integers(0, 256, (HEIGHT, WIDTH), np.uint8)


def mask_of(number: int) -> npt.NDArray[np.uint8]:
    """0 on the left, 255 on the right."""
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[:, 10 + number :] = 255
    return mask


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six images, 40 wide and 36 high."""
    root = tmp_path / "data"
    for number in range(6):
        save(root / "images" / f"{number}.png", image_of(number))
        save(root / "masks" / f"{number}.png", mask_of(number))
    return root


@pytest.fixture
def settings(folder: Path, tmp_path: Path) -> DataSettings:
    return replace(
        DataSettings(),
        folder=str(folder),
        classes=["dark", "bright"],
        train="0-3",
        validation="4-5",
        crop=16,
        batch=2,
        cache="memory",
        cache_dir=str(tmp_path / "cache"),
    )
