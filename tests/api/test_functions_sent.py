"""What ``hydra_gce.submit`` makes of its arguments, before anything is sent."""

from __future__ import annotations

import pickle
import subprocess
import sys
import threading
from dataclasses import dataclass, field, fields
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
from hydra import initialize
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

import hydra_gce
from hydra_gce.agent.call import Call
from hydra_gce.api.calls import settings_of
from hydra_gce.api.function import work_of
from hydra_gce.errors import ConfigError, NotPicklable
from hydra_gce.jobs import JobState
from hydra_gce.settings import VM, Settings


class Colour(Enum):
    RED = 1


@dataclass
class Inner:
    width: int = 3


@dataclass
class Config:
    lr: float = 0.1
    colour: Colour = Colour.RED
    inner: Inner = field(default_factory=Inner)


def given(config: Any) -> Any:
    return config


@pytest.mark.parametrize(
    "config",
    [
        {"lr": 0.1, "layers": [1, 2], "inner": {"name": None}, 3: "three"},
        OmegaConf.create({"lr": 0.1, "twice": "${lr}"}),
        OmegaConf.structured(Config),
        Config(0.2),
    ],
)
def test_the_function_gets_what_was_given(tmp_path: Path, config: Any) -> None:
    (point,) = work_of(given, [config], tmp_path, several=False).compose()
    task = point.config
    task._set_flag("struct", False)
    del task["hydra"]
    kind = "config" if isinstance(config, DictConfig) else "dict" if isinstance(config, dict) else "object"
    got = Call(given, kind)(task)
    assert type(got) is type(config) and got == config


def test_a_part_of_a_config_brings_what_it_refers_to(tmp_path: Path) -> None:
    whole = OmegaConf.create({"lr": 0.1, "model": {"rate": "${lr}"}})
    (point,) = work_of(given, [whole.model], tmp_path, several=False).compose()
    assert point.config.rate == 0.1


def test_outputs_have_their_places_and_points_what_tells_them_apart(tmp_path: Path) -> None:
    configs = [{"lr": lr, "inner": {"n": 1}, "same": 2} for lr in (0.1, 0.2)]
    points = work_of(given, configs, tmp_path, several=True).compose()
    assert [(point.num, point.overrides, point.output_dir) for point in points] == [
        (0, ["lr=0.1"], tmp_path / "0"),
        (1, ["lr=0.2"], tmp_path / "1"),
    ]
    (single,) = work_of(given, configs[:1], tmp_path, several=False).compose()
    assert (single.overrides, single.output_dir) == ([], tmp_path)
    assert single.config.hydra.job.name == "given"


def test_the_callers_hydra_is_left_as_it_is(tmp_path: Path) -> None:
    with initialize(version_base="1.2", config_path=None, job_name="theirs"):
        before = HydraConfig.instance().cfg
        work = work_of(given, [{"x": 1}], tmp_path, several=False)
        work.compose()
        work.pack()
        from hydra.core.global_hydra import GlobalHydra
        from hydra.core.utils import JobRuntime
        from hydra.version import getbase

        assert GlobalHydra.instance().is_initialized()
        assert JobRuntime.instance().get("name") == "theirs"
        assert str(getbase()) == "1.2"
        assert HydraConfig.instance().cfg is before


@pytest.mark.parametrize("config", [3, None, Config, [1, 2], {"file": object()}])
def test_what_is_no_config_is_refused(tmp_path: Path, config: Any) -> None:
    with pytest.raises(ConfigError, match=r"hydra_gce\.submit: (a|the) config"):
        work_of(given, [config], tmp_path, several=False)


def test_configs_of_several_kinds_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="several kinds"):
        work_of(given, [{"x": 1}, OmegaConf.create({"x": 1})], tmp_path, several=True)


def test_a_function_that_cannot_travel_is_refused_by_name(tmp_path: Path) -> None:
    lock = threading.Lock()

    def locked(config: Any) -> None:
        with lock:
            pass

    with pytest.raises(NotPicklable, match=r"locked cannot be sent.*'lock' of type lock"):
        work_of(locked, [{}], tmp_path, several=False).pack()


def test_settings_are_those_of_the_launcher_and_of_its_vm() -> None:
    settings = settings_of({"gpu": "T4", "vm": {"zones": ["a"]}, "budget_usd": 5, "env": {"python": "3.11"}})
    assert (settings.vm.gpu, settings.vm.zones, settings.budget_usd) == ("T4", ["a"], 5)
    assert settings.env.python == "3.11" and settings.env.extras == []
    assert settings.resume == "never" and settings_of({"resume": "last"}).resume == "last"
    assert not {one.name for one in fields(VM)} & {one.name for one in fields(Settings)}


@pytest.mark.parametrize(
    "wrong, told",
    [
        ({"gpus": "T4"}, "no setting 'gpus'. Did you mean gpu"),
        ({"max_run_hours": "long"}, "vm.max_run_hours: Value 'long'"),
        ({"env": {"pythn": "3.11"}}, "pythn"),
        ({"dry_run": True}, "hydra-gce run --dry-run"),
        ({"budget_usd": -1}, "budget_usd"),
    ],
)
def test_settings_that_do_not_exist_are_refused(tmp_path: Path, wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        hydra_gce.submit(given, {}, output_dir=tmp_path, **wrong)


def test_nothing_of_nothing() -> None:
    assert hydra_gce.map(given, []) == []


def test_names_of_the_package_are_there_when_they_are_asked_for() -> None:
    look = (
        "import sys, hydra_gce\n"
        "assert 'hydra_gce.api' not in sys.modules and 'hydra' not in sys.modules\n"
        "from hydra_gce import submit\n"
        "import hydra_gce.coming_back.rejoin\n"
        "assert callable(hydra_gce.attach) and callable(hydra_gce.map) and hydra_gce.Job\n"
        "assert not hasattr(hydra_gce, 'nothing')"
    )
    subprocess.run([sys.executable, "-c", look], check=True)


def test_the_call_travels() -> None:
    assert pickle.loads(pickle.dumps(Call(given, "dict")))(OmegaConf.create({"x": 1})) == {"x": 1}


def test_a_status_says_what_there_is() -> None:
    assert repr(hydra_gce.Status(JobState.PENDING)) == "<PENDING · $0.0000>"
    running = hydra_gce.Status(
        JobState.RUNNING,
        2,
        "b",
        "n1-standard-4 + T4 in b",
        1240,
        4000,
        "val_miou",
        0.78123456,
        0.0314,
        "warm",
    )
    assert repr(running) == (
        "<RUNNING · attempt 2 · n1-standard-4 + T4 in b · step 1,240 of 4,000 · val_miou 0.78123 · $0.0314 · warm>"
    )
    assert not running.done
