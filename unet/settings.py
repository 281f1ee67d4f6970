"""Everything a training can be told, with its type, and the values that make sense.

Plain dataclasses: a configuration system may build them, and so may a test. They are not frozen because
OmegaConf takes a frozen dataclass for a config that no override may touch; nothing in here changes one.
"""

import math
from collections.abc import Collection
from dataclasses import dataclass, field

from unet.errors import SettingsError


def _check(holds: bool, name: str, value: object, wanted: str) -> None:
    if not holds:
        raise SettingsError(f"{name} is {value!r}; it has to be {wanted}.")


def _check_choice(name: str, value: str, choices: Collection[str]) -> None:
    _check(value in choices, name, value, "one of " + ", ".join(choices))


def _is_positive(value: float) -> bool:
    return math.isfinite(value) and value > 0


@dataclass
class ModelSettings:
    """The network."""

    name: str = "unet"
    filters: int = 16
    """Channels of the first level; each level below has twice as many."""
    depth: int = 4
    """How often the image is halved on the way down."""
    dropout: float = 0.0
    """Share of the deepest level's channels that is left out in training."""
    norm_momentum: float = 0.9
    """How slowly batch normalisation's statistics move. Keras's 0.99 is too slow for hundreds of steps."""

    def __post_init__(self) -> None:
        _check_choice("model.name", self.name, ["unet"])
        _check(1 <= self.filters <= 512, "model.filters", self.filters, "from 1 to 512")
        _check(1 <= self.depth <= 7, "model.depth", self.depth, "from 1 to 7")
        _check(0 <= self.dropout < 1, "model.dropout", self.dropout, "at least 0 and below 1")
        _check(
            0 <= self.norm_momentum < 1, "model.norm_momentum", self.norm_momentum, "at least 0 and below 1"
        )

    @property
    def size_multiple(self) -> int:
        """Heights and widths have to be multiples of this many pixels."""
        return int(2**self.depth)


@dataclass
class DataSettings:
    """A folder with `images/` and `masks/`, and what is cut out of it for a batch."""

    folder: str = "data/membrane"
    classes: list[str] = field(default_factory=lambda: ["membrane", "cell"])
    """Names, in the order of the model's output channels."""
    mask_values: list[int] = field(default_factory=lambda: [0, 255])
    """The pixel value that stands for each class in the masks."""
    channels: int = 1
    """1 reads the images as grey, 3 as colour."""
    train: str = "0-23"
    """Training images, by name without ending: ranges of numbers and shell patterns, with commas between."""
    holdout: str = "24-29"
    """The images that the model is scored on and never trained on, written in the same way."""
    crop: int = 128
    """Height and width of the training crops in pixels."""
    batch: int = 8
    flip: bool = True
    rotate: bool = True
    """Turn crops by a random multiple of 90 degrees."""
    brightness: float = 0.1
    """Largest change of an image's brightness; 1 is the step from black to white."""

    def __post_init__(self) -> None:
        _check(len(self.classes) >= 2, "data.classes", self.classes, "two names or more")
        _check(
            len(self.mask_values) == len(self.classes) == len(set(self.mask_values)),
            "data.mask_values",
            self.mask_values,
            f"one different value for each of the {len(self.classes)} data.classes",
        )
        _check(
            all(0 <= v <= 255 for v in self.mask_values),
            "data.mask_values",
            self.mask_values,
            "from 0 to 255",
        )
        _check(self.channels in (1, 3), "data.channels", self.channels, "1 (grey) or 3 (colour)")
        _check(bool(self.train.strip()), "data.train", self.train, "names or ranges of images, such as 0-23")
        _check(
            bool(self.holdout.strip()),
            "data.holdout",
            self.holdout,
            "names or ranges of images, such as 24-29",
        )
        _check(1 <= self.crop <= 8192, "data.crop", self.crop, "from 1 to 8192 pixels")
        _check(1 <= self.batch <= 4096, "data.batch", self.batch, "from 1 to 4096 crops")
        _check(0 <= self.brightness <= 1, "data.brightness", self.brightness, "from 0 to 1")


@dataclass
class LossSettings:
    """What the training makes small: cross-entropy, and soft Dice beside it."""

    dice_weight: float = 1.0
    """0 leaves cross-entropy alone."""

    def __post_init__(self) -> None:
        _check(0 <= self.dice_weight <= 100, "loss.dice_weight", self.dice_weight, "from 0 to 100")


