"""How gradients become steps, and how the learning rate goes over them."""

from dataclasses import dataclass

from unet.settings.checks import check, check_choice, check_range, is_positive


@dataclass
class OptimizerSettings:
    """How gradients become steps. The learning rate is the top-level `lr`."""

    name: str = "adam"
    """adam, adamw, lion, rmsprop or sgd."""
    weight_decay: float = 0.0
    """Decoupled weight decay of the kernels; adamw and lion take it."""
    momentum: float = 0.9
    """Of sgd and rmsprop."""
    nesterov: bool = False
    """Only sgd takes it."""
    clip_norm: float | None = None
    """Gradients are scaled down to this norm over all weights together; null leaves them."""
    ema_decay: float = 0.0
    """Above 0: an exponential moving average of the weights is kept, scored and exported. 0.999 looks back over
    about a thousand steps; it looks back less far at the start."""

    def __post_init__(self) -> None:
        check_choice("optimizer.name", self.name, ["adam", "adamw", "lion", "rmsprop", "sgd"])
        check(
            0 <= self.weight_decay < 1, "optimizer.weight_decay", self.weight_decay, "at least 0 and below 1"
        )
        check(
            self.weight_decay == 0 or self.name in ("adamw", "lion"),
            "optimizer.weight_decay",
            self.weight_decay,
            f"0 with {self.name} (or take optimizer.name=adamw)",
        )
        check(0 <= self.momentum < 1, "optimizer.momentum", self.momentum, "at least 0 and below 1")
        check(
            not self.nesterov or self.name == "sgd",
            "optimizer.nesterov",
            self.nesterov,
            f"false with {self.name} (or take optimizer.name=sgd)",
        )
        if self.clip_norm is not None:
            check(is_positive(self.clip_norm), "optimizer.clip_norm", self.clip_norm, "above 0, or null")
        check(0 <= self.ema_decay < 1, "optimizer.ema_decay", self.ema_decay, "at least 0 and below 1")


@dataclass
class ScheduleSettings:
    """How the learning rate goes over the steps."""

    name: str = "cosine"
    """constant, cosine, polynomial or plateau."""
    warmup_steps: int = 0
    """Steps over which the rate climbs to `lr`."""
    final_fraction: float = 0.0
    """What is left of `lr` at the last step of cosine and polynomial, and at the least of plateau."""
    power: float = 1.0
    """Of polynomial: 1 is a straight line."""
    patience: int = 3
    """plateau: after so many validations without a better score the rate is made smaller."""
    factor: float = 0.5
    """plateau: by this factor."""

    def __post_init__(self) -> None:
        check_choice("schedule.name", self.name, ["constant", "cosine", "polynomial", "plateau"])
        check(self.warmup_steps >= 0, "schedule.warmup_steps", self.warmup_steps, "0 or more")
        check_range("schedule.final_fraction", self.final_fraction, 0, 1)
        check(is_positive(self.power), "schedule.power", self.power, "above 0")
        check(self.patience >= 1, "schedule.patience", self.patience, "1 or more")
        check(0 < self.factor < 1, "schedule.factor", self.factor, "above 0 and below 1")
