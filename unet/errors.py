"""What can go wrong in a training, each with a message for the person who started it.

UnetError
├── SettingsError      a setting that makes no sense; the message names the field
├── DatasetError       images or masks that cannot be trained on; the message names the files
├── CheckpointError    a checkpoint that does not belong to this model, or cannot be written
└── DivergedError      the loss is no number any more
SystemExit
└── Preempted          the process was asked to end, and its state is saved
"""

from collections.abc import Sequence
from pathlib import Path


class UnetError(Exception):
    """The root of this package's errors."""


class SettingsError(UnetError, ValueError):
    """A setting that makes no sense. The message names the field, its value and what to give instead."""


class DatasetError(UnetError, ValueError):
    """Images or masks that cannot be trained on.

    Args:
        folder: where they lie, a directory or an address.
        problems: one sentence for each thing that is wrong, with file names.
    """

    SHOWN = 20

    def __init__(self, folder: Path | str, problems: Sequence[str]) -> None:
        super().__init__(folder, tuple(problems))
        self.folder = folder
        self.problems = tuple(problems)

    def __str__(self) -> str:
        lines = [f"The data in {self.folder} cannot be trained on:"]
        lines += [f"  - {problem}" for problem in self.problems[: self.SHOWN]]
        if len(self.problems) > self.SHOWN:
            lines.append(f"  … and {len(self.problems) - self.SHOWN} more")
        return "\n".join(lines)


class CheckpointError(UnetError):
    """A checkpoint that does not belong to this model or optimizer, or that the disk did not take."""


class DivergedError(UnetError, ArithmeticError):
    """The loss is no number any more. The message names the step, its images and the last good checkpoint."""


class Preempted(SystemExit):
    """SIGTERM asked the process to end. Its state is saved: the next run in its output directory goes on.

    A SystemExit, because everything above the training has to end too: a sweep that went on to its next point
    on a machine about to vanish would lose that one as well. The exit status is the shell's for SIGTERM.
    """

    EXIT_STATUS = 143

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message
        self.code = self.EXIT_STATUS

    def __str__(self) -> str:
        return self.message
