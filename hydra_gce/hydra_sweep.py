"""Sweeps and single runs of Hydra programs: what Hydra asks of a launcher, and gets."""

from __future__ import annotations

import math
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.utils import JobReturn, JobStatus, configure_log, setup_globals
from hydra.types import HydraContext, TaskFunction
from hydra.utils import get_class
from omegaconf import DictConfig

from hydra_gce.errors import CollectError, ConfigError
from hydra_gce.follow.interrupt import INTERRUPTED, Detached
from hydra_gce.jobs import JobResult, JobState
from hydra_gce.launch import compose
from hydra_gce.objective import sought_by
from hydra_gce.settings import Settings
from hydra_gce.sweep import Shown, Sweep, Work
from hydra_gce.watch import Watch

_NO_RESULTS = (
    "hydra.launcher.wait=false ends the launch as soon as its VMs are asked for, and hydra/sweeper={sweeper} asks for"
    " the next points when it has the results of these. Leave it out, and let the launch run on (nohup, tmux)"
)


@dataclass
class HydraSweep:
    """All batches that one sweeper launches.

    ``single``: one job that was asked for without ``-m``. What it prints goes to stdout, and all that is said of it to
    stderr.
    """

    settings: Settings
    config: DictConfig
    hydra_context: HydraContext
    task_function: TaskFunction
    single: bool = False

    def __post_init__(self) -> None:
        if self.single:
            self._sweep = Sweep(self.settings, stream=sys.stderr, single=True)
        else:
            self._sweep = Sweep(self.settings, more=not asks_once(self.config.hydra.sweeper))

    def launch(self, job_overrides: Sequence[Sequence[str]], first: int) -> list[JobReturn]:
        """Runs one batch, a VM for each point, and returns what Hydra expects, in the points' order."""
        watch = self._launched(job_overrides, first)
        return _returns(watch, len(job_overrides), self.settings.failed_value)

    def run(self, overrides: Sequence[str]) -> int:
        """Runs a single job, and gives the exit code that its program would have had here.

        :raises CollectError: see ``launch``.
        """
        watch = self._launched([overrides], 0)
        _returns(watch, 1, "error")
        collected = next(iter(watch.tracks.values())).collected
        assert collected is not None
        return exit_code(collected.result)

    def _launched(self, job_overrides: Sequence[Sequence[str]], first: int) -> Watch:
        if not (self.settings.wait or self.single or asks_once(self.config.hydra.sweeper)):
            raise ConfigError(_NO_RESULTS.format(sweeper=self.config.hydra.runtime.choices["hydra/sweeper"]))
        setup_globals()
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        sought = sought_by(self.config.hydra.sweeper)
        work = Work(
            Path(str(self.config.hydra.sweep.dir)).absolute(),
            lambda: compose.compose(self.config, self.hydra_context.config_loader, job_overrides, first),
            lambda: compose.pack(self.task_function, self.hydra_context),
            sought.value if sought else "",
        )
        try:
            return self._sweep.launch(work)
        except Shown:
            raise SystemExit(0) from None
        except Detached as detached:
            raise SystemExit(INTERRUPTED if detached.wish else 0) from None


def asks_once(sweeper: DictConfig) -> bool:
    """Whether it is Hydra's own, which gives all points at once unless ``max_batch_size`` says otherwise."""
    return issubclass(get_class(sweeper._target_), BasicSweeper) and sweeper.get("max_batch_size") is None


def exit_code(result: JobResult) -> int:
    """As a shell would have it: the program's own, 128 and the signal's number, 130 of a job that was cancelled."""
    if result.state is JobState.COMPLETED:
        return 0
    if result.state is JobState.CANCELLED:
        return INTERRUPTED
    if result.exit_code is not None:
        return result.exit_code
    if result.signal:
        return 128 + signal.Signals[result.signal]
    return 1


def _returns(watch: Watch, points: int, failed_value: str) -> list[JobReturn]:
    """Of the launch's own points, which come first.

    :raises CollectError: outputs could not be written here; they are in the bucket.
    """
    tracks = list(watch.tracks.values())[:points]
    collected = [track.collected for track in tracks if track.collected is not None]
    uncollected = [str(one.uncollected) for one in collected if one.uncollected is not None]
    if uncollected:
        raise CollectError("\n".join(uncollected))
    returns = [one.job_return for one in collected]
    if failed_value == "nan":
        for one in returns:
            if one.status is not JobStatus.COMPLETED:
                one.status, one.return_value = JobStatus.COMPLETED, math.nan
    return returns
