"""Endless batches of augmented crops, and the same ones again from any step.

Each example is a function of the seed and of its number alone: which image, where the crop lies, how it is
deformed. A training that resumes at step 120 gets the batch that an uninterrupted one would have got there.
"""

import itertools
import os
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from unet.data.augmentation import Augmentation, Draws, interpolated, nearest
from unet.data.border import BorderMaps
from unet.data.examples import Examples
from unet.data.order import PassOrder
from unet.data.windows import Window, Windows, blank_window
from unet.settings import DataSettings, LossSettings

_AHEAD = 4
"""Batches that wait, ready, for the training."""

_MOST_READERS = 64
"""Unless data.readers says otherwise, there are four for each core: most of them may wait for a disk or a bucket."""

_Found = TypeVar("_Found")

_WINDOW = (tf.uint16, tf.uint8, tf.float16)


class Batch(NamedTuple):
    """Crops for one step; for several steps in a row, each has one more axis in front."""

    images: tf.Tensor
    """float32 [batch, crop, crop, channels] in [0, 1]."""
    masks: tf.Tensor
    """int32 [batch, crop, crop]: classes, or IGNORED."""
    border: "tf.Tensor | tuple[()]" = ()
    """float32 [batch, crop, crop], the border-weight map. Without one it is (), in which TensorFlow sees nothing that
    it could slice, split or stack; None it would take for a tensor that is missing."""

    def seen(self, margin: int) -> "tuple[tf.Tensor, tf.Tensor | None]":
        """Masks and border map of the pixels that a network gives logits for.

        Args:
            margin: pixels on each side that it gives none for.
        """
        border = None if isinstance(self.border, tuple) else self.border
        if margin == 0:
            return self.masks, border
        inside = (..., slice(margin, -margin), slice(margin, -margin))
        return self.masks[inside], None if border is None else border[inside]


