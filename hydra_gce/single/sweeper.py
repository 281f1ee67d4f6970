"""A single run of a Hydra program on a VM: what ``hydra/sweeper=gce_single`` does."""

from __future__ import annotations

import copy
import shlex
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.errors import CompactHydraException
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict, read_write

from hydra_gce.single.hint import command_of_this
from hydra_gce.single.run_notes import JOB, note


def run(
    arguments: list[str], *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
) -> int:
    """Runs the job on a VM as ``hydra.run.*`` has it, and gives its exit code.

    :raises CompactHydraException: the command means several jobs, or outputs would lie where nothing may be written.
    """
    from hydra_plugins.hydra_gce_launcher.launcher import GCELauncher

    note(JOB)
    _check_single(arguments, hydra_context)
    config = _as_run(config)
    launcher = Plugins.instance().instantiate_launcher(
        hydra_context=hydra_context, task_function=task_function, config=config
    )
    if not isinstance(launcher, GCELauncher):
        raise CompactHydraException(
            f"hydra/launcher={config.hydra.runtime.choices['hydra/launcher']} is not of hydra-gce-launcher:"
            " say hydra/launcher=gce, or leave it out"
        )
    return launcher.run(arguments)


def _check_single(arguments: list[str], hydra_context: HydraContext) -> None:
    parser = OverridesParser.create(config_loader=hydra_context.config_loader)
    for override in parser.parse_overrides(arguments):
        if override.is_sweep_override():
            key, line = override.get_key_element(), override.input_line or ""
            value = line.partition("=")[2]
            raise CompactHydraException(
                f"{line}: several values are several jobs, and this is a single run.\n"
                f"  A list:              '{key}=[{value}]'\n"
                f"  A text with a comma: \"{key}='{value}'\"\n"
                f"  A job for each:      {shlex.join([*command_of_this(), '-m', 'hydra/launcher=gce', *arguments])}"
            )


def _as_run(config: DictConfig) -> DictConfig:
    """The config of a sweep whose one job lies where ``hydra.run.dir`` has it.

    Said as overrides: the job's config is composed from those.
    """
    config = copy.deepcopy(config)
    before = HydraConfig.instance().cfg
    HydraConfig.instance().set_config(config)  # what ${hydra:…} in the directory's name refers to
    try:
        run_dir = str(config.hydra.run.dir)
    finally:
        HydraConfig.instance().cfg = before
    _check_own(Path(run_dir))
    settled = {"hydra.mode": "RUN", "hydra.run.dir": _quoted(run_dir), "hydra.sweep.dir": _quoted(run_dir)}
    settled["hydra.sweep.subdir"] = "."
    with read_write(config.hydra), open_dict(config.hydra):
        config.hydra.sweep.dir = run_dir
        config.hydra.sweep.subdir = "."
        config.hydra.overrides.hydra.extend([f"{name}={value}" for name, value in settled.items()])
    return config


def _check_own(run_dir: Path) -> None:
    """:raises CompactHydraException: it holds the program: its files would come home as outputs."""
    if Path.cwd().resolve().is_relative_to(run_dir.resolve()):
        raise CompactHydraException(
            f"hydra.run.dir={run_dir} holds the program itself, and what comes back from the VM would be written"
            " over it. Say hydra.run.dir=<a directory of its own>"
        )


def _quoted(text: str) -> str:
    """As a value of Hydra's override grammar."""
    return "'" + text.replace("\\'", "\\\\'").replace("'", "\\'") + "'"
