"""docs/results.md: scores trainings of `experiment=membrane` on the held-out slices, and writes table and curves.

    python -m scripts.membrane_results outputs/seed-0 outputs/seed-1 outputs/seed-2

Each directory is the output directory of a finished training, whose MLflow run is in the store that the environment
names. The scores are counted anew from the exported models; nothing on the page is typed by hand.
"""

from __future__ import annotations

import argparse
import statistics
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import mlflow
import numpy as np
import numpy.typing as npt

from bench import page
from unet.data.dataset import read_dataset
from unet.data.examples import Examples
from unet.membrane_scores import membrane_scores
from unet.metrics import Scores
from unet.prediction import Predictor
from unet.settings import DataSettings
from unet.tracking import RUN_ID_FILE

PAGE = page.ROOT / "docs" / "results.md"
CURVES = page.ROOT / "docs" / "images" / "membrane-curves.png"
HELD_OUT = "24-29"

Probabilities = npt.NDArray[np.float32]
Inside = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Result:
    """What one way of looking at the held-out slices gives."""

    pixel_error: float
    mean_iou: float
    v_rand: float
    v_info: float


@dataclass(frozen=True)
class Run:
    """A finished training."""

    seed: str
    minutes: float
    steps: list[int]
    losses: list[float]
    results: dict[str, Result]
    """By the way in which the model looked at the slices, the last as `experiment=membrane` has it."""


WAYS: dict[str, dict[str, Any]] = {
    "as it is": {"average": "none", "shifts": 1},
    "mean of 8 ways to lay it": {"average": "turns", "shifts": 1},
    "of 8 ways in 4 places": {"average": "turns", "shifts": 2},
}


def score(output_dir: Path, way: dict[str, Any]) -> Result:
    """The exported model on the held-out slices; thresholds of V_rand and V_info as they suit the training slices."""
    trained = Predictor.load(str(output_dir))
    inference = replace(trained.inference, **way)
    predictor = Predictor.load(str(output_dir), inference)
    data = DataSettings(folder=str(page.ROOT / "data" / "membrane"), validation="", test=HELD_OUT)
    slices = read_dataset(data)
    cells, truths = predict(predictor, slices.test)
    chosen = membrane_scores(*predict(predictor, slices.training))
    truth, found = np.concatenate(truths), np.concatenate(cells) > 0.5
    scores = Scores.of(np.bincount(truth.ravel() * 2 + found.ravel(), minlength=4).reshape(2, 2))
    return Result(
        1 - scores.pixel_accuracy,
        scores.mean_iou,
        membrane_scores(cells, truths, [chosen.v_rand_threshold]).v_rand,
        membrane_scores(cells, truths, [chosen.v_info_threshold]).v_info,
    )


def predict(predictor: Predictor, slices: Examples) -> tuple[list[Probabilities], list[Inside]]:
    """Of each slice, [height, width]: the probability of being inside a cell, and whether it is so."""
    examples = [slices.read(number) for number in range(len(slices))]
    return [predictor(example.image)[..., 1] for example in examples], [e.mask == 1 for e in examples]


def read(output_dir: Path) -> Run:
    """Everything about one training."""
    client, run_id = mlflow.MlflowClient(), (output_dir / RUN_ID_FILE).read_text()
    run = client.get_run(run_id)
    if run.info.status != "FINISHED":
        raise SystemExit(
            f"The training in {output_dir} is {run.info.status}: its results would be no results."
        )
    history = sorted(client.get_metric_history(run_id, "loss"), key=lambda metric: metric.step)
    return Run(
        seed=run.data.params["seed"],
        minutes=(run.info.end_time - run.info.start_time) / 60_000,
        steps=[metric.step for metric in history],
        losses=[metric.value for metric in history],
        results={said: score(output_dir, way) for said, way in WAYS.items()},
    )


def section(runs: list[Run]) -> str:
    """The table: a row for each seed and one for the median."""
    rows = []
    for how in WAYS:
        results = [run.results[how] for run in runs]
        for run, result in zip(runs, results, strict=True):
            rows.append([f"seed {run.seed}, {how}", f"{run.minutes:.1f}", *_figures(result)])
        median = Result(*(statistics.median(getattr(r, name) for r in results) for name in _NAMES))
        minutes = statistics.median(run.minutes for run in runs)
        rows.append([f"**median**, {how}", f"{minutes:.1f}", *_figures(median)])
    header = ["", "minutes", "pixel error", "mean IoU", "V_rand", "V_info"]
    return (
        page.circumstances(["tensorflow-cpu", "keras", "scikit-image"], page.load())
        + "\n"
        + page.table(header, rows)
    )


_NAMES = ("pixel_error", "mean_iou", "v_rand", "v_info")


def _figures(result: Result) -> list[str]:
    return [f"{getattr(result, name):.4f}" for name in _NAMES]


def draw(runs: list[Run], path: Path) -> None:
    """The loss of each training over its steps, as a mean over 50 of them."""
    matplotlib.use("Agg")
    figure, axes = plt.subplots(figsize=(8, 4), dpi=120)
    for run in runs:
        window = min(50, len(run.losses))
        smooth = np.convolve(run.losses, np.ones(window) / window, mode="valid")
        axes.plot(run.steps[window - 1 :], smooth, label=f"seed {run.seed}", linewidth=1)
    axes.set(xlabel="step", ylabel="loss, mean of 50 steps", yscale="log")
    axes.legend(frameon=False)
    axes.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(path)


def main() -> None:
    """Score, draw, and write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("output_dirs", nargs="+", type=Path)
    parser.add_argument("--dry", action="store_true", help="print the table, and leave the page as it is")
    arguments = parser.parse_args()
    runs = [read(output_dir) for output_dir in arguments.output_dirs]
    print(section(runs))
    if not arguments.dry:
        draw(runs, CURVES)
        page.replace_section("membrane", section(runs), PAGE)


if __name__ == "__main__":
    main()
