"""Functions on VMs, from Python: a script, a notebook, a program of any kind."""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from omegaconf.errors import OmegaConfBaseException

from hydra_gce.api.function import work_of
from hydra_gce.api.job import Job
from hydra_gce.errors import ConfigError
from hydra_gce.settings import VM, Settings, settings_from
from hydra_gce.sweep import Sweep

_VM_FIELDS = [one.name for one in fields(VM)]
_FIELDS = [one.name for one in fields(Settings)]


def submit(
    function: Callable[[Any], Any], config: Any, *, output_dir: str | Path | None = None, **settings: Any
) -> Job:
    """Runs ``function(config)`` on a VM, and gives a handle on that at once.

    :param config: a DictConfig, a dict or an instance of a dataclass; the function gets what it was given.
    :param output_dir: where the job's outputs come; ``outputs/<day>/<time>`` if left out.
    :param settings: fields of ``hydra.launcher`` (``budget_usd=5``, ``env={"python": "3.11"}``), and those of
        ``hydra.launcher.vm`` without their prefix (``gpu="T4"``, ``provisioning="spot"``).
    :raises HydraGCEError: it cannot be sent; nothing was begun.
    """
    directory = Path(output_dir).absolute() if output_dir else _new_directory("outputs")
    return _sent(function, [config], directory, settings, several=False)[0]


def map(
    function: Callable[[Any], Any],
    configs: Iterable[Any],
    *,
    output_dir: str | Path | None = None,
    **settings: Any,
) -> list[Job]:
    """Runs ``function`` with each of ``configs``, as one sweep with a VM for each; see ``submit``.

    :param output_dir: its outputs come to ``0``, ``1``, … in there; ``multirun/<day>/<time>`` if left out.
    """
    directory = Path(output_dir).absolute() if output_dir else _new_directory("multirun")
    given = list(configs)
    return _sent(function, given, directory, settings, several=True) if given else []


def attach(
    sweep: str = "last",
    *,
    to: str | Path | None = None,
    backend: str = "auto",
    project: str | None = None,
    bucket: str | None = None,
) -> list[Job]:
    """Handles on the jobs of a sweep that was launched elsewhere or before, however it was launched.

    :param sweep: its name; "last" is the newest of this machine.
    :param to: where its outputs come; where its launch would have them if left out.
    :param backend: with ``project`` and ``bucket`` where to look for it, if this machine knows nothing of it.
    :raises ConfigError: there is none.
    """
    from hydra_gce.cli.common import find_sweep
    from hydra_gce.coming_back.rejoin import known, moved

    place = argparse.Namespace(backend=backend, project=project, bucket=bucket)
    found = find_sweep(sweep, place)
    plan, identity = known(found.backend, found.bucket, found.sweep)
    points = [moved(point, Path(to)) for point in plan.points] if to else plan.points
    return [Job(found.backend, found.bucket, identity, point) for point in points]


def _sent(
    function: Callable[[Any], Any],
    configs: list[Any],
    directory: Path,
    given: Mapping[str, Any],
    several: bool,
) -> list[Job]:
    settings = settings_of(given)
    if settings.dry_run:
        raise ConfigError(
            "hydra_gce.submit: dry_run has nothing to give back; hydra-gce run --dry-run shows a plan"
        )
    work = work_of(function, configs, directory, several)
    batch = Sweep(settings, stream=sys.stderr).leave(work)
    return [Job(batch.backend, batch.bucket, batch.identity, point) for point in batch.plan.points]


def settings_of(given: Mapping[str, Any]) -> Settings:
    """:raises ConfigError: there is no such field, or it cannot hold that."""
    nested: dict[str, Any] = {"vm": {}}
    for name, value in given.items():
        if name in _VM_FIELDS:
            nested["vm"][name] = value
        elif name == "vm":
            nested["vm"].update(value)
        elif name in _FIELDS:
            nested[name] = value
        else:
            near = difflib.get_close_matches(name, [*_FIELDS, *_VM_FIELDS], n=3, cutoff=0.5)
            hint = (
                f" Did you mean {' or '.join(near)}?" if near else " docs/settings.md has all that there are."
            )
            raise ConfigError(f"hydra_gce.submit: there is no setting {name!r}.{hint}")
    try:
        settings = settings_from(nested)
    except OmegaConfBaseException as error:
        where = f"{error.full_key}: " if error.full_key else ""
        raise ConfigError(f"hydra_gce.submit: {where}{str(error).splitlines()[0]}") from error
    # Whoever calls a function wants it called: what another call has returned is no answer.
    return settings if settings.resume else replace(settings, resume="never")


def _new_directory(below: str) -> Path:
    """Of this moment, and nobody else's."""
    now = datetime.now()
    wanted = Path.cwd() / below / f"{now:%Y-%m-%d}" / f"{now:%H-%M-%S}"
    number = 1
    directory = wanted
    while True:
        try:
            directory.mkdir(parents=True)
            return directory
        except FileExistsError:
            number += 1
            directory = wanted.with_name(f"{wanted.name}-{number}")
