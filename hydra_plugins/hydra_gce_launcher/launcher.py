"""The Hydra face of the engine. Imported at each start of each Hydra program: the engine itself only in ``launch``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from hydra.core.utils import JobReturn
from hydra.errors import CompactHydraException
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from . import config as _config  # noqa: F401  registers hydra/launcher: gce, however this module is found

if TYPE_CHECKING:
    from hydra_gce.hydra_sweep import HydraSweep


class GCELauncher(Launcher):
    """Runs each point of a sweep in a Compute Engine VM of its own."""

    def __init__(self, **settings: Any) -> None:
        from hydra_gce.settings import settings_from

        self._settings = settings_from(settings)
        self._sweep: HydraSweep | None = None
        self._setup: dict[str, Any] = {}

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self._setup = {"hydra_context": hydra_context, "task_function": task_function, "config": config}

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Runs a batch of points. Batches of one sweeper belong to one sweep: same name, same parent run in MLflow."""
        with _compact_errors():
            from hydra_gce.hydra_sweep import HydraSweep

            if self._sweep is None:
                self._sweep = HydraSweep(settings=self._settings, **self._setup)
            return self._sweep.launch(job_overrides, initial_job_idx)

    def run(self, overrides: Sequence[str]) -> int:
        """Runs a single job, and gives its exit code."""
        with _compact_errors():
            from hydra_gce.hydra_sweep import HydraSweep

            return HydraSweep(settings=self._settings, **self._setup, single=True).run(overrides)


@contextmanager
def _compact_errors() -> Iterator[None]:
    """Hydra prints these without its own stack: the message says all that there is to know."""
    from hydra_gce.errors import HydraGCEError

    try:
        yield
    except HydraGCEError as error:
        raise CompactHydraException(f"{type(error).__name__}: {error}") from error
