"""A model on an image of any size: as a whole, or tile by tile where it is too large for that."""

from dataclasses import dataclass
from functools import cached_property

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from unet.models import gives_probabilities
from unet.settings import InferenceSettings

Floats = npt.NDArray[np.float32]

_WAYS = {
    "none": [(0, False)],
    "flips": [(turns, mirror) for turns in (0, 2) for mirror in (False, True)],
    "turns": [(turns, mirror) for turns in range(4) for mirror in (False, True)],
}
"""inference.average: quarter turns, and whether the image is mirrored after them."""


class Segmenter:
    """Class probabilities of whole images, by the model as it is at each call.

    An image up to `inference.tile` high or wide is looked at as a whole in that direction, mirrored at its borders up
    to the next size that the model takes. A larger one is covered with tiles of that size, which overlap by at least
    `inference.overlap`; there each fades into the next. Tiles begin at multiples of `multiple`, so that the model's
    grids of pixels fall on the same places as in the whole image: further from the border of a tile than the model
    looks, the result is that of the whole image, unless the model looks at all of it at once (group normalisation).

    Memory: beside the image, the probabilities of the whole image, once (with `inference.shifts` twice), and what the
    model needs for one tile; it is alone on the device. The ways to lay a tile (`inference.average`) and the places of
    the image are computed one after the other.

    Args:
        model: gives logits, or, if its last layer is a softmax, probabilities.
        multiple, remainder: heights and widths that the model takes are a multiple of the one, and the other more.
        margin: pixels on each side of what it takes for which it gives nothing. There it sees the mirrored image.
    """

    def __init__(
        self, model: keras.Model, inference: InferenceSettings, multiple: int, remainder: int, margin: int
    ) -> None:
        self._inference = inference
        self._grid = (multiple, remainder, margin)
        is_done = gives_probabilities(model)

        def probabilities(tiles: tf.Tensor) -> tf.Tensor:
            outputs = tf.cast(model(tiles, training=False), tf.float32)
            return outputs if is_done else tf.nn.softmax(outputs)

        # Compiled once, for tiles of any size.
        signature = [tf.TensorSpec([1, None, None, model.input_shape[-1]], tf.float32)]
        self._probabilities = tf.function(probabilities, input_signature=signature)
        self._classes = int(model.output_shape[-1])

    def __call__(self, image: Floats) -> Floats:
        """Probabilities float32 [height, width, classes].

        Args:
            image: float32 [height, width, channels] in [0, 1].
        """
        places = [
            (down, right) for down in range(self._inference.shifts) for right in range(self._inference.shifts)
        ]
        total = self._whole(image)
        for down, right in places[1:]:
            beyond = np.pad(image, ((down, 0), (right, 0), (0, 0)), mode="reflect")
            total += self._whole(beyond)[down:, right:]
        total /= np.float32(len(places))
        return self._weighted(total)

    def _whole(self, image: Floats) -> Floats:
        """The probabilities of all tiles together, for one place of the image below the model's grid."""
        height, width, _ = image.shape
        rows, columns = self._cut(height), self._cut(width)
        result = np.zeros((height, width, self._classes), np.float32)
        for row in rows:
            for column in columns:
                tile = image[np.ix_(row.seen, column.seen)]
                probabilities = self._averaged(tile)[: row.size, : column.size]
                weights = row.weights[:, np.newaxis] * column.weights
                result[row.first : row.last, column.first : column.last] += (
                    probabilities * weights[..., np.newaxis]
                )
        return result

    def _cut(self, length: int) -> "list[Stretch]":
        tile = self._inference.tile + self._inference.shifts - 1  # what fits, fits in each place
        return cut(length, tile, self._inference.overlap, *self._grid)

    def _weighted(self, probabilities: Floats) -> Floats:
        """What the probabilities are where classes are as frequent as inference.class_weights says, in place."""
        if self._inference.class_weights is not None:
            probabilities *= np.asarray(self._inference.class_weights, np.float32)
            probabilities /= probabilities.sum(axis=-1, keepdims=True)
        return probabilities

    def _averaged(self, tile: Floats) -> Floats:
        """The mean of what the model says of the tile, laid in the ways that inference.average names."""
        ways = _WAYS[self._inference.average]
        total = self._laid(tile, *ways[0])
        for turns, mirror in ways[1:]:
            total = total + self._laid(tile, turns, mirror)
        mean: Floats = total / np.float32(len(ways))
        return mean

    def _laid(self, tile: Floats, turns: int, mirror: bool) -> Floats:
        laid = np.rot90(tile, turns)
        laid = laid[:, ::-1] if mirror else laid
        seen: Floats = self._probabilities(np.ascontiguousarray(laid)[np.newaxis])[0].numpy()
        seen = seen[:, ::-1] if mirror else seen
        back: Floats = np.rot90(seen, -turns)
        return back