@dataclass
class OptimizerSettings:
    """How gradients become steps. The learning rate is the top-level `lr`."""

    name: str = "adam"
    weight_decay: float = 0.0
    """Decoupled weight decay; only adamw takes it."""
    momentum: float = 0.9
    """Only sgd takes it."""
    clip_norm: float | None = None
    """Gradients are scaled down to this global norm; null leaves them."""

    def __post_init__(self) -> None:
        _check_choice("optimizer.name", self.name, ["adam", "adamw", "sgd"])
        _check(
            0 <= self.weight_decay < 1, "optimizer.weight_decay", self.weight_decay, "at least 0 and below 1"
        )
        _check(
            self.weight_decay == 0 or self.name == "adamw",
            "optimizer.weight_decay",
            self.weight_decay,
            f"0 with {self.name} (or take optimizer.name=adamw)",
        )
        _check(0 <= self.momentum < 1, "optimizer.momentum", self.momentum, "at least 0 and below 1")
        if self.clip_norm is not None:
            _check(_is_positive(self.clip_norm), "optimizer.clip_norm", self.clip_norm, "above 0, or null")


@dataclass
class ScheduleSettings:
    """How the learning rate goes over the steps."""

    name: str = "cosine"
    warmup_steps: int = 0
    """Steps over which the rate climbs to `lr`; then, with cosine, it sinks until the last step."""
    final_fraction: float = 0.0
    """What is left of `lr` at the last step of cosine."""

    def __post_init__(self) -> None:
        _check_choice("schedule.name", self.name, ["constant", "cosine"])
        _check(self.warmup_steps >= 0, "schedule.warmup_steps", self.warmup_steps, "0 or more")
        _check(0 <= self.final_fraction <= 1, "schedule.final_fraction", self.final_fraction, "from 0 to 1")


@dataclass
class TrainerSettings:
    """The loop: how many steps, and what happens after how many of them."""

    steps: int = 240
    validate_every: int = 60
    checkpoint_every: int = 60
    keep_checkpoints: int = 3
    log_every: int = 10
    """Metrics of every step are recorded; they are sent to MLflow together after this many."""
    jit_compile: bool = False
    """Compile the training step with XLA: slower to start, faster afterwards."""

    def __post_init__(self) -> None:
        for name in ("steps", "validate_every", "checkpoint_every", "keep_checkpoints", "log_every"):
            _check(getattr(self, name) >= 1, f"trainer.{name}", getattr(self, name), "1 or more")


@dataclass
class TrackingSettings:
    """What goes to MLflow, beside parameters, metrics and the picture of predictions."""

    experiment: str = "unet"
    """Used unless MLFLOW_EXPERIMENT_NAME, MLFLOW_EXPERIMENT_ID or MLFLOW_RUN_ID says otherwise."""
    system_metrics: bool = True
    checkpoint: bool = True
    """The last checkpoint, model and optimizer, as an artifact."""
    model: bool = True
    """The trained model, ready to be loaded with `mlflow.keras.load_model`."""

    def __post_init__(self) -> None:
        _check(bool(self.experiment.strip()), "tracking.experiment", self.experiment, "a name")


@dataclass
class Settings:
    """One training."""

    lr: float = 1e-3
    """The highest learning rate of the schedule."""
    seed: int = 0
    """The same seed gives the same weights, crops and augmentations."""
    model: ModelSettings = field(default_factory=ModelSettings)
    data: DataSettings = field(default_factory=DataSettings)
    loss: LossSettings = field(default_factory=LossSettings)
    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)
    schedule: ScheduleSettings = field(default_factory=ScheduleSettings)
    trainer: TrainerSettings = field(default_factory=TrainerSettings)
    tracking: TrackingSettings = field(default_factory=TrackingSettings)

    def __post_init__(self) -> None:
        _check(_is_positive(self.lr) and self.lr <= 10, "lr", self.lr, "above 0 and at most 10")
        _check(0 <= self.seed < 2**32, "seed", self.seed, "from 0 to 4294967295")
        _check(
            self.data.crop % self.model.size_multiple == 0,
            "data.crop",
            self.data.crop,
            f"a multiple of {self.model.size_multiple} with model.depth={self.model.depth}",
        )
        _check(
            self.schedule.warmup_steps < self.trainer.steps,
            "schedule.warmup_steps",
            self.schedule.warmup_steps,
            f"below trainer.steps={self.trainer.steps}",
        )
