"""What a place gives that holds images and masks, before anything is checked or kept."""

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from unet.data.examples import IGNORED, Classes, Example
from unet.data.images import Values
from unet.settings import DataSettings

Problems = tuple[str, ...]
"""What is wrong with an example: sentences that name its files and the remedy."""


class Source(Protocol):
    """Images and masks by number. `load` is called from several threads."""

    @property
    def names(self) -> Sequence[str]:
        """One for each, unique."""
        ...

    @property
    def files(self) -> Sequence[str]:
        """Where each image lies, for a person."""
        ...

    @property
    def groups(self) -> Sequence[Sequence[int]]:
        """All numbers, those together that lie in one file."""
        ...

    @property
    def fingerprint(self) -> str:
        """Changes with anything that changes a pixel."""
        ...

    def load(self, numbers: Sequence[int]) -> Iterator[Example | Problems]:
        """Decode these, all of one group, and give them in the same order. Raises nothing for a bad file."""
        ...


class MaskValues:
    """Turns the values of masks into the indices of classes."""

    def __init__(self, settings: DataSettings) -> None:
        known = [*settings.mask_values, *settings.ignore_values]
        self._class_of: npt.NDArray[np.int16] = np.full(65536, -1, np.int16)
        self._class_of[settings.mask_values] = range(len(settings.mask_values))
        self._class_of[settings.ignore_values] = IGNORED
        # The white of a black-and-white image is 255 to most programs, and 1 to some.
        self._white = 1 if 1 in known and 255 not in known else 255
        self._said = ", ".join(map(str, settings.mask_values))
        if settings.ignore_values:
            self._said += f", and data.ignore_values {', '.join(map(str, settings.ignore_values))}"

    def classes(self, values: Values, two_tone: bool, is_jpeg: bool) -> Classes | str:
        """The mask, or what is wrong with it, to stand behind its name."""
        found: npt.NDArray[np.int16] = self._class_of[values * np.uint8(self._white) if two_tone else values]
        if found.size and found.min() >= 0:
            return found.astype(np.uint8)
        unknown = np.unique(values[found < 0] * (self._white if two_tone else 1)).tolist()
        if is_jpeg:
            return (
                f"has the values {listing(unknown)}, which are no class, because JPEG changes pixels; export the mask "
                "as PNG again"
            )
        return (
            f"has the values {listing(unknown)}, which are no class; data.mask_values knows {self._said}. Add them "
            "there or to data.ignore_values, or correct the mask"
        )


def listing(things: Sequence[object]) -> str:
    """A few by name, more by their number."""
    names = [str(thing) for thing in things]
    if len(names) <= 6:
        return ", ".join(names)
    return f"{', '.join(names[:3])}, … {names[-1]} ({len(names)} in all)"


def size(pixels: npt.NDArray[np.generic]) -> str:
    """Width and height, as people say them."""
    return f"{pixels.shape[1]}x{pixels.shape[0]}"
