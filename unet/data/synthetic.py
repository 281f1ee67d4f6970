"""Images that are drawn: bright discs of several sizes on a noisy ground, one brightness for each class."""

from collections.abc import Iterator, Sequence

import numpy as np

from unet.data.examples import Example
from unet.data.source import Problems
from unet.settings import DataSettings

_NOISE = 12.0
"""Standard deviation in steps of 255."""


class Drawn:
    """Images that are the same each time. The first class is the ground; all classes are in each image."""

    def __init__(self, settings: DataSettings) -> None:
        self._settings, drawn = settings, settings.synthetic
        self.names = tuple(map(str, range(drawn.images)))
        self.files = tuple(f"synthetic image {name}" for name in self.names)
        self.groups = tuple((number,) for number in range(drawn.images))
        self.fingerprint = repr((drawn, settings.split_seed, settings.classes))

    def load(self, numbers: Sequence[int]) -> Iterator[Example | Problems]:
        for number in numbers:
            yield self._draw(number)

    def _draw(self, number: int) -> Example:
        drawn, classes = self._settings.synthetic, len(self._settings.classes)
        random = np.random.default_rng([self._settings.split_seed, number])
        shape, shorter = (drawn.height, drawn.width), min(drawn.height, drawn.width)
        mask = np.zeros(shape, np.uint8)
        # About a third of the ground is covered, and each class gets a disc that no later one hides.
        discs = [*random.integers(1, classes, 2 * classes), *random.permutation(np.arange(1, classes))]
        largest = max(1.5, 0.35 * shorter / np.sqrt(len(discs)))
        y, x = np.ogrid[: drawn.height, : drawn.width]
        for disc in discs:
            radius = random.uniform(largest / 3, largest)
            centre_y, centre_x = random.uniform(0, drawn.height), random.uniform(0, drawn.width)
            mask[(y - centre_y) ** 2 + (x - centre_x) ** 2 <= radius**2] = disc
        brightness = np.linspace(60, 200, classes)[mask][..., np.newaxis]
        noisy = brightness + random.normal(0, _NOISE, (*shape, self._settings.channels))
        return Example(np.clip(noisy, 0, 255).astype(np.uint8), mask)
