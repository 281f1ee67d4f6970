"""A picture of predictions beside masks."""

from pathlib import Path

import numpy as np
from PIL import Image

from unet.data_folder import LabelledImages, Pixels
from unet.evaluation import Segmentation

_ROWS = 6
_GAP = 6
_TILE = 256
_WRONG = np.array([214, 39, 40], dtype=np.uint8)


def save_prediction_sheet(
    source: LabelledImages, segmentations: tuple[Segmentation, ...], classes: int, path: Path
) -> None:
    """Write a PNG with a row for each of the first images: image, mask, prediction, wrong pixels in red."""
    rows = [
        [image, _shade(mask, classes), _shade(segmentation, classes), _errors(image, mask, segmentation)]
        for image, mask, segmentation in zip(source.images, source.masks, segmentations, strict=True)
    ][:_ROWS]
    width = 4 * (_TILE + _GAP) - _GAP
    sheet = Image.new("RGB", (width, len(rows) * (_TILE + _GAP) - _GAP), "white")
    for y, row in enumerate(rows):
        for x, pixels in enumerate(row):
            tile = Image.fromarray(_rgb(pixels))
            tile.thumbnail((_TILE, _TILE))
            sheet.paste(tile, (x * (_TILE + _GAP), y * (_TILE + _GAP)))
    sheet.save(path)


def _shade(classes_of_pixels: Segmentation, classes: int) -> Pixels:
    """Classes as greys: the first black, the last white."""
    return (classes_of_pixels.astype(np.float32) * (255 / (classes - 1))).astype(np.uint8)


def _errors(image: Pixels, mask: Segmentation, segmentation: Segmentation) -> Pixels:
    pale = (_rgb(image) // 2 + 128).astype(np.uint8)
    return np.where((mask != segmentation)[..., np.newaxis], _WRONG, pale)


def _rgb(pixels: Pixels) -> Pixels:
    with_channels = pixels.reshape(*pixels.shape[:2], -1)
    return np.broadcast_to(with_channels, (*pixels.shape[:2], 3)).astype(np.uint8)
