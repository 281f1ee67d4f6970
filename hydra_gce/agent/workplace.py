"""Where a job works on the VM: the code, the data and the output directory, at the paths that they have on the laptop.

A path that holds something here which no agent made is never written to. The project then lies below ``fallback``, and
``translate`` says which laptop path is which here.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hydra_gce.bucket import Bucket
from hydra_gce.cargo.archive import extract
from hydra_gce.jobs import JobSpec
from hydra_gce.paths import translate as translate_path
from hydra_gce.tracking.journal import NO_ROOM

log = logging.getLogger(__name__)

_RESCUED = "working_dir"
_RESCUE_LIMIT = 2 << 30
_NOT_RESCUED = {"__pycache__", ".git"}


@dataclass(frozen=True)
class Workplace:
    """``translate`` holds pairs (path on the laptop, path here), longest first; empty where they are all the same."""

    code: Path
    cwd: Path
    output_dir: Path
    sweep_dir: Path
    translate: list[tuple[str, str]]
    before: dict[Path, tuple[int, int]]

    def here(self, path: str) -> str:
        """A laptop path as it is on this VM."""
        return translate_path(path, self.translate)

    def rescue(self) -> list[str]:
        """Copies what the program wrote beside its output directory into it; the paths, relative to the code.

        As much of it as there is room for: what is in the output directory already matters more.
        """
        written = [
            path
            for path, state in _walk(self.code)
            if self.before.get(path) != state
            and not path.is_relative_to(self.sweep_dir)
            and not path.is_relative_to(self.output_dir)
        ]
        rescued: list[str] = []
        room = _RESCUE_LIMIT
        for path in sorted(written):
            room -= path.stat().st_size
            if room < 0:
                break
            name = path.relative_to(self.code)
            target = self.output_dir / _RESCUED / name
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(path, target)
            except OSError as error:
                if error.errno not in NO_ROOM:
                    raise
                target.unlink(missing_ok=True)
                log.warning("%s and what comes after it stays on the VM: its disk is full", name)
                break
            rescued.append(name.as_posix())
        return rescued


def prepare(bucket: Bucket, spec: JobSpec, archives: Path, fallback: Path, register: Path) -> Workplace:
    """Unpacks code and data and makes the output directory.

    ``archives`` keeps what was fetched for the VM's next job; ``register`` is a file that names the paths made here.
    """
    mounted = _mount_points()
    roots = [placement.path for placement in (spec.code, *spec.data)]
    if not Path(spec.sweep_dir).is_relative_to(spec.code.path):
        roots.append(spec.sweep_dir)
    made = set(register.read_text(encoding="utf-8").splitlines()) if register.exists() else set()
    taken = [root for root in roots if root not in made and _holds_something(Path(root), mounted)]
    translate = sorted(((root, str(fallback) + root) for root in taken), key=lambda pair: -len(pair[0]))
    register.parent.mkdir(parents=True, exist_ok=True)
    register.write_text(
        "".join(f"{root}\n" for root in made.union(roots).difference(taken)), encoding="utf-8"
    )

    code = Path(translate_path(spec.code.path, translate))
    _clear(code, mounted)  # of a former job: each one sees the code as it was sent
    _unpack(bucket, spec.code.object, archives, code)
    for placement in spec.data:
        target = Path(translate_path(placement.path, translate))
        if not target.exists():
            _unpack(bucket, placement.object, archives, target.parent)
    directories = [
        Path(translate_path(path, translate)) for path in (spec.cwd, spec.output_dir, spec.sweep_dir)
    ]
    for directory in (code, *directories):
        directory.mkdir(parents=True, exist_ok=True)
    cwd, output_dir, sweep_dir = directories
    return Workplace(code, cwd, output_dir, sweep_dir, translate, dict(_walk(code)))


def _unpack(bucket: Bucket, name: str, archives: Path, to: Path) -> None:
    """Fetches an archive, unless this VM has it already, and unpacks it; its name tells what must be in it."""
    archive = archives / name.replace("/", "-")
    if not archive.exists():
        bucket.download(name, archive)
    extract(archive, to, sha256=Path(name).name.partition(".")[0])


def _holds_something(path: Path, mounted: frozenset[str]) -> bool:
    """Whether anything lies there but mount points: an image may have its Python mounted inside the project's path."""
    if not path.is_dir() or path.is_symlink():
        return os.path.lexists(path)
    return any(str(child) not in mounted and _holds_something(child, mounted) for child in path.iterdir())


def _clear(path: Path, mounted: frozenset[str]) -> None:
    """Removes all below ``path`` but mount points and the way to them."""
    if not path.is_dir() or path.is_symlink():
        path.unlink(missing_ok=True)
        return
    for child in path.iterdir():
        if str(child) not in mounted:
            _clear(child, mounted)
    if not any(path.iterdir()):
        path.rmdir()


def _mount_points() -> frozenset[str]:
    """Where something is mounted. ``os.path.ismount`` does not see bind mounts; the kernel's own list does."""
    table = Path("/proc/self/mountinfo")
    if not table.exists():
        return frozenset()
    fields = (line.split()[4] for line in table.read_text().splitlines())
    return frozenset(field.encode().decode("unicode_escape") for field in fields)


def _walk(root: Path) -> Iterator[tuple[Path, tuple[int, int]]]:
    """Files below ``root`` with size and time; other file systems mounted there are not the program's."""
    mounted = _mount_points()
    for folder, folders, files in os.walk(root):
        folders[:] = [
            name for name in folders if name not in _NOT_RESCUED and os.path.join(folder, name) not in mounted
        ]
        for name in files:
            path = Path(folder, name)
            if path.is_file() and not path.is_symlink():
                state = path.stat()
                yield path, (state.st_size, state.st_mtime_ns)
