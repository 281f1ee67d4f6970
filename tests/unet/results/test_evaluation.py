"""A model on whole images: what is counted, and what is kept."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from tests.unet.results.pictures import Pictures, half_bright, threshold_model, threshold_settings
from unet.data.examples import IGNORED, Example
from unet.evaluation import MOST_SHOWN, Evaluation, Evaluator


def evaluate(*examples: Example) -> Evaluation:
    evaluation = Evaluator(threshold_model(), Pictures(examples), threshold_settings())()
    assert evaluation is not None
    return evaluation


def with_mask(example: Example, **changes: int) -> Example:
    """The same image; column `first` of its mask is of another class."""
    mask = example.mask.copy()
    mask[:, changes["column"]] = changes["value"]
    return Example(example.image, mask)


def test_all_pixels_of_all_images_count_the_same() -> None:
    small, large = half_bright(2, 4, 2), half_bright(20, 24, 12)
    evaluation = evaluate(with_mask(small, column=0, value=1), large)

    # 2 of 8 pixels of the small image are wrong, none of the 480 of the large one.
    assert evaluation.scores.pixel_accuracy == pytest.approx(486 / 488)
    np.testing.assert_array_equal(evaluation.scores.counts, [[242, 0], [2, 244]])
    assert [image.scores.pixel_accuracy for image in evaluation.images] == [0.75, 1.0]
    assert [image.pixels for image in evaluation.images] == [8, 480]


def test_ignored_pixels_count_nowhere() -> None:
    wrong = with_mask(half_bright(), column=0, value=1)
    ignored = with_mask(half_bright(), column=0, value=IGNORED)

    assert evaluate(wrong).scores.pixel_accuracy < 1
    assert evaluate(ignored).scores.pixel_accuracy == 1
    assert evaluate(ignored).images[0].pixels == 20 * 23


def test_an_image_larger_than_a_tile_is_scored_as_a_whole() -> None:
    evaluation = evaluate(half_bright(150, 170, 86))

    assert evaluation.scores.pixel_accuracy == 1
    assert evaluation.images[0].pixels == 150 * 170


def test_the_first_few_images_are_kept_to_be_looked_at() -> None:
    evaluation = evaluate(*[half_bright(bright_from=2 * number) for number in range(MOST_SHOWN + 2)])

    assert [shown.name for shown in evaluation.shown] == [f"picture-{number}" for number in range(MOST_SHOWN)]
    for shown in evaluation.shown:
        np.testing.assert_array_equal(shown.segmentation, shown.mask)
    assert len(evaluation.images) == MOST_SHOWN + 2


def test_without_images_there_is_no_evaluation() -> None:
    assert Evaluator(threshold_model(), Pictures([]), threshold_settings())() is None


def test_images_without_a_pixel_that_counts_are_no_evaluation() -> None:
    nothing = Example(half_bright().image, np.full((20, 24), IGNORED, np.uint8))

    assert Evaluator(threshold_model(), Pictures([nothing]), threshold_settings())() is None


def test_one_image_without_a_pixel_that_counts_does_not_spoil_the_others() -> None:
    nothing = Example(half_bright().image, np.full((20, 24), IGNORED, np.uint8))
    evaluation = evaluate(nothing, half_bright())

    assert evaluation.scores.mean_iou == 1
    assert math.isnan(evaluation.images[0].scores.mean_iou)


def test_the_weights_of_the_moment_are_scored() -> None:
    model = threshold_model()
    evaluator = Evaluator(model, Pictures([half_bright()]), threshold_settings())
    before = evaluator()
    model.set_weights([-weight for weight in model.get_weights()])
    after = evaluator()

    assert before is not None and after is not None
    assert (before.scores.pixel_accuracy, after.scores.pixel_accuracy) == (1, 0)


def test_an_image_that_cannot_be_read_any_more_ends_the_evaluation_with_its_error() -> None:
    class Torn(Pictures):
        def read(self, index: int) -> Example:
            if index == 1:
                raise OSError("images/b.png is gone")
            return super().read(index)

    with pytest.raises(OSError, match=r"b\.png is gone"):
        Evaluator(threshold_model(), Torn([half_bright()] * 3), threshold_settings())()


def test_metrics_have_names_that_mlflow_takes_and_no_value_that_is_no_number() -> None:
    evaluation = evaluate(half_bright(bright_from=24))  # nothing is bright
    metrics = replace(evaluation, classes=("dark (a/b)", "bright")).metrics("val_")

    assert metrics["val_miou"] == metrics["val_accuracy"] == metrics["val_iou.dark _a_b_"] == 1
    assert "val_iou.bright" not in metrics
    assert not any(map(math.isnan, metrics.values()))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("accuracy", 6 / 8),
        # Dark: 2 pixels right, 4 in the union; bright: 4 right, 6 in the union.
        ("miou", (2 / 4 + 4 / 6) / 2),
        ("dice", (4 / 6 + 8 / 10) / 2),
    ],
)
def test_the_score_a_training_is_judged_by(name: str, value: float) -> None:
    evaluation = evaluate(with_mask(half_bright(2, 4, 2), column=0, value=1))

    assert evaluation.score(name) == pytest.approx(value)