class TrainingStream:
    """The batches of a training, in order.

    Args:
        examples: what is trained on; read by several threads.
        seed: the same seed gives the same batches, whatever data.readers is.
    """

    def __init__(self, examples: Examples, data: DataSettings, loss: LossSettings, seed: int) -> None:
        self._examples, self._data = examples, data
        self._order = PassOrder(len(examples), data.batch, data.short_batches, seed)
        self._augmentation = Augmentation(data.augment, data.crop, seed)
        self._has_border = loss.border_weight > 0
        borders = None
        if self._has_border:
            object_class = loss.border_class or data.classes[-1]
            borders = BorderMaps(data.classes.index(object_class), loss)
        self._windows = Windows(examples, self._order, borders, data)
        self._failures: dict[int, Exception] = {}  # by the number of the example

    @property
    def steps_per_pass(self) -> float:
        """Steps in which every image comes once."""
        return self._order.steps_per_pass

    def files_of(self, step: int) -> tuple[str, ...]:
        """The image files of the batch of this step, counted from 0."""
        numbers = self._order.examples_of(step)
        return tuple(self._examples.files[self._order.image_of(number)] for number in numbers)

    def batches(self, first_step: int, steps_per_call: int = 1) -> Iterator[Batch]:
        """Batches from step `first_step` on, without end; every image comes once in each pass.

        Args:
            steps_per_call: above 1, so many batches are stacked along a new first axis.

        Raises:
            DatasetError: by the iterator, in place of the batch that an image cannot be read for any more.
        """
        held = [iter(self.dataset(first_step, steps_per_call))]
        guarded = self._guarded(held, first_step, steps_per_call)
        # Also at the end of the process, while Python still runs: after that, TensorFlow would wait for its readers,
        # and they for Python, forever.
        weakref.finalize(guarded, held.clear)
        return guarded

    def dataset(self, first_step: int, steps_per_call: int = 1) -> tf.data.Dataset:
        """The same batches for a loop of another kind, each a tuple of the parts of a `Batch`.

        In place of an image that cannot be read it has zeros; whoever takes `batches` is told.
        """
        readers = self._data.readers or min(4 * _cores(), _MOST_READERS)
        first = self._order.examples_of(first_step).start
        examples = tf.data.Dataset.range(first, np.iinfo(np.int64).max).map(
            self._example, num_parallel_calls=readers, deterministic=True
        )
        batches = self._batched(examples)
        if steps_per_call > 1:
            batches = batches.batch(steps_per_call, drop_remainder=True)
        options = tf.data.Options()
        # The process may have a single thread for operations, and that is the training's. An example is computed
        # by one thread: it is small, and the others are at the next ones.
        options.threading.private_threadpool_size = readers
        options.threading.max_intra_op_parallelism = 1
        return batches.prefetch(max(_AHEAD // steps_per_call, 1)).with_options(options)

    def _guarded(
        self, held: Sequence[Iterator[tuple[tf.Tensor, ...]]], step: int, steps_per_call: int
    ) -> Iterator[Batch]:
        """Batches that are whole: a reader that fails does not tell TensorFlow, which would make a trace of it."""
        for first in itertools.count(step, steps_per_call):
            batch = Batch(*next(held[0]))
            for number in itertools.chain(
                *map(self._order.examples_of, range(first, first + steps_per_call))
            ):
                if number in self._failures:
                    raise self._failures.pop(number)
            yield batch

    def _batched(self, examples: tf.data.Dataset) -> tf.data.Dataset:
        count, batch = self._order.count, self._order.batch
        if not self._order.short_batches:
            return examples.map(lambda number, *rest: rest).batch(batch, drop_remainder=True)
        # A group is a step of a pass, and is complete with as many examples as that step has.
        return examples.group_by_window(
            key_func=lambda number, *rest: number % count // batch,
            reduce_func=lambda step, group: group.map(lambda number, *rest: rest).batch(batch),
            window_size_func=lambda step: tf.minimum(tf.constant(batch, tf.int64), count - step * batch),
        )

    def _example(self, number: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """The number itself, float32 [crop, crop, channels], int32 [crop, crop], float32 [crop, crop] if wanted."""
        size, channels = self._data.crop, self._data.channels
        draws = self._augmentation.draws(number)
        if self._augmentation.is_exact:
            image, mask, border = self._as_they_are(number, draws)
        else:
            image, mask, border = self._deformed(number, draws)
        image = self._augmentation.lit(tf.ensure_shape(image, [size, size, channels]), number, draws)
        mask = tf.cast(tf.ensure_shape(mask, [size, size]), tf.int32)
        if not self._has_border:
            return number, image, mask
        return number, image, mask, tf.ensure_shape(border, [size, size])

    def _as_they_are(self, number: tf.Tensor, draws: Draws) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        place, orientation = tf.stack([draws.down, draws.right]), self._augmentation.orientation(draws)
        image, mask, border = tf.numpy_function(self._crop, [number, place, orientation], _WINDOW)
        return tf.cast(image, tf.float32) / self._examples.white, mask, tf.cast(border, tf.float32)

    def _deformed(self, number: tf.Tensor, draws: Draws) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        field = self._augmentation.field(number, draws)
        rows, columns = tf.unstack(field)
        box = [reduce(part) for part in (rows, columns) for reduce in (tf.reduce_min, tf.reduce_max)]
        place = tf.stack([draws.down, draws.right])
        extent = (self._data.crop - 1) * self._augmentation.scale(draws)
        image, mask, border, centre = tf.numpy_function(
            self._around, [number, place, extent, tf.stack(box)], (*_WINDOW, tf.float32)
        )
        image = tf.ensure_shape(tf.cast(image, tf.float32), [None, None, self._data.channels])
        mask, centre = tf.ensure_shape(mask, [None, None]), tf.ensure_shape(centre, [2])
        at = field + centre[:, tf.newaxis, tf.newaxis]
        if self._has_border:
            border = tf.ensure_shape(tf.cast(border, tf.float32), [None, None])
            image = tf.concat([image, border[..., tf.newaxis]], axis=-1)
        found = interpolated(image, at)
        image = found[..., : self._data.channels] / self._examples.white
        return image, nearest(mask, at), found[..., -1]

    def _crop(
        self, number: np.int64, place: npt.NDArray[np.float32], orientation: npt.NDArray[np.bool_]
    ) -> Window:
        flip, flop, swap = orientation.tolist()
        size = self._data.crop
        window = self._read(number, lambda n: self._windows.crop(n, place.tolist(), (flip, flop, swap), size))
        return window or blank_window(size, self._data.channels)

    def _around(
        self,
        number: np.int64,
        place: npt.NDArray[np.float32],
        extent: np.float32,
        box: npt.NDArray[np.float32],
    ) -> tuple[npt.NDArray[np.generic], ...]:
        found = self._read(
            number, lambda n: self._windows.around(n, place.tolist(), float(extent), box.tolist())
        )
        window, centre = found or (blank_window(2, self._data.channels), (0.0, 0.0))
        return (*window, np.array(centre, np.float32))

    def _read(self, number: np.int64, read: Callable[[int], _Found]) -> _Found | None:
        """What is read for the example of this number, or None, and the failure is kept."""
        try:
            found = read(int(number))
        except Exception as error:
            self._failures[int(number)] = error
            return None
        self._failures.pop(int(number), None)
        return found


def _cores() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
