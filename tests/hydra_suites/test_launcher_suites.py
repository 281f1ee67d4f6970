"""Hydra's own suites for launchers, on VMs of the embedded Compute Engine."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.test_utils.launcher_common_tests import (
    BatchedSweeperTestSuite,
    IntegrationTestSuite,
    LauncherTestSuite,
)
from hydra.test_utils.test_utils import chdir_plugin_root  # noqa: F401  a fixture's dependency

from hydra_plugins.hydra_gce_launcher.launcher import GCELauncher

ROOT = Path(__file__).parents[2]
BRING_HOME = Path(__file__).with_name("bring_home.py")

# The programs of the suites need Hydra and nothing else; a small VM boots beside others on two cores.
OVERRIDES = [
    "hydra.launcher.backend=local",
    "hydra.launcher.vm.machine_type=e2-small",
    "hydra.launcher.env.requirements=none",
    "hydra.launcher.tracking.mode=none",
]


def test_the_plugin_is_found_once() -> None:
    found = [plugin.__name__ for plugin in Plugins.instance().discover(Launcher)]

    assert found.count(GCELauncher.__name__) == 1


@pytest.mark.parametrize("launcher_name, overrides", [("gce", OVERRIDES)])
class TestGCELauncher(LauncherTestSuite):
    pass


@pytest.mark.parametrize(
    "launcher_name, overrides", [("gce", [*OVERRIDES, "hydra.sweeper.max_batch_size=2"])]
)
class TestGCELauncherInBatches(BatchedSweeperTestSuite):
    pass


@pytest.mark.parametrize("task_launcher_cfg, extra_flags", [({}, ["-m", "hydra/launcher=gce", *OVERRIDES])])
class TestGCELauncherIntegration(IntegrationTestSuite):
    def generate_custom_cmd(self) -> Callable[..., list[str]]:
        """The suite's programs write what they see to a file beside their output directory, on the VM.

        The launcher brings it home inside the output directory; from there it goes to where the suite reads it.
        """

        def command(cmd: list[str], filename: str) -> list[str]:
            return [sys.executable, str(BRING_HOME), *cmd]

        return command
