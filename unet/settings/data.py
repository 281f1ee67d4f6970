"""Where images and masks come from, which are for what, and what is cut out of them for a batch."""

import re
from dataclasses import dataclass, field

from unet.settings.checks import check, check_choice, check_range

SOURCES = ("folder", "tfrecord", "oxford_pet", "synthetic")
MOST_CLASSES = 255
"""A class is a byte, and the last byte marks pixels that do not count."""


@dataclass
class AugmentSettings:
    """What changes from one look at an image to the next. 0 and false leave it as it is."""

    flip: bool = True
    """Mirror, along both axes."""
    quarter_turns: bool = True
    """Turn by a random multiple of 90 degrees: exact, no pixel is interpolated."""
    overhang: float = 0.0
    """How far a crop may reach beyond the image, as a share of the crop's side. At 0 all of it lies inside, and pixels
    near the border are seen less often than others; at 0.5 all are seen as often. What lies beyond is mirrored."""
    rotate: float = 0.0
    """Largest turn in degrees, either way. Pixels from beyond the border are mirrored ones."""
    scale: float = 0.0
    """Largest change of size: 0.25 is from 1/1.25 to 1.25."""
    elastic: float = 0.0
    """Elastic deformation: standard deviation in pixels of the displacement at each of a few knots, between
    which it is interpolated bicubically (Ronneberger, Fischer and Brox 2015: 10 pixels on a grid of 3x3)."""
    elastic_knots: int = 4
    """Knots along each side of a crop."""
    brightness: float = 0.1
    """Largest change of an image's brightness; 1 is the step from black to white."""
    contrast: float = 0.0
    """Largest change of contrast around the crop's mean: 0.2 is from 0.8 to 1.2."""
    gamma: float = 0.0
    """Largest change of gamma: 0.2 is from 1/1.2 to 1.2."""
    noise: float = 0.0
    """Largest standard deviation of noise that is added; 1 is the step from black to white."""

    def __post_init__(self) -> None:
        check_range("data.augment.overhang", self.overhang, 0, 0.5)
        check_range("data.augment.rotate", self.rotate, 0, 180, " degrees")
        check_range("data.augment.scale", self.scale, 0, 4)
        check_range("data.augment.elastic", self.elastic, 0, 200, " pixels")
        check_range("data.augment.elastic_knots", self.elastic_knots, 2, 64)
        check_range("data.augment.brightness", self.brightness, 0, 1)
        check(0 <= self.contrast < 1, "data.augment.contrast", self.contrast, "at least 0 and below 1")
        check_range("data.augment.gamma", self.gamma, 0, 4)
        check_range("data.augment.noise", self.noise, 0, 1)


@dataclass
class SyntheticSettings:
    """Images that are drawn, not read: bright discs of several sizes on a noisy ground."""

    images: int = 16
    height: int = 256
    width: int = 256

    def __post_init__(self) -> None:
        check_range("data.synthetic.images", self.images, 2, 1_000_000)
        check_range("data.synthetic.height", self.height, 8, 65536, " pixels")
        check_range("data.synthetic.width", self.width, 8, 65536, " pixels")


