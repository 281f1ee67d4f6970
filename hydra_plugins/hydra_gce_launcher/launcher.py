"""The Hydra face of the engine. Imported at each start of each Hydra program: the engine itself only in ``launch``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from hydra.core.utils import JobReturn
from hydra.errors import CompactHydraException
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from hydra_gce.settings import Settings

from . import config as _config  # noqa: F401  registers hydra/launcher: gce, however this module is found

if TYPE_CHECKING:
    from hydra_gce.sweep import Sweep


class GCELauncher(Launcher):
    """Runs each point of a sweep in a Compute Engine VM of its own."""

    def __init__(self, **settings: Any) -> None:
        merged = OmegaConf.merge(OmegaConf.structured(Settings), OmegaConf.create(settings))
        self._settings = cast(Settings, OmegaConf.to_object(merged))
        self._sweep: Sweep | None = None
        self._setup: dict[str, Any] = {}

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self._setup = {"hydra_context": hydra_context, "task_function": task_function, "config": config}

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Runs a batch of points. Batches of one sweeper belong to one sweep: same name, same parent run in MLflow."""
        from hydra_gce.errors import HydraGCEError
        from hydra_gce.sweep import Sweep

        if self._sweep is None:
            self._sweep = Sweep(settings=self._settings, **self._setup)
        try:
            return self._sweep.launch(job_overrides, initial_job_idx)
        except HydraGCEError as error:
            # Hydra prints these without its own stack: the message says all that there is to know.
            raise CompactHydraException(f"{type(error).__name__}: {error}") from error
