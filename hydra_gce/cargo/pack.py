"""All that goes into the bucket once and is shared by jobs and sweeps: code, data, environment, the launcher itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hydra_gce.bucket import Bucket
from hydra_gce.cargo import environment, snapshot, wheel
from hydra_gce.cargo.environment import Resolution
from hydra_gce.cargo.snapshot import Snapshot
from hydra_gce.cargo.wheel import Wheel
from hydra_gce.cargo.worktree import find_root
from hydra_gce.home import cache, home, sweep_records
from hydra_gce.jobs import Placement
from hydra_gce.settings import Settings


@dataclass(frozen=True)
class Cargo:
    """What is to be sent; nothing of it has left the laptop yet."""

    root: Path
    code: Snapshot
    data: list[tuple[Path, Snapshot]]
    resolution: Resolution
    wheel: Wheel


@dataclass(frozen=True)
class Sent:
    """The same, as names in the bucket."""

    code: Placement
    data: list[Placement]
    environment: str
    launcher: str


def pack(
    settings: Settings, script: str | None, cwd: Path, sweep_dir: Path, tell: Callable[[str], None]
) -> Cargo:
    """Takes the snapshots and works out the environment. What launches left in this or another directory is no code.

    :raises ConfigError: a path is missing, or the environment asked for contradicts itself.
    :raises CodeTooLarge: see ``hydra.launcher.code.max_mb``.
    :raises EnvironmentUnsolvable: no set of packages meets the requirements.
    """
    root = code_root(settings, script, cwd)
    left = dict.fromkeys([sweep_dir, home(), *(Path(record.sweep_dir) for record in sweep_records())])
    outputs = [pattern for directory in left for pattern in _outputs(root, directory)]
    exclude = [*settings.code.exclude, *outputs]
    code = snapshot.take(root, settings.code.include, exclude, settings.code.max_mb * 1_000_000, cache())
    data = [(path, snapshot.take_data(path, cache())) for path in _data_paths(settings, cwd)]
    resolution = environment.resolve(
        root,
        python=settings.env.python,
        requirements=settings.env.requirements,
        extras=settings.env.extras,
        apt=settings.env.apt,
        setup=settings.env.setup,
        tracking=settings.tracking.mode != "none",
        cache_dir=cache(),
    )
    for note in (*code.notes, *resolution.notes):
        tell(note)
    return Cargo(root, code, data, resolution, wheel.build(cache()))


def planned(cargo: Cargo) -> Sent:
    """The names that it will have in the bucket: they say what is in it."""
    return Sent(
        code=Placement(cargo.code.object, str(cargo.root)),
        data=[Placement(taken.object, str(path)) for path, taken in cargo.data],
        environment=cargo.resolution.environment.object,
        launcher=cargo.wheel.object,
    )


def send(bucket: Bucket, cargo: Cargo) -> Sent:
    """Uploads what the bucket does not hold yet."""
    return Sent(
        code=Placement(snapshot.upload(bucket, cargo.code), str(cargo.root)),
        data=[Placement(snapshot.upload(bucket, taken), str(path)) for path, taken in cargo.data],
        environment=environment.upload(bucket, cargo.resolution.environment),
        launcher=wheel.upload(bucket, cargo.wheel),
    )


def code_root(settings: Settings, script: str | None, cwd: Path) -> Path:
    """``code.root``, or the project that the program belongs to.

    That is the one around the script; around the working directory where the script is an installed one (pytest) or
    there is none (a notebook).
    """
    if settings.code.root is not None:
        return (cwd / Path(settings.code.root).expanduser()).resolve()
    folder = Path(script).parent if script else cwd
    installed = any(part in ("bin", "Scripts", "site-packages") for part in folder.parts[-2:])
    inside = folder.is_relative_to(cwd)
    return find_root(cwd if installed or inside else folder)


def _outputs(root: Path, sweep_dir: Path) -> list[str]:
    """A pattern for what is in the sweep's directory, unless that holds the code itself."""
    inside = sweep_dir.resolve()
    if inside == root or not inside.is_relative_to(root):
        return []
    return [f"/{inside.relative_to(root).as_posix()}/"]


def _data_paths(settings: Settings, cwd: Path) -> list[Path]:
    return [(cwd / Path(path).expanduser()).absolute() for path in settings.data]
