"""The launcher's own directory on the laptop: keys and addresses of sweeps, caches. The bucket holds all the rest."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import platformdirs

from hydra_gce.errors import SweepDirBusy

_CLOCK_S = 2.0  # the boot's time is given in whole seconds


def home() -> Path:
    """``HYDRA_GCE_HOME``, or the platform's state directory."""
    named = os.environ.get("HYDRA_GCE_HOME")
    return Path(named) if named else platformdirs.user_state_path("hydra-gce")


def cache() -> Path:
    return home() / "cache"


@dataclass(frozen=True)
class SweepRecord:
    """What the laptop keeps of a sweep. ``key`` is the hexadecimal key that seals its specs and results.

    ``pid`` is the process that watches it, or did last, since ``watched`` or, where that is None, since ``started``.
    ``ended`` is None until all jobs of its last batch have their results. Times are in seconds since the epoch.
    ``tracking_uri`` is the MLflow store that has its runs, None while there are none.
    """

    sweep: str
    key: str
    backend: str
    project: str
    bucket: str
    sweep_dir: str
    started: float
    pid: int
    ended: float | None = None
    tracking_uri: str | None = None
    watched: float | None = None

    def save(self) -> None:
        directory = home() / "sweeps"
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / f"{self.sweep}.json"
        part = path.with_suffix(".part")
        # The key must never be readable by others, not even for a moment.
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(asdict(self), file, indent=1)
        part.replace(path)

    @property
    def launcher_alive(self) -> bool:
        """Whether the process that watches it runs: not another one that has got its number since."""
        if not _runs(self.pid):
            return False
        began = process_began(self.pid)
        if began is not None and began <= (self.watched or self.started) + _CLOCK_S:
            return True
        # A clock that was set since, or a system that does not tell: who launches holds the directory's lock.
        return _is_locked(_lock_of(Path(self.sweep_dir)))


@contextmanager
def only_launch_in(sweep_dir: Path) -> Iterator[None]:
    """Makes the sweep's directory and keeps other launches out of it.

    :raises SweepDirBusy: one is at work there.
    """
    from filelock import FileLock, Timeout

    sweep_dir.mkdir(parents=True, exist_ok=True)
    lock = _lock_of(sweep_dir)
    lock.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(lock, timeout=0):
            yield
    except Timeout as error:
        raise SweepDirBusy(
            f"hydra.sweep.dir: another launch is at work in {sweep_dir}. Wait for it, or choose another directory:"
            " hydra.sweep.dir=<directory>. See what runs: hydra-gce ls"
        ) from error


def process_began(pid: int, proc: Path = Path("/proc")) -> float | None:
    """When a process began, in seconds since the epoch; None where the system does not tell (no Linux)."""
    try:
        # What follows the command's closing parenthesis; field 22 of proc_pid_stat(5) is its start after boot.
        ticks = int((proc / str(pid) / "stat").read_text().rpartition(")")[2].split()[19])
        lines = (proc / "stat").read_text().splitlines()
        booted = next(int(line.split()[1]) for line in lines if line.startswith("btime "))
    except (OSError, StopIteration):
        return None
    return booted + ticks / os.sysconf("SC_CLK_TCK")


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return not _has_ended(pid)


def _has_ended(pid: int, proc: Path = Path("/proc")) -> bool:
    """Whether it is only there until its parent asks how it ended."""
    try:
        return (proc / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (OSError, IndexError):
        return False


def _lock_of(sweep_dir: Path) -> Path:
    return home() / "locks" / hashlib.sha256(str(sweep_dir.resolve()).encode()).hexdigest()


def _is_locked(lock: Path) -> bool:
    from filelock import FileLock, Timeout

    if not lock.exists():
        return False
    try:
        with FileLock(lock, timeout=0):
            return False
    except Timeout:
        return True


def sweep_records() -> list[SweepRecord]:
    """All sweeps that this laptop knows, newest first."""
    read = (_read(path) for path in (home() / "sweeps").glob("*.json"))
    return sorted((one for one in read if one is not None), key=lambda record: -record.started)


def _read(path: Path) -> SweepRecord | None:
    """What another version has written besides is left out; None for a file that is no record."""
    names = {one.name for one in fields(SweepRecord)}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return SweepRecord(**{name: value for name, value in content.items() if name in names})
    except (OSError, ValueError, TypeError, AttributeError):
        return None
