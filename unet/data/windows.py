"""The part of an image that a crop needs, whatever the source keeps the image in.

Only this part is copied. Beyond the borders of the image lies its mirror image, without the outermost pixels twice.
"""

from typing import TypeVar

import numpy as np
import numpy.typing as npt

from unet.data.border import BorderMap, BorderMaps
from unet.data.examples import Example, Examples
from unet.data.order import PassOrder
from unet.errors import DatasetError, UnetError
from unet.settings import DataSettings

_Type = TypeVar("_Type", bound=np.generic)

Window = tuple[npt.NDArray[np.uint16], npt.NDArray[np.uint8], BorderMap]
"""uint16 [height, width, channels], so that images of 8 and of 16 bits are one type to a graph; the classes uint8
[height, width]; and the border map float16 [height, width], without a pixel if there is none."""


Orientation = tuple[bool, bool, bool]
"""Mirror up and down, mirror left and right, then swap rows and columns: all eight ways a square can lie."""

AS_IT_IS: Orientation = (False, False, False)


class Windows:
    """Cuts windows out of examples, by the example's number. Several threads may do so.

    Where one lies is told in shares of the places that there are, each in [0, 1), down and to the right: all places
    at which the crop lies inside of the image, or reaches beyond it by no more than data.augment.overhang, are equally
    likely, whatever the image's size.

    Args:
        borders: None for windows without a border map.
        data: says what images have to be, and where they lie, for messages.

    Raises:
        DatasetError: by each method, when an image or its mask cannot be read, or is not what it has to be.
    """

    def __init__(
        self, examples: Examples, order: PassOrder, borders: BorderMaps | None, data: DataSettings
    ) -> None:
        self._examples, self._order, self._borders, self._data = examples, order, borders, data
        self._overhang = data.augment.overhang

    def crop(self, number: int, place: tuple[float, float], orientation: Orientation, size: int) -> Window:
        """`size` rows and columns of pixels as they are, but for their orientation."""
        index, example = self._read(number)
        height, width = example.mask.shape
        beyond = int(self._overhang * size)
        rows = _first(place[0], height, size, beyond), size
        columns = _first(place[1], width, size, beyond), size
        return self._cut(index, example, rows, columns, orientation)

    def around(
        self, number: int, place: tuple[float, float], extent: float, box: tuple[float, float, float, float]
    ) -> tuple[Window, tuple[float, float]]:
        """All pixels that a deformed crop is interpolated from.

        Args:
            extent: pixels of the image from the first to the last of the crop, were it not turned or bent.
            box: how far it reaches from its centre: least and most row, least and most column.

        Returns the window, and the row and column of the crop's centre in it.
        """
        index, example = self._read(number)
        height, width = example.mask.shape
        beyond = self._overhang * extent
        row, column = _centre(place[0], height, extent, beyond), _centre(place[1], width, extent, beyond)
        rows = _span(row + box[0], row + box[1])
        columns = _span(column + box[2], column + box[3])
        window = self._cut(index, example, rows, columns, AS_IT_IS)
        return window, (row - rows[0], column - columns[0])

    def _read(self, number: int) -> tuple[int, Example]:
        index = self._order.image_of(number)
        file = self._examples.files[index]
        try:
            example = self._examples.read(index)
        except UnetError:
            raise  # says more than can be said here
        except Exception as error:
            problem = (
                f"{file} or its mask cannot be read any more ({type(error).__name__}: {error}); put it back and start "
                "the training again: it goes on from its last checkpoint"
            )
            raise DatasetError(self._data.folder, [problem]) from error
        image, wanted = example.image, (*example.mask.shape, self._data.channels)
        if image.shape != wanted or image.dtype not in (np.uint8, np.uint16):
            problem = (
                f"{file} came as {image.dtype} {image.shape} with a mask of {example.mask.shape}; images have to be "
                f"uint8 or uint16 [height, width, data.channels={self._data.channels}], and masks [height, width]"
            )
            raise DatasetError(self._data.folder, [problem])
        return index, example

    def _cut(
        self,
        index: int,
        example: Example,
        rows: tuple[int, int],
        columns: tuple[int, int],
        orientation: Orientation,
    ) -> Window:
        def part(pixels: npt.NDArray[_Type]) -> npt.NDArray[_Type]:
            return oriented(mirrored_part(pixels, rows, columns), orientation)

        border = np.empty((0, 0), np.float16)
        if self._borders is not None:
            border = np.ascontiguousarray(part(self._borders.of(index, example.mask)))
        image = np.ascontiguousarray(part(example.image), np.uint16)
        return image, np.ascontiguousarray(part(example.mask), np.uint8), border


def blank_window(size: int, channels: int) -> Window:
    """In place of what could not be read."""
    shape = (size, size)
    return np.zeros((*shape, channels), np.uint16), np.zeros(shape, np.uint8), np.zeros(shape, np.float16)


def mirrored_part(
    pixels: npt.NDArray[_Type], rows: tuple[int, int], columns: tuple[int, int]
) -> npt.NDArray[_Type]:
    """First row and number of rows, and so for columns: a view, or a copy where the part leaves the image."""
    height, width = pixels.shape[:2]
    (top, tall), (left, wide) = rows, columns
    if top >= 0 and left >= 0 and top + tall <= height and left + wide <= width:
        return pixels[top : top + tall, left : left + wide]
    return pixels[np.ix_(_mirrored(top, tall, height), _mirrored(left, wide, width))]


def oriented(pixels: npt.NDArray[_Type], orientation: Orientation) -> npt.NDArray[_Type]:
    """A view: mirrored up and down, then left and right, then with rows and columns swapped."""
    upside_down, left_right, swapped = orientation
    pixels = pixels[:: -1 if upside_down else 1, :: -1 if left_right else 1]
    return pixels.swapaxes(0, 1) if swapped else pixels


def _mirrored(first: int, count: int, length: int) -> npt.NDArray[np.intp]:
    """Where in 0 … length - 1 the numbers from `first` on lie, going to and fro between both ends."""
    if length == 1:
        return np.zeros(count, np.intp)
    period = 2 * (length - 1)
    there = np.arange(first, first + count) % period
    return np.minimum(there, period - there)


def _first(share: float, length: int, size: int, beyond: int) -> int:
    """The first of `size` pixels out of `length` and those beyond; in the middle where they are fewer than that."""
    room = length + 2 * beyond - size
    return int(share * (room + 1)) - beyond if room >= 0 else (length - size) // 2


def _centre(share: float, length: int, extent: float, beyond: float) -> float:
    """The centre of something `extent` long that begins and ends on pixels or so far beyond them, if there is room."""
    room = length - 1 + 2 * beyond - extent
    return (length - 1) / 2 + (share - 0.5) * max(room, 0.0)


def _span(least: float, most: float) -> tuple[int, int]:
    """First pixel and number of pixels: those between which both ends lie, and two at least."""
    first = int(np.floor(least))
    return first, int(np.floor(most)) + 2 - first
