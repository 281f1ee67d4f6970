"""A picture of predictions beside masks."""

from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from unet.data.examples import IGNORED, Pixels
from unet.evaluation import Evaluation, ShownImage
from unet.palette import Colours, class_colours

Rgb = npt.NDArray[np.uint8]
"""uint8 [height, width, 3]."""

_TILE = 288
_GAP = 8
_LINE = 22
_TEXT = 14
_COLUMNS = ("image", "mask", "prediction", "errors")
_WRONG = (214, 39, 40)
_INK = (40, 40, 40)
# Ignored pixels are striped: no class is, whatever its colour.
_STRIPES = ((120, 120, 140), (200, 200, 215))
_STRIPE_WIDTH = 4


def save_prediction_sheet(evaluation: Evaluation, path: Path) -> None:
    """Write a PNG with a row for each shown image: image, mask, prediction, and its wrong pixels in red.

    Images of any size are scaled into squares. Pixels that the mask ignores are striped. Below stands which colour
    is which class, for the classes that occur.
    """
    colours = class_colours(len(evaluation.classes))
    scores = {image.name: image.scores for image in evaluation.images}
    rows = [
        (_caption(s.name, scores[s.name].mean_iou), _tiles(s, evaluation.white, colours))
        for s in evaluation.shown
    ]
    heights = [_LINE + max(tile.height for tile in tiles) + _GAP for _, tiles in rows]
    legend = _legend(evaluation, colours)
    width = len(_COLUMNS) * (_TILE + _GAP) + _GAP
    sheet = Image.new("RGB", (width, _GAP + _LINE + sum(heights) + legend.height + _GAP), "white")
    draw = ImageDraw.Draw(sheet)
    for number, title in enumerate(_COLUMNS):
        _write(draw, (_GAP + number * (_TILE + _GAP), _GAP), title)
    top = _GAP + _LINE
    for (caption, tiles), height in zip(rows, heights, strict=True):
        _write(draw, (_GAP, top), caption)
        for number, tile in enumerate(tiles):
            sheet.paste(tile, (_GAP + number * (_TILE + _GAP), top + _LINE))
        top += height
    sheet.paste(legend, (_GAP, top))
    sheet.save(path)


def for_display(image: Pixels, white: float) -> Rgb:
    """An image as 8-bit RGB; one that uses little of its range is brightened.

    Args:
        image: numbers [height, width, channels], 1 or 3 channels.
        white: the value that is white in it.
    """
    # A 16-bit camera often has 12 bits: without this, its images would be black.
    brightest = float(np.percentile(image, 99.9))
    scale = 255 / (brightest if 0 < brightest < white / 2 else white)
    pixels = np.clip(image.astype(np.float32) * scale, 0, 255).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(pixels, (*pixels.shape[:2], 3)))


def _tiles(shown: ShownImage, white: float, colours: Colours) -> list[Image.Image]:
    image, ignored = for_display(shown.image, white), shown.mask == IGNORED
    mask = colours[np.where(ignored, 0, shown.mask)]
    wrong = (shown.mask != shown.segmentation) & ~ignored
    errors = np.where(wrong[..., np.newaxis], np.array(_WRONG, np.uint8), image // 2 + 128).astype(np.uint8)
    return [
        _fit(image),
        _striped(_fit(mask), ignored),
        _fit(colours[shown.segmentation]),
        _striped(_fit(errors), ignored),
    ]


def _fit(pixels: Rgb) -> Image.Image:
    """Scaled to the size of a tile: shrunk ones by averaging, so that thin lines stay; small ones pixel by pixel."""
    height, width = pixels.shape[:2]
    scale = _TILE / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return Image.fromarray(pixels).resize(
        size, Image.Resampling.BOX if scale < 1 else Image.Resampling.NEAREST
    )


def _striped(tile: Image.Image, ignored: npt.NDArray[np.bool_]) -> Image.Image:
    if not ignored.any():
        return tile
    place = Image.fromarray(ignored.astype(np.uint8) * 255).resize(tile.size, Image.Resampling.BOX)
    place = place.point(lambda share: 255 if share >= 128 else 0)
    return Image.composite(_stripes(*tile.size), tile, place)


def _stripes(width: int, height: int) -> Image.Image:
    diagonal = (np.add.outer(np.arange(height), np.arange(width)) // _STRIPE_WIDTH) % 2
    return Image.fromarray(np.array(_STRIPES, np.uint8)[diagonal])


def _legend(evaluation: Evaluation, colours: Colours) -> Image.Image:
    """Swatches with names, in as many lines as they need."""
    occurring = np.unique(
        [v for s in evaluation.shown for p in (s.mask, s.segmentation) for v in np.unique(p)]
    )
    entries = [
        (Image.new("RGB", (_TEXT, _TEXT), tuple(colours[number].tolist())), evaluation.classes[number])
        for number in occurring.tolist()
        if number != IGNORED
    ]
    entries.append((Image.new("RGB", (_TEXT, _TEXT), _WRONG), "wrong"))
    if IGNORED in occurring:
        entries.append((_stripes(_TEXT, _TEXT), "ignored"))
    return _lines_of(entries, len(_COLUMNS) * (_TILE + _GAP) - _GAP)


def _lines_of(entries: Sequence[tuple[Image.Image, str]], width: int) -> Image.Image:
    places, x, y = [], 0, 0
    for _, name in entries:
        taken = _TEXT + _GAP // 2 + round(_font().getlength(_shortened(name))) + 2 * _GAP
        if x and x + taken > width:
            x, y = 0, y + _LINE
        places.append((x, y))
        x += taken
    legend = Image.new("RGB", (width, y + _LINE), "white")
    draw = ImageDraw.Draw(legend)
    for (swatch, name), (x, y) in zip(entries, places, strict=True):
        legend.paste(swatch, (x, y + 2))
        draw.rectangle((x, y + 2, x + _TEXT, y + 2 + _TEXT), outline=_INK)
        _write(draw, (x + _TEXT + _GAP // 2, y), _shortened(name))
    return legend


def _caption(name: str, mean_iou: float) -> str:
    score = "nothing counts in it" if np.isnan(mean_iou) else f"mean IoU {mean_iou:.3f}"
    return f"{_shortened(name, 80)}: {score}"


def _shortened(text: str, most: int = 40) -> str:
    return text if len(text) <= most else f"{text[: most // 2 - 1]}…{text[-most // 2 :]}"


def _write(draw: ImageDraw.ImageDraw, place: tuple[int, int], text: str) -> None:
    draw.text(place, text, fill=_INK, font=_font())


@cache
def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    # Pillow's own font stops at ASCII. MLflow brings Matplotlib, whose font knows most alphabets.
    if matplotlib := find_spec("matplotlib"):
        for folder in matplotlib.submodule_search_locations or ():
            path = Path(folder, "mpl-data/fonts/ttf/DejaVuSans.ttf")
            if path.exists():
                return ImageFont.truetype(str(path), _TEXT - 1)
    return ImageFont.load_default(_TEXT)
