"""Images and the class of each of their pixels, by number: what every source of data gives, whatever it is."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]
"""uint8 or uint16 [height, width, channels]."""

Classes = npt.NDArray[np.uint8]
"""uint8 [height, width]: the index of the class of each pixel, or IGNORED."""

IGNORED = 255
"""In place of a class: this pixel counts neither in the loss nor in any score."""


@dataclass(frozen=True)
class Example:
    """One image with its mask."""

    image: Pixels
    mask: Classes


class Examples(Protocol):
    """Images with their masks, to be read in any order and by several threads at once."""

    names: Sequence[str]
    """One for each, unique, in the order of the numbers."""
    files: Sequence[str]
    """Where each image lies, as a person finds it again; a page of a stack has its number behind it."""
    white: float
    """The pixel value that becomes 1."""

    def __len__(self) -> int: ...

    def read(self, index: int) -> Example:
        """The example of this number. Nobody writes into its arrays. All images have the same type."""
        ...


@dataclass(frozen=True)
class Dataset:
    """What is trained on, what is scored during the training, and what is scored once at its end."""

    training: Examples
    validation: Examples
    test: Examples


def to_float(image: Pixels, white: float) -> npt.NDArray[np.float32]:
    """Pixels as float32 in [0, 1]: what a model takes."""
    shares: npt.NDArray[np.float32] = np.divide(image, white, dtype=np.float32)
    return np.minimum(shares, 1, out=shares)
