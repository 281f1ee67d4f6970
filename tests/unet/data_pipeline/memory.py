"""Examples in memory whose pixels say where they are, and short ways to their batches."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from unet.data.examples import Example
from unet.data.pipeline import TrainingStream
from unet.settings import AugmentSettings, DataSettings, LossSettings

STILL = AugmentSettings(flip=False, quarter_turns=False, brightness=0.0)
"""Nothing changes from one look at an image to the next, but where the crop lies."""

EVERYTHING = AugmentSettings(
    rotate=180, scale=0.25, elastic=3, brightness=0.1, contrast=0.2, gamma=0.2, noise=0.05
)


Arrays: TypeAlias = tuple[npt.NDArray[Any], ...]


@dataclass
class InMemory:
    examples: Sequence[Example]
    white: float = 255.0
    files: Sequence[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.names: Sequence[str] = [str(number) for number in range(len(self.examples))]
        self.files = self.files or [f"images/{name}.png" for name in self.names]

    def __len__(self) -> int:
        return len(self.examples)

    def read(self, index: int) -> Example:
        return self.examples[index]


def twins(count: int = 5, least: int = 20, kind: type[np.uint8] | type[np.uint16] = np.uint8) -> InMemory:
    """Images of different sizes, none square, of random pixels; the masks are their lower 8 bits."""
    random = np.random.default_rng(1)
    white = np.iinfo(kind).max
    images: list[Any] = [
        random.integers(0, white, (least + 3 * n, least + 30 - 2 * n, 1), dtype=kind, endpoint=True)
        for n in range(count)
    ]
    return InMemory([Example(image, image[..., 0].astype(np.uint8)) for image in images], float(white))


def plain(values: Sequence[int], size: int = 16) -> InMemory:
    """An image for each value, filled with it, as are the masks."""
    images = [np.full((size, size, 1), value, np.uint8) for value in values]
    return InMemory([Example(image, image[..., 0]) for image in images])


def stream(
    examples: InMemory,
    augment: AugmentSettings = STILL,
    border_weight: float = 0.0,
    seed: int = 3,
    **data: Any,
) -> TrainingStream:
    settings = DataSettings(**{"crop": 16, "batch": 4, "augment": augment, **data})
    return TrainingStream(examples, settings, LossSettings(border_weight=border_weight), seed)


def take(stream: TrainingStream, steps: int, first: int = 0) -> list[Arrays]:
    """Images, masks and, if there is one, the border map of each step."""
    batches = itertools.islice(stream.batches(first), steps)
    return [
        tuple(
            tensor.numpy()
            for tensor in (batch.images, batch.masks, batch.border)
            if not isinstance(tensor, tuple)
        )
        for batch in batches
    ]


def assert_same(some: Sequence[Arrays], others: Sequence[Arrays]) -> None:
    """To the last bit."""
    for one, other in zip(some, others, strict=True):
        for tensor, other_tensor in zip(one, other, strict=True):
            np.testing.assert_array_equal(tensor, other_tensor)
