"""Single runs: the sweeper behind ``hydra-gce run``, and a word to whoever names our launcher without ``-m``.

Imported at each start of each Hydra program: what is done is in ``hydra_gce.single.sweeper``.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.plugins.search_path_plugin import SearchPathPlugin
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

# What a project says of its own sweeper does not matter here, and must not be an error: so this is no dataclass, takes
# the choice of a sampler (Optuna's), and makes nothing of what it is given.
ConfigStore.instance().store(
    group="hydra/sweeper",
    name="gce_single",
    node={"defaults": [{"sampler": None}], "_target_": f"{__name__}.GCESingleRun", "_recursive_": False},
    provider="hydra_gce_launcher",
)
if "HYDRA_GCE_RUN" in os.environ:
    from hydra_gce.single.run_notes import HYDRA, note

    note(HYDRA)


class GCESingleRun(Sweeper):
    """Runs the one job that a command without ``-m`` means, where its output directory would be without us."""

    def __init__(self, **_: Any) -> None:
        self._setup: dict[str, Any] = {}

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self._setup = {"hydra_context": hydra_context, "task_function": task_function, "config": config}

    def sweep(self, arguments: list[str]) -> Any:
        from hydra_gce.single.sweeper import run

        raise SystemExit(run(arguments, **self._setup))


class GCEHint(SearchPathPlugin):
    """Hydra calls it at the start of each program."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        if any(word.startswith("hydra/launcher=") for word in sys.argv):
            from hydra_gce.single.hint import hint

            hint(search_path)
