"""A Python function and its configs, as points of a sweep: what ``submit`` and ``map`` send."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

import hydra
from hydra._internal.callbacks import Callbacks
from hydra.core.singleton import Singleton
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from hydra_gce.agent.call import Call
from hydra_gce.errors import ConfigError
from hydra_gce.launch import compose
from hydra_gce.launch.compose import Point, Program
from hydra_gce.sweep import Work

_OF_A_PROGRAM = ("GlobalHydra", "HydraConfig", "JobRuntime", "VersionBase")
_SETTLED = ("hydra/launcher=gce", "hydra.mode=RUN", "hydra.job.chdir=false", "hydra.sweep.subdir=.")


def work_of(function: Callable[[Any], Any], configs: Sequence[Any], directory: Path, several: bool) -> Work:
    """:param directory: absolute; where the outputs go, each in a directory of its own if there are ``several``.
    :raises ConfigError: one of ``configs`` is no config, or they are not all of one kind.
    """
    name = getattr(function, "__name__", type(function).__name__).replace("<lambda>", "lambda")
    kinds = {_kind(config) for config in configs}
    if len(kinds) > 1:
        raise ConfigError(
            f"hydra_gce.map: the configs are of several kinds ({', '.join(sorted(kinds))}); give one"
        )
    call = Call(function, kinds.pop())
    plain = [_as_config(config) for config in configs]
    overrides = _differences(plain) if several else [[]]

    def points() -> list[Point]:
        with _own_hydra(name):
            base = hydra.compose(overrides=[*_SETTLED], return_hydra_config=True).hydra
        places = [directory / str(num) if several else directory for num in range(len(plain))]
        return [
            _point(num, own, said, base, directory, place)
            for num, (own, said, place) in enumerate(zip(plain, overrides, places, strict=True))
        ]

    def program() -> Program:
        with _own_hydra(name):
            return compose.pack(call, HydraContext(config_loader=None, callbacks=Callbacks()))  # type: ignore[arg-type]

    return Work(directory, points, program)


def _kind(config: Any) -> str:
    if isinstance(config, DictConfig):
        return "config"
    if isinstance(config, Mapping):
        return "dict"
    if is_dataclass(config) and not isinstance(config, type):
        return "object"
    raise ConfigError(
        f"hydra_gce.submit: a config is a DictConfig, a dict or an instance of a dataclass, and this is of type"
        f" {type(config).__qualname__}"
    )


def _as_config(config: Any) -> DictConfig:
    """:raises ConfigError: it holds a value that no config can hold."""
    try:
        if (
            isinstance(config, DictConfig) and config._get_parent() is not None
        ):  # what it refers to stays behind
            config = OmegaConf.to_container(config, resolve=True)
        made = OmegaConf.structured(config) if is_dataclass(config) else OmegaConf.create(config)
    except OmegaConfBaseException as error:
        raise ConfigError(
            f"hydra_gce.submit: the config cannot be sent: {str(error).splitlines()[0]}. It may hold numbers, texts,"
            " booleans, None, enums, paths, and lists and dicts of them; make all else in the function"
        ) from error
    assert isinstance(made, DictConfig)
    return made


def _point(
    num: int, own: DictConfig, overrides: list[str], base: DictConfig, directory: Path, place: Path
) -> Point:
    """The function's config with Hydra's own beside it, as a program's job has it."""
    config, settled = copy.deepcopy(own), copy.deepcopy(base)
    with read_write(settled), open_dict(settled):
        settled.job.num, settled.job.id = num, f"{settled.job.name}_{num}"
        settled.sweep.dir, settled.sweep.subdir = str(directory), str(place.relative_to(directory))
        settled.run.dir = str(place)
        settled.overrides.task = overrides
    with read_write(config), open_dict(config):
        config.pop("hydra", None)
        config["hydra"] = settled
    OmegaConf.set_readonly(config.hydra, False)
    compose.without_types(config)
    return Point(num, overrides, config, directory, place)


def _differences(configs: Sequence[DictConfig]) -> list[list[str]]:
    """Of each what the others have not, as overrides would say it."""
    leaves = [dict(_leaves(OmegaConf.to_container(config, enum_to_str=True))) for config in configs]
    names = dict.fromkeys(name for one in leaves for name in one)
    varied = [name for name in names if any(one.get(name) != leaves[0].get(name) for one in leaves)]
    return [[f"{name}={one[name]}" for name in varied if name in one] for one in leaves]


def _leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _leaves(inner, f"{name}.{key}" if name else str(key))
    elif name:
        yield name, value


@contextmanager
def _own_hydra(name: str) -> Iterator[None]:
    """A Hydra of ours, whatever the caller's process has made of its own."""
    instances: dict[Any, Any] = Singleton._instances

    def taken_out() -> dict[Any, Any]:
        return {kind: instances.pop(kind) for kind in list(instances) if kind.__name__ in _OF_A_PROGRAM}

    callers = taken_out()
    try:
        with warnings.catch_warnings():
            # Hydra 1.3 warns where it is left out, 1.4 where it is given.
            warnings.filterwarnings("ignore", "The version_base parameter")
            ours = hydra.initialize(version_base="1.3", config_path=None, job_name=name)
        with ours:
            yield
    finally:
        taken_out()
        instances.update(callers)