@dataclass
class DataSettings:
    """Images and masks."""

    name: str = "folder"
    """folder, tfrecord, oxford_pet, synthetic, or a function of your own, `module:function`, which is called with
    these settings and returns a unet.data.examples.Dataset."""
    folder: str = "data/membrane"
    """A directory or gs:// address. folder: of images and masks; tfrecord: of shards; oxford_pet: where
    tensorflow-datasets keeps its files; synthetic: not looked at."""
    images: str = "images/{name}.*"
    """folder: where the images lie below `folder`. {name} pairs an image with its mask; * is any text."""
    masks: str = "masks/{name}.*"
    """folder: where the masks lie, written in the same way."""
    classes: list[str] = field(default_factory=lambda: ["membrane", "cell"])
    """Names, in the order of the model's output channels."""
    mask_values: list[int] = field(default_factory=lambda: [0, 255])
    """The pixel value that stands for each class in the masks."""
    ignore_values: list[int] = field(default_factory=list)
    """Pixel values of masks for pixels that count neither in the loss nor in any score."""
    channels: int = 1
    """1 reads the images as grey, 3 as colour."""
    max_value: float | None = None
    """The pixel value that is white; null = the largest of the image's type (255 or 65535)."""
    resize: int = 0
    """Images are scaled when they are read, so that their shorter side has so many pixels; 0 = as they are."""
    train: str = "0-23"
    """What is trained on, by name without ending: ranges of numbers (0-23), shell patterns (night_*), lists of
    names (@train.txt, one a line, in `folder` or where the path says), with commas between."""
    validation: str = "24-29"
    """What the model is scored on while it trains; it chooses the best checkpoint. Written in the same way,
    or a share of `train`, drawn by `split_seed`: 20%. Empty: no validation, the last checkpoint is kept."""
    test: str = ""
    """What the finished model is scored on, once. Written in the same way; empty: nothing."""
    split_seed: int = 0
    """What shares and folds are drawn with; not the training's seed, so that seeds can be compared."""
    folds: int = 0
    """2 or more: cross-validation. `train` is drawn into so many parts; one of them is the validation."""
    fold: int = 0
    """Which of the folds is the validation, from 0."""
    crop: int = 128
    """Height and width of the training crops in pixels."""
    batch: int = 8
    """Crops of a step, over all devices together."""
    short_batches: bool = False
    """End each pass over the images with a batch of what is left of them, instead of filling it from the next
    pass."""
    cache: str = "auto"
    """Where decoded images are kept: memory, file (a file in `cache_dir`), none, or auto = by their size."""
    cache_dir: str | None = None
    """null = the system's directory for caches."""
    readers: int = 0
    """Threads that read and augment; 0 = as many as pay."""
    augment: AugmentSettings = field(default_factory=AugmentSettings)
    synthetic: SyntheticSettings = field(default_factory=SyntheticSettings)

    def __post_init__(self) -> None:
        check(
            self.name in SOURCES or bool(re.fullmatch(r"[\w.]+:\w+", self.name)),
            "data.name",
            self.name,
            f"one of {', '.join(SOURCES)}, or module:function",
        )
        check(
            2 <= len(self.classes) <= MOST_CLASSES,
            "data.classes",
            self.classes,
            f"from 2 to {MOST_CLASSES} names",
        )
        check(len(set(self.classes)) == len(self.classes), "data.classes", self.classes, "different names")
        check(
            len(self.mask_values) == len(self.classes) == len(set(self.mask_values)),
            "data.mask_values",
            self.mask_values,
            f"one different value for each of the {len(self.classes)} data.classes",
        )
        for name in ("mask_values", "ignore_values"):
            values = getattr(self, name)
            check(all(0 <= v <= 65535 for v in values), f"data.{name}", values, "values from 0 to 65535")
        check(
            not set(self.ignore_values) & set(self.mask_values),
            "data.ignore_values",
            self.ignore_values,
            f"other values than data.mask_values={self.mask_values}",
        )
        for name in ("images", "masks"):
            pattern = getattr(self, name)
            check(
                pattern.count("{name}") <= 1 and bool(pattern.strip()),
                f"data.{name}",
                pattern,
                "a path below data.folder with {name} at most once, such as images/{name}.*",
            )
        check(
            self.images != self.masks,
            "data.masks",
            self.masks,
            f"another pattern than data.images={self.images}",
        )
        check(
            ("{name}" in self.images) == ("{name}" in self.masks),
            "data.masks",
            self.masks,
            f"with {{name}} where data.images={self.images} has it, and without where it has not",
        )
        check(
            self.resize == 0 or 8 <= self.resize <= 65536,
            "data.resize",
            self.resize,
            "0, or from 8 to 65536 pixels",
        )
        check(self.channels in (1, 3), "data.channels", self.channels, "1 (grey) or 3 (colour)")
        if self.max_value is not None:
            check_range("data.max_value", self.max_value, 1, 65535)
        check(bool(self.train.strip()), "data.train", self.train, "names or ranges of images, such as 0-23")
        check(self.folds == 0 or 2 <= self.folds <= 1000, "data.folds", self.folds, "0, or from 2 to 1000")
        check(
            0 <= self.fold < max(self.folds, 1),
            "data.fold",
            self.fold,
            f"from 0 to {self.folds - 1} with data.folds={self.folds}"
            if self.folds
            else "0 without data.folds",
        )
        check(
            not (self.folds and self.validation.strip()),
            "data.validation",
            self.validation,
            f"empty with data.folds={self.folds}, which makes a validation of its own",
        )
        check_range("data.crop", self.crop, 1, 8192, " pixels")
        check_range("data.batch", self.batch, 1, 4096, " crops")
        check_choice("data.cache", self.cache, ["auto", "memory", "file", "none"])
        check_range("data.readers", self.readers, 0, 256, " threads")
