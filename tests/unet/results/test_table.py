"""Scores of images as tables."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np

from tests.unet.results.pictures import Pictures, half_bright, threshold_model, threshold_settings
from unet.data.examples import IGNORED, Example
from unet.evaluation import Evaluation, Evaluator
from unet.table import as_json, score_table, write_confusion, write_csv


def evaluation() -> Evaluation:
    """Three images: all right, half right, nothing that counts."""
    good, nothing = half_bright(), np.full((20, 24), IGNORED, np.uint8)
    half = Example(good.image, np.zeros((20, 24), np.uint8))
    pictures = Pictures([good, half, Example(good.image, nothing)])
    evaluation = Evaluator(threshold_model(), pictures, threshold_settings())()
    assert evaluation is not None
    return evaluation


def test_the_worst_image_comes_first_and_one_in_which_nothing_counts_last() -> None:
    table = score_table(evaluation())

    assert table["image"] == ["picture-1", "picture-0", "picture-2"]
    assert table["miou"] == [0.25, 1.0, None]
    assert table["pixels"] == [480, 480, 0]


def test_the_csv_reads_back(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    write_csv(score_table(evaluation()), path)
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))

    assert rows[0]["image"] == "picture-1"
    assert float(rows[0]["iou.dark"]) == 0.5
    assert rows[2]["dice.bright"] == ""


def test_the_json_has_the_form_of_mlflows_tables() -> None:
    content = json.loads(as_json(score_table(evaluation())))

    assert content["columns"][:3] == ["image", "pixels", "accuracy"]
    assert content["data"][0][:3] == ["picture-1", 480, 0.5]
    assert content["data"][2][2] is None  # json.dumps would write NaN, which is no JSON


def test_the_confusion_matrix_says_what_its_rows_are(tmp_path: Path) -> None:
    path = tmp_path / "confusion.json"
    write_confusion(evaluation(), path)

    assert json.loads(path.read_text()) == {
        "classes": ["dark", "bright"],
        "rows": "true class",
        "columns": "predicted class",
        "counts": [[480, 240], [0, 240]],
    }
