"""The scores of each image, and the confusion matrix, as tables for people and programs."""

import csv
import json
import math
from pathlib import Path

from unet.evaluation import Evaluation

Table = dict[str, list[str | int | float | None]]
"""Columns by their names, all of the same length: what `mlflow.log_table` takes."""


def score_table(evaluation: Evaluation) -> Table:
    """A row for each image, the worst first; None stands for the score of a class that does not occur."""
    columns: Table = {"image": [], "pixels": [], "accuracy": [], "miou": [], "dice": []}
    for kind in ("iou", "dice"):
        columns |= {f"{kind}.{name}": [] for name in evaluation.classes}
    worst_first = sorted(evaluation.images, key=lambda image: _worst_first(image.scores.mean_iou))
    for image in worst_first:
        scores = image.scores
        row = [
            scores.pixel_accuracy,
            scores.mean_iou,
            scores.mean_dice,
            *scores.class_iou,
            *scores.class_dice,
        ]
        values = [image.name, image.pixels, *(None if math.isnan(value) else value for value in row)]
        for column, value in zip(columns.values(), values, strict=True):
            column.append(value)
    return columns


def write_csv(table: Table, path: Path) -> None:
    """The table with a line of column names."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(table)
        writer.writerows(zip(*table.values(), strict=True))


def as_json(table: Table) -> str:
    """The table in the form that MLflow keeps its own in: `mlflow.load_table` reads it."""
    rows = [list(row) for row in zip(*table.values(), strict=True)]
    return json.dumps({"columns": list(table), "data": rows}, ensure_ascii=False)


def write_confusion(evaluation: Evaluation, path: Path) -> None:
    """The confusion matrix as JSON: pixels of the row's class that were taken for the column's."""
    counts = [[int(count) for count in row] for row in evaluation.scores.counts]
    content = {"classes": list(evaluation.classes), "rows": "true class", "columns": "predicted class"}
    path.write_text(json.dumps({**content, "counts": counts}, ensure_ascii=False) + "\n", encoding="utf-8")


def _worst_first(score: float) -> float:
    """Images in which nothing counts come last."""
    return math.inf if math.isnan(score) else score
