"""Which images a step looks at: each comes once in a pass, and every pass has an order of its own."""

import functools

import numpy as np
import numpy.typing as npt


class PassOrder:
    """Examples are numbered from 0 without end, pass after pass; steps take so many of them in a row.

    Args:
        count: how many images there are.
        batch: how many examples a step takes.
        short_batches: a step takes fewer where a pass ends, instead of some from the next pass.
    """

    def __init__(self, count: int, batch: int, short_batches: bool, seed: int) -> None:
        self.count, self.batch, self.short_batches, self._seed = count, batch, short_batches, seed
        # Several threads ask for neighbouring examples: they are of one pass, or of two.
        self._order = functools.lru_cache(maxsize=4)(self._draw)

    @property
    def steps_per_pass(self) -> float:
        """Steps in which every image comes once."""
        return -(-self.count // self.batch) if self.short_batches else self.count / self.batch

    def examples_of(self, step: int) -> range:
        """The numbers of the examples of this step, counted from 0."""
        if not self.short_batches:
            return range(step * self.batch, (step + 1) * self.batch)
        number, step_of_pass = divmod(step, int(self.steps_per_pass))
        first, end = number * self.count + step_of_pass * self.batch, (number + 1) * self.count
        return range(first, min(first + self.batch, end))

    def image_of(self, example: int) -> int:
        """The index of the image that the example of this number is cut from."""
        number, position = divmod(example, self.count)
        return int(self._order(number)[position])

    def _draw(self, number: int) -> npt.NDArray[np.intp]:
        # The raw numbers of a bit generator are the same in every version of NumPy; its permutations need not be.
        raw = np.random.Philox(key=np.array([self._seed, number], np.uint64)).random_raw(self.count)
        return np.argsort(raw, kind="stable")
