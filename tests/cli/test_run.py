"""``hydra-gce run``: which command it makes of which, and what it refuses before anything runs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hydra_gce.cli import main
from hydra_gce.errors import ConfigError
from hydra_gce.single.program_source import mentions_hydra
from hydra_gce.single.run_command import run_command, with_overrides

OURS = ["hydra.mode=MULTIRUN", "hydra/launcher=gce", "hydra/sweeper=gce_single"]
PROGRAM = """
import hydra
from omegaconf import DictConfig

@hydra.main(version_base="1.3", config_path=None)
def main(config: DictConfig) -> None:
    print("it ran here")

if __name__ == "__main__":
    main()
"""


@pytest.mark.parametrize(
    "command, place",
    [
        ("python train.py", 2),
        ("python train.py lr=1 x=2", 4),
        ("python train.py lr=1 --config-name other", 3),
        ("python train.py --config-name other", 2),
        ("python train.py -cn other lr=1", 5),
        ("python -m pack.train", 3),
        ("python -m pack.train --config-dir conf", 3),
        ("train", 1),
        ("uv run train --config-dir=conf ~x", 5),
    ],
)
def test_ours_stand_beside_the_programs_overrides(command: str, place: int) -> None:
    words = command.split()
    assert with_overrides(words, ["a=b"]) == [*words[:place], *OURS, "a=b", *words[place:]]


def test_a_preset_that_was_chosen_stays() -> None:
    made = with_overrides(["python", "train.py", "hydra/launcher=t4"], [])
    assert made == ["python", "train.py", "hydra/launcher=t4", OURS[0], OURS[2]]


@pytest.mark.parametrize(
    "command, told",
    [
        ("", "which program"),
        ("python app.py -m x=1", "for single jobs"),
        ("python app.py x=1,2 --multirun", "for single jobs"),
        ("python -m app --multirun", "for single jobs"),
        ("python plain.py", "is no Hydra program"),
        ("nosuch x=1", "cannot be started: No such file"),
    ],
)
def test_what_cannot_be_a_single_run_of_hydra_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "app.py").write_text(PROGRAM)
    (tmp_path / "plain.py").write_text("import helper\nopen('ran', 'w')\n")
    (tmp_path / "helper.py").write_text("import json\n")
    with pytest.raises(ConfigError, match=told):
        run_command(command.split(), [])
    assert not (tmp_path / "ran").exists()


def test_a_program_that_only_imports_hydra_elsewhere_is_one(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("from pack.cli import main\nmain()\n")
    package = tmp_path / "src" / "pack"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "cli.py").write_text("from . import inner\n")
    (package / "inner.py").write_text("import hydra\n")
    assert mentions_hydra(["python", "train.py"], tmp_path) is True
    (package / "inner.py").write_text("import json\n")
    assert mentions_hydra(["python", "train.py"], tmp_path) is False
    assert mentions_hydra(["train"], tmp_path) is None


def command(directory: Path, *words: str, options: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "hydra_gce.cli", "run", *options, "--", *words],
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "app.py").write_text(PROGRAM)
    return tmp_path


@pytest.mark.parametrize(
    "override, told",
    [
        ("+x=1,2", "several values are several jobs"),
        ("+x=choice(1,2)", "several values are several jobs"),
        ("+x=range(3)", "python app.py -m hydra/launcher=gce '+x=range(3)'"),
        ("hydra.run.dir=.", "holds the program itself"),
        ("hydra/launcher=basic", "is not of hydra-gce-launcher"),
        ("x=1", "Could not override 'x'"),
    ],
)
def test_overrides_that_mean_something_else_are_told(project: Path, override: str, told: str) -> None:
    ended = command(project, sys.executable, "app.py", override)
    assert ended.returncode == 1
    assert told.replace("python app.py", f"{Path(sys.executable).name} app.py") in ended.stderr
    assert "Traceback" not in ended.stderr and "ran here" not in ended.stdout


def test_a_program_that_is_set_up_for_a_search_can_have_a_single_run(tmp_path: Path) -> None:
    """Its sweeper is not even installed here."""
    sweeper = tmp_path / "conf" / "hydra" / "sweeper"
    (sweeper / "sampler").mkdir(parents=True)
    (sweeper / "search.yaml").write_text(
        "defaults: [{sampler: tpe}]\n_target_: nowhere.Search\nn_trials: 9\n"
    )
    for name in ("tpe", "random"):
        (sweeper / "sampler" / f"{name}.yaml").write_text(f"_target_: nowhere.{name}\nseed: 1\n")
    (tmp_path / "conf" / "config.yaml").write_text(
        "defaults:\n  - _self_\n  - override hydra/sweeper: search\n  - override hydra/sweeper/sampler: random\n"
        "x: 1\nhydra:\n  mode: MULTIRUN\n  sweeper:\n    n_trials: 5\n    params:\n      x: range(1, 5)\n"
    )
    (tmp_path / "app.py").write_text(
        PROGRAM.replace("config_path=None", 'config_path="conf", config_name="config"')
    )
    ended = command(tmp_path, sys.executable, "app.py", "x=2", options=("--dry-run", "--backend", "local"))
    assert ended.returncode == 0, ended.stderr
    assert "points       0  x=2" in ended.stderr, ended.stderr


def test_what_only_shows_something_is_left_as_it_is(project: Path) -> None:
    shown = command(project, sys.executable, "app.py", "+x=1", "--cfg", "job")
    assert (shown.returncode, shown.stdout, shown.stderr) == (0, "x: 1\n", "")


def test_a_program_of_another_kind_is_told_afterwards_at_the_latest(project: Path) -> None:
    ended = command(project, "true")
    assert ended.returncode == 1 and "it is no Hydra program" in ended.stderr
    failed = command(project, "false")
    assert failed.returncode == 1 and "nothing ran on a VM" in failed.stderr
    composes = (
        "import hydra\nwith hydra.initialize(version_base='1.3', config_path=None):\n    hydra.compose()\n"
    )
    (project / "composes.py").write_text(composes)
    ended = command(project, sys.executable, "composes.py")
    assert ended.returncode == 1 and "not @hydra.main" in ended.stderr


def test_options_become_overrides(project: Path) -> None:
    """Shown by a program that says what it was given."""
    (project / "shows.py").write_text("import sys  # hydra\nprint(*sys.argv[1:])\n")
    options: tuple[str, ...] = (
        "--gpu",
        "T4",
        "--gpu-count",
        "2",
        "--spot",
        "--zone",
        "a",
        "--zone",
        "b",
        "--max-run-hours",
        "2",
    )
    options += (
        "--machine-type",
        "n1-standard-8",
        "--no-wait",
        "--dry-run",
        "--project",
        "p",
        "--bucket",
        "c",
    )
    ended = command(project, sys.executable, "shows.py", options=options)
    given = set(ended.stdout.split()) - set(OURS)
    vm = "hydra.launcher.vm."
    assert given == {
        f"{vm}gpu=T4", f"{vm}gpu_count=2", f"{vm}machine_type=n1-standard-8", f"{vm}provisioning=spot",
        f"{vm}zones=[a,b]", f"{vm}max_run_hours=2.0", "hydra.launcher.wait=false", "hydra.launcher.dry_run=true",
        "hydra.launcher.project=p", "hydra.launcher.bucket=c",
    }  # fmt: skip


def test_without_dashes_it_works_as_well(
    project: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(project)
    assert main(["run", sys.executable, "app.py", "+x=1", "--cfg", "job"]) == 0
    assert capfd.readouterr().out == "x: 1\n"
    assert os.environ.get("HYDRA_GCE_RUN") is None
