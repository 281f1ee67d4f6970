"""Whoever names our launcher without ``-m`` is told how to get a VM; nobody else hears anything."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import subprocess, sys

import hydra
from omegaconf import DictConfig


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(config: DictConfig) -> None:
    if config.get("again"):
        subprocess.run([sys.executable, __file__, "hydra/launcher=gce"], check=True)
    print("it ran")


if __name__ == "__main__":
    main()
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    package = tmp_path / "pack"
    presets = package / "conf" / "hydra" / "launcher"
    presets.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "conf" / "config.yaml").write_text("x: 1\n")
    (presets / "gpu.yaml").write_text("defaults: [gce]\nvm: {gpu: T4}\n")
    (presets / "mine.yaml").write_text("defaults: [basic]\n")
    (package / "train.py").write_text(PROGRAM)
    return tmp_path


def said(project: Path, *words: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, *words], cwd=project, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return [line.strip() for line in done.stderr.splitlines()]


PYTHON = Path(sys.executable).name


@pytest.mark.parametrize(
    "command, again",
    [
        ("pack/train.py hydra/launcher=gce x=2", "pack/train.py x=2"),
        ("pack/train.py x=2 hydra/launcher=gpu", "pack/train.py hydra/launcher=gpu x=2"),
        ("-m pack.train hydra/launcher=gpu", "-m pack.train hydra/launcher=gpu"),
        ("-m pack.train hydra/launcher=gce +again=true", "-m pack.train +again=true"),  # once
    ],
)
def test_it_says_how(project: Path, command: str, again: str) -> None:
    lines = said(project, *command.split())
    assert len(lines) == 3, lines
    assert "without -m: Hydra uses no launcher, and the job runs on this machine" in lines[0]
    assert lines[1] == f"hydra-gce run -- {PYTHON} {again}"
    assert " -m hydra/launcher=" in lines[2]


@pytest.mark.parametrize(
    "command",
    [
        "pack/train.py",
        "pack/train.py hydra/launcher=basic",
        "pack/train.py hydra/launcher=mine",
        "pack/train.py hydra/launcher=gce --cfg job",
        "pack/train.py hydra/launcher=gce --help",
        "pack/train.py hydra/launcher=gce --info plugins",
        "-c print()",
    ],
)
def test_nobody_else_hears_anything(project: Path, command: str) -> None:
    assert said(project, *command.split()) == []


def test_sweeps_hear_nothing(project: Path) -> None:
    small = ["hydra/launcher=gce", "hydra.launcher.backend=local", "hydra.launcher.dry_run=true"]
    assert said(project, "pack/train.py", "-m", *small) == []
    assert said(project, "pack/train.py", "hydra.mode=MULTIRUN", *small) == []
    (project / "pack" / "conf" / "config.yaml").write_text("x: 1\nhydra:\n  mode: MULTIRUN\n")
    assert said(project, "pack/train.py", *small) == []
