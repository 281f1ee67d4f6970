"""Our training loop against Keras's `model.fit`: `python -m bench.training` (or `make bench-train`).

Each contender trains in a process of its own, turn by turn, so that all meet the same weather; the table has the median
of the rounds and the ratio of each round's neighbours. Writes three sections of docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from typing import Any

from bench import input_pipeline, page, training_costs

SIZES: list[dict[str, Any]] = [
    {"filters": 16, "size": 128, "batch": 8, "lap": 20},
    {"filters": 16, "size": 256, "batch": 4, "lap": 10},
    {"filters": 32, "size": 128, "batch": 8, "lap": 10},
    {"filters": 8, "size": 64, "batch": 16, "lap": 40},
]
"""A lap is so many steps."""

# What a person can ask of `fit` to make it fast; its best is the fastest of them, size by size.
FIT: dict[str, dict[str, Any]] = {
    "fit": {},
    "fit, steps_per_execution=5": {"steps_per_call": 5},
    "fit, jit_compile": {"jit": True},
    "fit, both": {"jit": True, "steps_per_call": 5},
}


@dataclass(frozen=True)
class Row:
    """One size: images per second of each contender, a number for each round."""

    size: dict[str, Any]
    ours: list[float]
    fit: dict[str, list[float]]

    @property
    def best(self) -> str:
        return max(self.fit, key=lambda name: statistics.median(self.fit[name]))

    def ratio(self, name: str) -> float:
        return statistics.median(ours / other for ours, other in zip(self.ours, self.fit[name], strict=True))


def measure(wanted: dict[str, Any]) -> float:
    """Images per second of one training."""
    command = [sys.executable, "-m", "bench.one_training", json.dumps(wanted)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=page.ROOT)
    if done.returncode:
        raise RuntimeError(f"{wanted} ended with {done.returncode}:\n{done.stderr[-3000:]}")
    return float(json.loads(done.stdout.splitlines()[-1])["images_per_s"])


def compare(size: dict[str, Any], rounds: int) -> Row:
    """The contenders turn by turn."""
    ours: list[float] = []
    fit: dict[str, list[float]] = {name: [] for name in FIT}
    for number in range(rounds):
        ours.append(measure({"who": "ours", **size}))
        for name, options in FIT.items():
            fit[name].append(measure({"who": "fit", **size, **options}))
        print(f"{size} round {number + 1}: ours {ours[-1]:.1f}, ", end="")
        print(", ".join(f"{name} {values[-1]:.1f}" for name, values in fit.items()), flush=True)
    return Row(size, ours, fit)


def section(rows: list[Row], rounds: int, load: float) -> str:
    """What docs/benchmarks.md has between its markers."""
    header = ["U-Net, depth 4", "ours, images/s", *FIT, "ours / fit", "ours / its best"]
    cells = [
        [
            f"{row.size['filters']} filters, {row.size['batch']} x {row.size['size']}x{row.size['size']}",
            f"{statistics.median(row.ours):.1f}",
            *(f"{statistics.median(row.fit[name]):.1f}" for name in FIT),
            f"{row.ratio('fit'):.2f}",
            f"{row.ratio(row.best):.2f}",
        ]
        for row in rows
    ]
    return (
        page.circumstances(["tensorflow-cpu", "keras", "mlflow", "hydra-gce-launcher"], load)
        + f"\nMedian of {rounds} rounds, contenders turn by turn, each in a process of its own.\n\n"
        + page.table(header, cells)
    )


def input_section(consumed: float) -> str:
    """What the input pipeline gives alone, and how often that is what the first size's training takes."""
    import tensorflow as tf

    tf.config.threading.set_inter_op_parallelism_threads(1)  # as a training does on a CPU
    load = page.load()
    speeds = input_pipeline.measure(input_pipeline.InMemory(), seconds=4, repeats=3)
    least = min(
        statistics.median(values) for (_, crop, _), values in speeds.items() if crop == SIZES[0]["size"]
    )
    text = input_pipeline.section(speeds, page.circumstances(input_pipeline.PACKAGES, load))
    return (
        f"{text}\nThe slowest at 128x128 gives {least / consumed:.1f} times what the training above takes.\n"
    )


def main() -> None:
    """Measure, print, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dry", action="store_true", help="leave docs/benchmarks.md as it is")
    arguments = parser.parse_args()

    def write(name: str, content: str) -> None:
        print(content, flush=True)
        if not arguments.dry:
            page.replace_section(name, content)

    load = page.load()
    rows = [compare(size, arguments.rounds) for size in SIZES]
    write("training", section(rows, arguments.rounds, load))
    # TensorFlow's threads are settled once in the life of a process.
    for name, measured in (
        ("training-costs", partial(training_costs.section)),
        ("training-input", partial(input_section, statistics.median(rows[0].ours))),
    ):
        with ProcessPoolExecutor(1, get_context("spawn")) as alone:
            write(name, alone.submit(measured).result())


if __name__ == "__main__":
    main()