@dataclass(frozen=True)
class Stretch:
    """Where a tile lies in one direction."""

    first: int
    last: int
    """The pixels of the image that it gives: from `first` to before `last`."""
    seen: npt.NDArray[np.intp]
    """The pixels of the image that the model is shown, in order; those from beyond the border are mirrored."""
    weights: Floats
    """[last - first]: its share in each pixel; those of all tiles together are 1."""

    @cached_property
    def size(self) -> int:
        """Pixels of the image that it gives."""
        return self.last - self.first


def cut(
    length: int, tile: int, overlap: int, multiple: int = 1, remainder: int = 0, margin: int = 0
) -> list[Stretch]:
    """The stretches, all equally long for the model, that cover an image in one direction.

    Args:
        length: of the image, in pixels.
        tile: how many pixels a stretch gives at most, rounded up to what the model takes.
        overlap: how many neighbours have in common, at least.
        multiple, remainder, margin: of the model, as in `Segmenter`.
    """

    def given(wanted: int) -> int:
        """As many pixels as a model gives that takes the least size that is enough for the wanted ones."""
        taken = max(wanted, 1) + 2 * margin
        return taken + (remainder - taken) % multiple - 2 * margin

    # A step from one tile to the next is a multiple, too: there has to be room for one beside the overlap.
    size = given(min(length, max(tile, overlap + multiple)))
    steps = -(-max(length - size, 0) // multiple)  # from the first tile to the last
    count = -(-steps // max((size - overlap) // multiple, 1))
    starts = [multiple * (number * steps // count) for number in range(count)] + [multiple * steps]
    shares = _fading(starts, size, length)
    return [
        Stretch(
            first=start,
            last=min(start + size, length),
            seen=_mirrored(np.arange(start - margin, start + size + margin), length),
            weights=share,
        )
        for start, share in zip(starts, shares, strict=True)
    ]


def _fading(starts: list[int], size: int, length: int) -> list[Floats]:
    """The weights of each stretch: they rise over what it shares with the one before, and fall over the other end."""
    ends = [min(start + size, length) for start in starts]
    raw = []
    for number, (start, end) in enumerate(zip(starts, ends, strict=True)):
        middles = np.arange(start, end) + 0.5
        weight = np.ones(end - start)
        if number > 0 and ends[number - 1] > start:
            weight *= _rise((middles - start) / (ends[number - 1] - start))
        if number + 1 < len(starts) and end > starts[number + 1]:
            weight *= _rise((end - middles) / (end - starts[number + 1]))
        raw.append(weight)
    total = np.zeros(length)
    for start, end, weight in zip(starts, ends, raw, strict=True):
        total[start:end] += weight
    return [
        (weight / total[start:end]).astype(np.float32)
        for start, end, weight in zip(starts, ends, raw, strict=True)
    ]


def _rise(share: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """From 0 to 1 without a corner, and 1 from there on."""
    return np.sin(np.pi / 2 * np.minimum(share, 1)) ** 2


def _mirrored(positions: npt.NDArray[np.intp], length: int) -> npt.NDArray[np.intp]:
    """Positions beyond the ends of an image, mirrored at its outermost pixels as often as it takes."""
    if length == 1:
        return np.zeros_like(positions)
    period = 2 * (length - 1)
    within = positions % period
    return np.minimum(within, period - within)
