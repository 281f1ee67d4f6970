"""The launcher in Hydra programs that have never heard of it."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from hydra_gce.settings import Settings

PROGRAM = """
import hydra
from omegaconf import DictConfig

@hydra.main(version_base=None, config_path=None)
def main(config: DictConfig) -> None:
    print("it ran")

if __name__ == "__main__":
    main()
"""


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """Somebody's Hydra program, elsewhere."""
    (tmp_path / "program.py").write_text(PROGRAM)
    return tmp_path


def run(directory: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "program.py", *arguments], cwd=directory, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_the_plugin_loads_nothing_heavy() -> None:
    look = (
        "import json, sys, hydra\n"
        "from hydra.core.plugins import Plugins\n"
        "Plugins.instance()\n"
        "import hydra_plugins.hydra_gce_launcher.launcher\n"
        "print(json.dumps(sorted(sys.modules)))"
    )
    output = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True).stdout
    loaded = set(json.loads(output.splitlines()[-1]))
    assert "hydra_plugins.hydra_gce_launcher.config" in loaded
    # `google` alone is a namespace that a .pth file of some package may make.
    heavy = (
        "google.",
        "mlflow",
        "tensorflow",
        "keras",
        "numpy",
        "rich",
        "requests",
        "cloudpickle",
        "filelock",
    )
    assert [name for name in sorted(loaded) if name.startswith(heavy)] == []
    ours = {name for name in loaded if name.startswith("hydra_gce.")}
    assert ours == set()


def test_a_foreign_program_finds_the_launcher(foreign: Path) -> None:
    assert "GCELauncher" in run(foreign, "--info", "plugins")
    groups = run(foreign, "hydra/launcher=gce", "--cfg", "hydra", "-p", "hydra.runtime.choices")
    assert "hydra/launcher: gce" in groups


def test_a_foreign_program_that_uses_another_launcher_is_not_disturbed(foreign: Path) -> None:
    assert run(foreign) == "it ran\n"


def test_all_settings_are_shown_with_their_defaults(foreign: Path) -> None:
    shown = run(foreign, "hydra/launcher=gce", "--cfg", "hydra", "-p", "hydra.launcher")
    printed = yaml.safe_load(shown.split("\n", 1)[1] if shown.startswith("#") else shown)
    assert printed.pop("_target_") == "hydra_plugins.hydra_gce_launcher.launcher.GCELauncher"

    def expected(settings: Any) -> dict[str, Any]:
        return {
            field.name: expected(value) if is_dataclass(value := getattr(settings, field.name)) else value
            for field in fields(settings)
        }

    assert printed == expected(Settings())


@pytest.mark.parametrize(
    "override, said",
    [
        ("hydra.launcher.vm.gpus=T4", "gpus"),
        ("hydra.launcher.vm.disk_gb=large", "disk_gb"),
        ("hydra.launcher.max_vms=-", "max_vms"),
    ],
)
def test_a_setting_that_does_not_exist_or_is_of_the_wrong_kind_is_refused_by_hydra(
    foreign: Path, override: str, said: str
) -> None:
    done = subprocess.run(
        [sys.executable, "program.py", "hydra/launcher=gce", override, "--cfg", "hydra"],
        cwd=foreign,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert said in done.stderr
