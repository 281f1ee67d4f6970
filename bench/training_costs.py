"""What checkpoints and MLflow cost a training: laps of the same loop with and without them, turn by turn.

Each lap ends when its background work has ended, so that none pays for another's: what is measured is the most that
it can cost. `python -m bench.training_costs` prints the table.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from bench import page
from bench.one_training import settings_of

STEPS = 60
"""Steps of a lap: as many as lie between two checkpoints of the default job."""
ROUNDS = 7


LAPS = ("bare", "MLflow", "checkpoint")


def measure(output: Path) -> dict[str, list[float]]:
    """Seconds of each lap: bare, with the metrics of each step sent to MLflow, with a checkpoint at its end."""
    os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{output / 'mlflow.db'}"
    from unet.checkpoints import Checkpoints
    from unet.progress import Progress
    from unet.state import TrainingState
    from unet.training import train

    seconds: dict[str, list[float]] = {name: [] for name in LAPS}
    taken, save = Progress.taken, Checkpoints.save
    started = time.perf_counter()

    def lap_of(step: int) -> str | None:
        """None in the first, in which TensorFlow compiles."""
        lap = (step - 1) // STEPS
        return LAPS[(lap - 1) % len(LAPS)] if lap else None

    def taken_in_some(self: Progress, step: int, metrics: Any) -> None:
        nonlocal started
        if step % STEPS == 1 and step > 1:
            self.settle()
            self.run.settle()
            if lap := lap_of(step - 1):
                seconds[lap].append(time.perf_counter() - started)
            started = time.perf_counter()
        if lap_of(step) == "MLflow":
            taken(self, step, metrics)

    def save_in_some(self: Checkpoints, state: TrainingState, unrecorded: Any = ()) -> None:
        if lap_of(state.notes.step) == "checkpoint":
            save(self, state, unrecorded)
            self.settle()

    Progress.taken, Checkpoints.save = taken_in_some, save_in_some  # type: ignore[method-assign]
    settings = settings_of({"filters": 16, "size": 128, "batch": 8, "checkpoint_every": STEPS})
    settings.trainer.steps = STEPS * (1 + ROUNDS * len(LAPS)) + 1
    settings.trainer.validate_every = settings.trainer.steps
    train(settings, output)
    return seconds


def section() -> str:
    """The table of docs/benchmarks.md."""
    load = page.load()
    with tempfile.TemporaryDirectory() as output:
        laps = measure(Path(output))
    rows = []
    for name in ("MLflow", "checkpoint"):
        costs = [(with_it - bare) / bare for with_it, bare in zip(laps[name], laps["bare"], strict=True)]
        rows.append(
            [
                f"{STEPS} steps with {name}",
                f"{statistics.median(laps[name]):.2f}",
                f"{100 * statistics.median(costs):+.1f} %",
                f"{100 * min(costs):+.1f} to {100 * max(costs):+.1f} %",
            ]
        )
    rows.insert(0, [f"{STEPS} steps alone", f"{statistics.median(laps['bare']):.2f}", "", ""])
    return (
        page.circumstances(["tensorflow-cpu", "mlflow", "hydra-gce-launcher"], load)
        + f"\nMedian of {ROUNDS} rounds, laps turn by turn in one process.\n\n"
        + page.table(["16 filters, 8 x 128x128", "s", "more", "range"], rows)
    )


if __name__ == "__main__":
    print(section())
