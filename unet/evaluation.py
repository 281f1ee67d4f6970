"""The model on whole held-out images: how good it is on all of them together, and on each."""

import re
from dataclasses import dataclass

import keras
import numpy as np

from unet.data.examples import Classes, Examples, Pixels, to_float
from unet.metrics import Scores, confusion
from unet.read_ahead import read_ahead
from unet.settings import Settings
from unet.tiles import Segmenter

MOST_SHOWN = 6
"""So many images are kept, with what the model made of them, to be looked at."""


@dataclass(frozen=True)
class ScoredImage:
    """How good the segmentation of one image is."""

    name: str
    scores: Scores
    pixels: int
    """Those that count: all but the ignored ones."""


@dataclass(frozen=True)
class ShownImage:
    """An image, what it is, and what the model takes it for."""

    name: str
    image: Pixels
    mask: Classes
    segmentation: Classes


@dataclass(frozen=True)
class Evaluation:
    """A model on a number of images."""

    classes: tuple[str, ...]
    scores: Scores
    """Of the pixels of all images together."""
    images: tuple[ScoredImage, ...]
    shown: tuple[ShownImage, ...]
    """The first of them."""
    white: float
    """The pixel value that is white in the images."""

    def score(self, name: str) -> float:
        """The score that a training is judged by: miou, dice or accuracy."""
        scores = self.scores
        return {"miou": scores.mean_iou, "dice": scores.mean_dice, "accuracy": scores.pixel_accuracy}[name]

    def metrics(self, prefix: str) -> dict[str, float]:
        """The scores under the names that MLflow gets, without those of classes that do not occur."""
        scores = self.scores
        metrics = {name: self.score(name) for name in ("miou", "dice", "accuracy")}
        for kind, values in (
            ("iou", scores.class_iou),
            ("dice", scores.class_dice),
            ("precision", scores.class_precision),
            ("recall", scores.class_recall),
        ):
            metrics |= {f"{kind}.{_plain(name)}": v for name, v in zip(self.classes, values, strict=True)}
        return {prefix + name: value for name, value in metrics.items() if not np.isnan(value)}


class Evaluator:
    """Scores a model, as it is at each call, on the images of `examples`.

    One image after the other, so that memory holds two of them (the next is read meanwhile) and the few that are
    shown, however many there are.

    Args:
        model: gives logits.
        settings: the training's; how it looks at images that are larger than a tile is in settings.inference.
        in_all_ways: by the averages that settings.inference names; a training's own validations do without.
    """

    def __init__(
        self, model: keras.Model, examples: Examples, settings: Settings, in_all_ways: bool = False
    ) -> None:
        network = settings.model
        inference = settings.inference if in_all_ways else settings.inference.plain
        self._segmenter = Segmenter(
            model, inference, network.size_multiple, network.size_remainder, network.margin
        )
        self._examples = examples
        self._classes = tuple(settings.data.classes)

    def __call__(self) -> Evaluation | None:
        """The scores; None where there are no images, or no pixel that counts."""
        counts = np.zeros((len(self._classes), len(self._classes)), dtype=np.int64)
        images: list[ScoredImage] = []
        shown: list[ShownImage] = []
        examples = read_ahead(map(self._examples.read, range(len(self._examples))))
        for name, example in zip(self._examples.names, examples, strict=True):
            probabilities = self._segmenter(to_float(example.image, self._examples.white))
            of_image = np.asarray(confusion(example.mask[np.newaxis], probabilities[np.newaxis]))
            counts += of_image
            images.append(ScoredImage(name, Scores.of(of_image), int(of_image.sum())))
            if len(shown) < MOST_SHOWN:
                segmentation = np.argmax(probabilities, axis=-1).astype(np.uint8)
                shown.append(ShownImage(name, example.image, example.mask, segmentation))
        if not counts.any():
            return None
        return Evaluation(
            self._classes, Scores.of(counts), tuple(images), tuple(shown), white=self._examples.white
        )


def _plain(name: str) -> str:
    """MLflow refuses most other characters in a metric's name."""
    return re.sub(r"[^\w.\- ]", "_", name)
