"""Hydra's own shell completion (`-sc`) goes on working beside this launcher, and completes its settings."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import hydra


@hydra.main(version_base="1.3", config_path=None)
def main(config):
    pass


main()
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("completion") / "app.py"
    path.write_text(PROGRAM)
    return path


def completed(program: Path, words: str) -> list[str]:
    line = f"python app.py {words}"
    done = subprocess.run(
        [sys.executable, "app.py", "-sc", "query=bash"],
        cwd=program.parent,
        env={**os.environ, "COMP_LINE": line, "COMP_POINT": str(len(line))},
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("hydra/launcher=g", "hydra/launcher=gce"),
        ("hydra/launcher=gce hydra.launcher.max_", "hydra.launcher.max_vms="),
        ("hydra/launcher=gce hydra.launcher.v", "hydra.launcher.vm."),
        ("hydra/launcher=gce hydra.launcher.vm.gpu_", "hydra.launcher.vm.gpu_count="),
        ("hydra/launcher=gce hydra.launcher.tracking.m", "hydra.launcher.tracking.mode="),
    ],
)
def test_our_settings_are_completed(program: Path, words: str, found: str) -> None:
    assert found in completed(program, words)


def test_what_another_launcher_has_not_is_not_offered(program: Path) -> None:
    assert "hydra.launcher.vm." not in completed(program, "hydra/launcher=basic hydra.launcher.")
