"""Every point's config is settled on the laptop, and the program is packed so that a VM can run it."""

from __future__ import annotations

import os
import pickle
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig, OmegaConf

from hydra_gce.errors import NotPicklable
from hydra_gce.launch.compose import Point, compose, import_paths, pack, script
from tests.agent.lab import hydra_at

CONFIG = """
lr: 0.1
twice: ${doubled:${lr}}
hydra:
  sweep:
    dir: %s/${now:%%H-%%M-%%S-%%f}
    subdir: ${hydra.job.num}_lr=${lr}
"""

LOCK = threading.Lock()


def uses_lock() -> None:
    LOCK.acquire()


@pytest.fixture
def context(tmp_path: Path) -> Iterator[HydraContext]:
    OmegaConf.register_new_resolver("doubled", lambda value: 2 * value, replace=True)
    with hydra_at(tmp_path / "conf", CONFIG % (tmp_path / "multirun")) as context:
        yield context
    OmegaConf.clear_resolver("doubled")


@pytest.fixture
def master(context: HydraContext) -> DictConfig:
    hydra = GlobalHydra.instance().hydra
    assert hydra is not None
    config = hydra.compose_config("config", [], run_mode=RunMode.MULTIRUN)
    HydraConfig.instance().set_config(config)
    _ = config.hydra.sweep.dir  # a sweep begins by making its directory, which settles the time in its name
    return config


Points = Callable[..., list[Point]]


@pytest.fixture
def points(context: HydraContext, master: DictConfig) -> Points:
    return lambda *overrides, first=0: compose(master, context.config_loader, overrides, first)


def test_each_point_has_its_own_config_number_and_directory(points: Points, tmp_path: Path) -> None:
    made = points(["lr=0.5"], ["lr=0.7"], first=3)
    assert [point.num for point in made] == [3, 4]
    assert [point.config.lr for point in made] == [0.5, 0.7]
    assert [point.config.hydra.job.num for point in made] == [3, 4]
    assert [point.config.hydra.job.id for point in made] == ["train_3", "train_4"]
    assert [point.output_dir.name for point in made] == ["3_lr=0.5", "4_lr=0.7"]
    assert all(point.output_dir.parent == point.sweep_dir for point in made)
    assert all(point.sweep_dir.parent == tmp_path / "multirun" for point in made)


def test_the_time_in_a_directorys_name_is_the_laptops_and_one_for_all(points: Points) -> None:
    one, other = points(["lr=1"], ["lr=2"])
    assert one.sweep_dir == other.sweep_dir
    again = OmegaConf.create(OmegaConf.to_yaml(one.config.hydra.sweep))
    assert Path(again.dir) == one.sweep_dir  # nothing is left in it that a VM would work out anew
    assert again.subdir == one.output_dir.name


def test_overrides_of_hydra_itself_are_no_part_of_a_points_name(points: Points) -> None:
    (point,) = points(["lr=0.5", "hydra.verbose=true"])
    assert point.overrides == ["lr=0.5"]
    assert point.config.hydra.verbose is True


def test_composing_leaves_hydras_own_config_as_it_was(points: Points) -> None:
    before = HydraConfig.instance().cfg
    points(["lr=0.5"])
    assert HydraConfig.instance().cfg is before


def test_config_and_resolvers_of_the_users_own_arrive_on_the_vm(
    points: Points, context: HydraContext
) -> None:
    OmegaConf.register_new_resolver("locked", lambda: LOCK.locked(), replace=True)
    (point,) = points(["lr=0.5"])
    program = pickle.loads(pack(lambda config: config.twice, context).of(point))
    config = pickle.loads(program["config"])
    assert config.lr == 0.5
    OmegaConf.clear_resolver("doubled")
    from omegaconf.basecontainer import BaseContainer

    BaseContainer._resolvers["doubled"] = pickle.loads(program["resolvers"]["doubled"])
    assert pickle.loads(program["task_function"])(config) == 1.0
    assert "now" in program["resolvers"]
    OmegaConf.clear_resolver("locked")


def test_the_vm_gets_no_loader_and_no_plugins(points: Points, context: HydraContext) -> None:
    (point,) = points(["lr=0.5"])
    program = pickle.loads(pack(lambda config: None, context).of(point))
    assert pickle.loads(program["hydra_context"]).config_loader is None
    assert context.config_loader is not None
    kinds = {pickle.loads(kind).__name__ for kind in program["singletons"]}
    assert "HydraConfig" in kinds
    assert not kinds & {"Plugins", "GlobalHydra"}


def test_a_config_that_cannot_travel_is_said(tmp_path: Path) -> None:
    config = OmegaConf.create({"lock": LOCK}, flags={"allow_objects": True})
    with pytest.raises(NotPicklable, match="the composed config cannot be pickled"):
        Point(0, [], config, tmp_path, tmp_path / "0")


def test_a_thousand_points_are_small(points: Points) -> None:
    """Composed configs in memory take ten times as much as when they are packed."""
    (point,) = points(["lr=0.5"])
    assert len(pickle.dumps(point)) < 40_000


class Trainer:
    def __init__(self) -> None:
        self.lr = 0.1
        self.lock = threading.Lock()

    def __call__(self, config: Any) -> None:
        pass


def closure() -> Callable[[Any], None]:
    guard = threading.Lock()

    def train(config: Any) -> None:
        with guard:
            pass

    return train


def indirect() -> Callable[[Any], None]:
    guard = threading.Lock()

    def helper() -> bool:
        return guard.locked()

    def train(config: Any) -> None:
        helper()

    return train


@pytest.mark.parametrize(
    "function, named",
    [
        (closure(), r"task function .*train.*the enclosed variable 'guard' of type lock"),
        (indirect(), r"the enclosed variable 'guard' of type lock"),
        (Trainer(), r"the attribute 'lock' of type lock"),
    ],
)
def test_what_in_a_task_function_cannot_travel_is_named(
    context: HydraContext, function: Any, named: str
) -> None:
    with pytest.raises(NotPicklable, match=named):
        pack(function, context)


def test_only_folders_of_the_project_travel_with_the_import_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = tmp_path / "project"
    for folder in ("src", "lib", ".venv/lib"):
        (project / folder).mkdir(parents=True)
    path = [
        project / "src",
        project / "gone",
        tmp_path,
        project / ".venv" / "lib",
        project / "lib",
        project / "src",
    ]
    monkeypatch.setattr(sys, "path", [str(entry) for entry in path])
    monkeypatch.setattr(sys, "prefix", str(project / ".venv"))
    assert import_paths(project) == [str(project / "src"), str(project / "lib")]


def test_the_empty_entry_of_the_import_path_is_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [""])
    assert import_paths(tmp_path) == [os.getcwd()]


def test_a_notebook_has_no_script(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    main = sys.modules["__main__"]
    monkeypatch.setattr(main, "__file__", "train.py", raising=False)
    monkeypatch.chdir(tmp_path)
    assert script() == str(tmp_path / "train.py")
    monkeypatch.delattr(main, "__file__")
    assert script() is None
