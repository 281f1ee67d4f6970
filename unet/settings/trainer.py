"""The loop: how many steps, what happens after how many of them, and how they are computed."""

import re
from dataclasses import dataclass

from unet.settings.checks import check, check_choice, check_range

SCORES = ("miou", "dice", "accuracy")
"""What a validation can be judged by."""


@dataclass
class TrainerSettings:
    """The loop."""

    steps: int = 240
    validate_every: int = 60
    checkpoint_every: int = 60
    """Steps between two checkpoints; one more is written at the end and at SIGTERM."""
    checkpoint_minutes: float = 10.0
    """A checkpoint is written, too, when the last one is so old; 0 = never for that reason."""
    keep_last: int = 3
    """How many of the newest checkpoints stay on disk."""
    keep_best: int = 1
    """And how many of those with the best validation."""
    monitor: str = "miou"
    """The score of a validation that says which is best: miou, dice or accuracy."""
    early_stopping: int = 0
    """End after so many validations without a better score; 0 = never."""
    log_every: int = 10
    """Metrics of every step are recorded; they are sent to MLflow together after this many."""
    steps_per_call: int = 1
    """Steps that are computed in one call of the compiled function: saves time on a fast GPU with small images."""
    jit_compile: bool = False
    """Compile the training step with XLA: slower to start; on most GPUs faster afterwards."""
    precision: str = "float32"
    """float32, bfloat16 or float16: what layers compute in. Weights, loss and metrics stay float32; float16 scales
    the loss so that small gradients survive."""
    accumulate: int = 1
    """In how many parts the batch of a step is computed: more parts take less memory."""
    devices: str = "one"
    """one, or all: the batch is split over all GPUs of the machine (tf.distribute.MirroredStrategy)."""
    deterministic: bool = False
    """On a GPU: only operations that give the same bits each time; slower. On a CPU they all do."""
    tensorboard: bool = False
    """Write the metrics for TensorBoard, too, into `tensorboard/` of the output directory."""
    profile: str = ""
    """Steps to profile, such as 20-30, for TensorBoard's profile page; empty: none."""

    def __post_init__(self) -> None:
        for name in ("steps", "validate_every", "checkpoint_every", "keep_last", "log_every"):
            check(getattr(self, name) >= 1, f"trainer.{name}", getattr(self, name), "1 or more")
        check(
            self.checkpoint_minutes >= 0, "trainer.checkpoint_minutes", self.checkpoint_minutes, "0 or more"
        )
        check(self.keep_best >= 0, "trainer.keep_best", self.keep_best, "0 or more")
        check_choice("trainer.monitor", self.monitor, SCORES)
        check(self.early_stopping >= 0, "trainer.early_stopping", self.early_stopping, "0 or more")
        check_range("trainer.steps_per_call", self.steps_per_call, 1, 1000)
        check_choice("trainer.precision", self.precision, ["float32", "bfloat16", "float16"])
        check_range("trainer.accumulate", self.accumulate, 1, 1024)
        check_choice("trainer.devices", self.devices, ["one", "all"])
        check(
            not (self.jit_compile and self.devices == "all"),
            "trainer.jit_compile",
            self.jit_compile,
            "false with trainer.devices=all: XLA cannot sum over devices here",
        )
        if self.profile:
            check(
                self.profiled is not None, "trainer.profile", self.profile, "first-last step, such as 20-30"
            )

    @property
    def profiled(self) -> tuple[int, int] | None:
        """First and last step to profile."""
        match = re.fullmatch(r"(\d+)-(\d+)", self.profile)
        if not match or not 1 <= int(match[1]) <= int(match[2]):
            return None
        return int(match[1]), int(match[2])
