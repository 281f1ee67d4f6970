"""Every point's config, composed on the laptop, and the program packed so that a VM can run it."""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton
from hydra.core.utils import filter_overrides
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf.basecontainer import BaseContainer

from hydra_gce.errors import NotPicklable

_OF_PLUGINS = ("Plugins", "GlobalHydra", "SourcesRegistry", "ConfigStore")


class Point:
    """A job of the sweep. ``sweep_dir`` and ``output_dir`` are absolute.

    Its config is kept pickled in ``packed``: a hundredth of a megabyte instead of two tenths, of which a sweep may have
    thousands. ``config`` is another copy each time.
    """

    def __init__(
        self, num: int, overrides: list[str], config: DictConfig, sweep_dir: Path, output_dir: Path
    ) -> None:
        """:raises NotPicklable: the config holds an object that cannot travel."""
        self._set(num, overrides, _dumps(config, "the composed config"), sweep_dir, output_dir)

    @classmethod
    def restored(
        cls, num: int, overrides: list[str], packed: bytes, sweep_dir: Path, output_dir: Path
    ) -> Point:
        """One whose config is packed already."""
        point = cls.__new__(cls)
        point._set(num, overrides, packed, sweep_dir, output_dir)
        return point

    def numbered(self, num: int) -> Point:
        """The same as a job of another number."""
        return self.restored(num, self.overrides, self.packed, self.sweep_dir, self.output_dir)

    def _set(self, num: int, overrides: list[str], packed: bytes, sweep_dir: Path, output_dir: Path) -> None:
        self.num = num
        self.overrides = overrides
        self.packed = packed
        self.sweep_dir = sweep_dir
        self.output_dir = output_dir

    @property
    def config(self) -> DictConfig:
        config: DictConfig = pickle.loads(self.packed)
        return config


def compose(
    config: DictConfig, loader: ConfigLoader, job_overrides: Sequence[Sequence[str]], first: int
) -> list[Point]:
    """One config per job. Its directories are settled here: ``${now:…}`` means the sweep's time, not a VM's.

    :raises NotPicklable: a config holds an object that cannot travel.
    """
    return [
        _point(loader.load_sweep_config(config, list(overrides)), first + number, list(overrides))
        for number, overrides in enumerate(job_overrides)
    ]


def _point(config: DictConfig, num: int, overrides: list[str]) -> Point:
    with open_dict(config):
        config.hydra.job.id = f"{config.hydra.job.name}_{num}"
        config.hydra.job.num = num
    before = HydraConfig.instance().cfg
    HydraConfig.instance().set_config(config)  # what ${hydra:…} in the directories' names refers to
    try:
        sweep_dir = str(config.hydra.sweep.dir)
        subdir = str(config.hydra.sweep.subdir)
    finally:
        HydraConfig.instance().cfg = before
    with read_write(config.hydra.sweep):
        config.hydra.sweep.dir = sweep_dir
        config.hydra.sweep.subdir = subdir
    without_types(config)
    directory = Path(sweep_dir).absolute()
    return Point(num, list(filter_overrides(overrides)), config, directory, directory / subdir)


def without_types(config: DictConfig) -> None:
    """Launcher and sweeper are of plugins' own classes, which the VM need not have: their values stay."""
    with read_write(config.hydra), open_dict(config.hydra):
        for plugin in ("launcher", "sweeper"):
            config.hydra[plugin] = OmegaConf.create(
                OmegaConf.to_container(config.hydra[plugin], resolve=False)
            )


@dataclass(frozen=True)
class Program:
    """What all jobs of a sweep share, pickled once: the task function and Hydra's state around it."""

    task_function: bytes
    hydra_context: bytes
    singletons: dict[bytes, bytes]
    stored_configs: dict[str, bytes]
    resolvers: dict[str, bytes]

    def of(self, point: Point) -> bytes:
        """One job's program, as ``agent/program.py`` reads it."""
        return pickle.dumps({**vars(self), "config": point.packed})


