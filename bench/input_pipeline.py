"""How many training crops a second the input pipeline gives, with nothing behind it that wants them.

    python -m bench.input_pipeline [--seconds 4] [--repeats 3]

The images are in memory: what is measured is the cutting, deforming and batching, not a disk. Turn by turn, so that
whatever else the machine does meets all settings alike.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from bench import page
from unet.data.examples import Example, Examples
from unet.data.pipeline import TrainingStream
from unet.settings import AugmentSettings, DataSettings, LossSettings

PACKAGES = ("tensorflow", "tensorflow-cpu", "numpy", "scipy")
SIZES = ((128, 8), (256, 16))
"""Height and width of the crops, and how many are in a batch."""

_CROPS = AugmentSettings(flip=False, quarter_turns=False, brightness=0.0)
_TURNED = AugmentSettings(brightness=0.0)
_BENT = replace(_TURNED, rotate=180, scale=0.25, elastic=4)
_ALL = replace(_BENT, brightness=0.1, contrast=0.2, gamma=0.2, noise=0.05)


@dataclass(frozen=True, eq=False)  # settings have no hash; each row is itself
class Contender:
    """One row of the table."""

    name: str
    augment: AugmentSettings
    border_weight: float = 0.0


CONTENDERS = (
    Contender("crops alone", _CROPS),
    Contender("flips, quarter turns", _TURNED),
    Contender("flips, quarter turns, brightness", AugmentSettings()),
    Contender("… rotation, scale, elastic", _BENT),
    Contender("… brightness, contrast, gamma, noise", _ALL),
    Contender("… border-weight map", _ALL, border_weight=10),
)


class InMemory:
    """Noise in grey, with cells of 32x32 pixels behind membranes of three; `side` pixels high and wide."""

    white = 255.0

    def __init__(self, count: int = 24, side: int = 512) -> None:
        self.names: Sequence[str] = tuple(map(str, range(count)))
        self.files: Sequence[str] = self.names
        random = np.random.default_rng(0)
        mask = np.ones((side, side), np.uint8)
        for offset in range(3):
            mask[offset::35] = mask[:, offset::35] = 0
        self._examples = [
            Example(random.integers(0, 256, (side, side, 1), dtype=np.uint8), mask) for _ in self.names
        ]

    def __len__(self) -> int:
        return len(self._examples)

    def read(self, index: int) -> Example:
        return self._examples[index]


def crops_per_second(
    stream: TrainingStream, seconds: float, clock: Callable[[], float] = time.perf_counter
) -> float:
    """Over at least this time, after a whole pass has filled what is filled at a first look."""
    batches = stream.batches(0)
    for _ in range(int(stream.steps_per_pass) + 8):
        next(batches)
    crops, began = 0, clock()
    while (spent := clock() - began) < seconds:
        crops += len(next(batches).images)
    return crops / spent


def measure(
    examples: Examples, seconds: float, repeats: int, contenders: Sequence[Contender] = CONTENDERS
) -> dict[tuple[Contender, int, int], list[float]]:
    """Crops a second of each contender at each size of crop and batch."""
    speeds: dict[tuple[Contender, int, int], list[float]] = {}
    for repeat in range(repeats):
        for (crop, batch), contender in itertools.product(SIZES, contenders):
            data = DataSettings(crop=crop, batch=batch, augment=contender.augment)
            stream = TrainingStream(
                examples, data, LossSettings(border_weight=contender.border_weight), seed=0
            )
            speed = crops_per_second(stream, seconds)
            speeds.setdefault((contender, crop, batch), []).append(speed)
            print(f"{repeat + 1}/{repeats} {crop}x{crop}, {contender.name}: {speed:,.0f} crops/s", flush=True)
    return speeds


def rows(speeds: Mapping[tuple[Contender, int, int], list[float]]) -> list[list[str]]:
    """One for each contender: median and range at each size."""
    table: dict[str, list[str]] = {}
    for (contender, _, _), values in speeds.items():
        cells = table.setdefault(contender.name, [contender.name])
        cells += [f"{statistics.median(values):,.0f}", f"{min(values):,.0f}-{max(values):,.0f}"]
    return list(table.values())


def section(speeds: Mapping[tuple[Contender, int, int], list[float]], circumstances: str) -> str:
    """The Markdown that goes into the page."""
    header = ["augmentation"]
    for crop, batch in SIZES:
        header += [f"{crop}x{crop}, batch {batch}: crops/s", "range"]
    repeats = max((len(values) for values in speeds.values()), default=0)
    return f"{circumstances}\nMedian of {repeats} runs, turn by turn.\n\n{page.table(header, rows(speeds))}"


def main() -> int:
    """Measures and prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--seconds", type=float, default=4, help="of each run")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()

    import tensorflow as tf

    tf.config.threading.set_inter_op_parallelism_threads(1)  # as a training does on a CPU
    load = page.load()
    speeds = measure(InMemory(), options.seconds, options.repeats)
    print(section(speeds, page.circumstances(PACKAGES, load)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
