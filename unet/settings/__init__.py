"""Everything a training can be told, with its type, and the values that make sense.

Plain dataclasses: a configuration system may build them, and so may a test. They are not frozen because
OmegaConf takes a frozen dataclass for a config that no override may touch; nothing in here changes one.
"""

from dataclasses import dataclass, field

from unet.settings.checks import check, check_range, is_positive
from unet.settings.data import AugmentSettings, DataSettings, SyntheticSettings
from unet.settings.inference import InferenceSettings
from unet.settings.loss import LossSettings
from unet.settings.model import ModelSettings
from unet.settings.optimization import OptimizerSettings, ScheduleSettings
from unet.settings.tracking import TrackingSettings
from unet.settings.trainer import TrainerSettings

__all__ = [
    "AugmentSettings",
    "DataSettings",
    "InferenceSettings",
    "LossSettings",
    "ModelSettings",
    "OptimizerSettings",
    "ScheduleSettings",
    "Settings",
    "SyntheticSettings",
    "TrackingSettings",
    "TrainerSettings",
]


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
    inference: InferenceSettings = field(default_factory=InferenceSettings)
    tracking: TrackingSettings = field(default_factory=TrackingSettings)

    def __post_init__(self) -> None:
        check(is_positive(self.lr) and self.lr <= 10, "lr", self.lr, "above 0 and at most 10")
        check_range("seed", self.seed, 0, 2**32 - 1)
        self._check_sizes()
        self._check_loss()
        self._check_trainer()

    def _check_sizes(self) -> None:
        model, crop, margin = self.model, self.data.crop, 2 * self.model.margin
        least = f"above {margin}, and " if margin else ""
        more = f" and {model.size_remainder} more" if model.size_remainder else ""
        check(
            crop > margin and crop % model.size_multiple == model.size_remainder,
            "data.crop",
            crop,
            f"{least}a multiple of {model.size_multiple}{more} with "
            f"model.depth={model.depth}, model.stem={model.stem}, model.padding={model.padding}",
        )
        check(
            self.inference.tile > margin,
            "inference.tile",
            self.inference.tile,
            f"above the {margin} pixels that model.padding={model.padding} takes off",
        )

    def _check_loss(self) -> None:
        loss, classes = self.loss, self.data.classes
        check(
            loss.class_weights is None or len(loss.class_weights) == len(classes),
            "loss.class_weights",
            loss.class_weights,
            f"one weight for each of data.classes={classes}, or null",
        )
        check(
            self.inference.class_weights is None or len(self.inference.class_weights) == len(classes),
            "inference.class_weights",
            self.inference.class_weights,
            f"one weight for each of data.classes={classes}, or null",
        )
        check(
            loss.border_class is None or loss.border_class in classes,
            "loss.border_class",
            loss.border_class,
            f"one of data.classes={classes}, or null",
        )

    def _check_trainer(self) -> None:
        trainer, validated = self.trainer, bool(self.data.validation.strip() or self.data.folds)
        check(
            self.schedule.warmup_steps < trainer.steps,
            "schedule.warmup_steps",
            self.schedule.warmup_steps,
            f"below trainer.steps={trainer.steps}",
        )
        check(
            self.data.batch % trainer.accumulate == 0
            and not (trainer.accumulate > 1 and self.data.short_batches),
            "trainer.accumulate",
            trainer.accumulate,
            f"a divisor of data.batch={self.data.batch}, and 1 with data.short_batches",
        )
        check(
            trainer.steps_per_call == 1 or not self.data.short_batches,
            "trainer.steps_per_call",
            trainer.steps_per_call,
            "1 with data.short_batches",
        )
        for name in ("steps", "validate_every", "checkpoint_every"):
            check(
                getattr(trainer, name) % trainer.steps_per_call == 0,
                f"trainer.{name}",
                getattr(trainer, name),
                f"a multiple of trainer.steps_per_call={trainer.steps_per_call}",
            )
        without = "without data.validation or data.folds"
        early, schedule = trainer.early_stopping, self.schedule.name
        check(validated or not early, "trainer.early_stopping", early, f"0 {without}")
        check(validated or schedule != "plateau", "schedule.name", schedule, f"another one {without}")