def pack(task_function: TaskFunction, hydra_context: HydraContext) -> Program:
    """Pickles by value what lives in ``__main__`` or in a closure, by name what can be imported on the VM.

    :raises NotPicklable: the task function cannot travel; the message names the object in it that is to blame.
    """
    return Program(
        task_function=_dumps_function(task_function),
        # Composing is over: the VM needs the callbacks, not the loader, which may hold open search paths.
        hydra_context=_dumps(replace(hydra_context, config_loader=None), "Hydra's callbacks"),  # type: ignore[arg-type]
        singletons=_portable({_dumps(kind, kind.__name__): one for kind, one in _singletons().items()}),
        stored_configs=_portable(_stored_configs()),
        resolvers=_portable(dict(BaseContainer._resolvers)),
    )


def _singletons() -> dict[type, Any]:
    """Hydra's singletons but those that hold plugins: the VM need not have every plugin that the laptop has."""
    state: dict[type, Any] = Singleton.get_state()["instances"]
    return {kind: instance for kind, instance in state.items() if kind.__name__ not in _OF_PLUGINS}


def _stored_configs() -> dict[str, Any]:
    """The program's own part of the config store; Hydra's and its plugins' is below "hydra"."""
    return {name: stored for name, stored in ConfigStore.instance().repo.items() if name != "hydra"}


def _portable(items: dict[Any, Any]) -> dict[Any, bytes]:
    """Those that can be pickled: a resolver that holds a socket is missed only if a config really uses it on the VM."""
    pickled = {name: _dumps_or_none(value) for name, value in items.items() if name is not None}
    return {name: value for name, value in pickled.items() if value is not None}


def _dumps_or_none(value: Any) -> bytes | None:
    try:
        return _dumps(value, "")
    except NotPicklable:
        return None


def _dumps(value: Any, what: str) -> bytes:
    import cloudpickle

    try:
        pickled: bytes = cloudpickle.dumps(value)
    except Exception as error:  # whatever a user's __reduce__ raises
        raise NotPicklable(f"{what} cannot be pickled, so no VM can run it: {error}") from error
    return pickled


def _dumps_function(function: TaskFunction) -> bytes:
    try:
        return _dumps(function, "")
    except NotPicklable as error:
        name = getattr(function, "__qualname__", type(function).__name__)
        raise NotPicklable(
            f"The task function {name} cannot be sent to a VM: {_culprit(function)} cannot be pickled"
            f" ({error.__cause__}). Make it inside the function, or in a module that the function imports."
        ) from error.__cause__


def _culprit(function: Any, depth: int = 4) -> str:
    """The innermost named thing that the function refers to and that cannot be pickled."""
    inner = getattr(function, "__wrapped__", function)
    code = getattr(inner, "__code__", None)
    referred: dict[str, Any] = {}
    if code is not None:
        spread = inner.__globals__
        referred |= {f"the global {name!r}": spread[name] for name in code.co_names if name in spread}
        cells = zip(code.co_freevars, inner.__closure__ or (), strict=False)
        referred |= {f"the enclosed variable {name!r}": cell.cell_contents for name, cell in cells}
    elif hasattr(inner, "__dict__"):
        referred |= {f"the attribute {name!r}": value for name, value in vars(inner).items()}
    for name, value in referred.items():
        if _dumps_or_none(value) is None:
            deeper = _culprit(value, depth - 1) if depth and callable(value) else ""
            return deeper if deeper.startswith("the ") else f"{name} of type {type(value).__qualname__}"
    return f"something in it of type {type(function).__qualname__}"


def script() -> str | None:
    """The file that was started, absolute; None in a notebook or a shell."""
    file = getattr(sys.modules.get("__main__"), "__file__", None)
    return str(Path(file).absolute()) if file else None


def import_paths(root: Path) -> list[str]:
    """Folders of ``sys.path`` that travel with the code: all below ``root`` but the Python environment's own."""
    environments = [Path(sys.prefix), Path(sys.base_prefix)]
    paths = dict.fromkeys(Path(entry or os.getcwd()).absolute() for entry in sys.path)
    return [
        str(path)
        for path in paths
        if path.is_dir()
        and path.is_relative_to(root)
        and not any(path.is_relative_to(environment) for environment in environments)
    ]
