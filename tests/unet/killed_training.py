"""A training that kills its own process with SIGKILL: `python -m tests.unet.killed_training <json>`.

{"data": folder, "output": directory, "kill_after_s": 1.5}     that long after the first step
{"data": folder, "output": directory, "kill_in_write": 2}      while checkpoint number 2 is being written
Without either it runs to its end.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.unet.conftest import make_settings
from unet.progress import Progress
from unet.settings import AugmentSettings, OptimizerSettings, Settings
from unet.training import train


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def kill_after(seconds: float) -> None:
    taken = Progress.taken
    timer = threading.Timer(seconds, kill)
    timer.daemon = True

    def taken_and(self: Progress, step: int, metrics: Any) -> None:
        if not timer.is_alive() and timer.ident is None:
            timer.start()
        taken(self, step, metrics)

    Progress.taken = taken_and  # type: ignore[method-assign]


def kill_in_write(number: int) -> None:
    """When a checkpoint's bytes are on their way to the disk, before it has its name."""
    fsync, calls = os.fsync, []

    def fsync_and(fd: Any) -> None:
        calls.append(fd)
        if len(calls) == 2 * number - 1:  # each checkpoint: its file, then its directory
            os.ftruncate(fd, os.fstat(fd).st_size // 2)
            kill()
        fsync(fd)

    os.fsync = fsync_and


def settings_of(folder: Path) -> Settings:
    """A minute of steps with all that is random or has a memory: dropout, elastic crops, momentum, averages."""
    settings = make_settings(folder)
    settings.model = replace(settings.model, filters=8)
    settings.data = replace(settings.data, augment=AugmentSettings(rotate=30, elastic=2, noise=0.05))
    settings.optimizer = OptimizerSettings(name="adamw", weight_decay=1e-3, clip_norm=1.0, ema_decay=0.99)
    settings.trainer = replace(
        settings.trainer, steps=150, validate_every=20, checkpoint_every=7, log_every=5
    )
    return settings


def main() -> None:
    wanted = json.loads(sys.argv[1])
    if "kill_after_s" in wanted:
        kill_after(wanted["kill_after_s"])
    if "kill_in_write" in wanted:
        kill_in_write(wanted["kill_in_write"])
    train(settings_of(Path(wanted["data"])), Path(wanted["output"]))


if __name__ == "__main__":
    main()
