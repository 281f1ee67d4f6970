"""Where a job works on the VM: the code, the data and the output directory, at the paths that they have on the laptop.

A path that exists on this VM and was not made by an agent is never written to. The project then lies below
``fallback``, and ``translate`` says which laptop path is which here.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hydra_gce.archive import extract
from hydra_gce.bucket import Bucket
from hydra_gce.jobs import JobSpec
from hydra_gce.paths import translate as translate_path

_MADE_HERE = ".hydra-gce-workplace"
_RESCUED = "working_dir"
_RESCUE_LIMIT = 2 << 30
_NOT_RESCUED = {"__pycache__", ".git", ".hydra-gce-workplace"}


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
        """Copies what the program wrote beside its output directory into it; the paths, relative to the code."""
        written = [
            path
            for path, state in _walk(self.code)
            if self.before.get(path) != state and not path.is_relative_to(self.sweep_dir)
        ]
        rescued: list[str] = []
        room = _RESCUE_LIMIT
        for path in sorted(written):
            room -= path.stat().st_size
            if room < 0:
                break
            name = path.relative_to(self.code)
            target = self.output_dir / _RESCUED / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, target)
            rescued.append(name.as_posix())
        return rescued


def prepare(bucket: Bucket, spec: JobSpec, scratch: Path, fallback: Path) -> Workplace:
    """Unpacks code and data and makes the output directory. Archives are kept in ``scratch`` for the VM's next job."""
    roots = [placement.path for placement in (spec.code, *spec.data)]
    if not _below(spec.sweep_dir, spec.code.path):
        roots.append(spec.sweep_dir)
    translate = [(root, str(fallback) + root) for root in roots if not _free(Path(root))]
    translate.sort(key=lambda pair: -len(pair[0]))
    code = Path(translate_path(spec.code.path, translate))
    if code.exists():
        shutil.rmtree(code)  # a former job's: each job sees the code as it was sent
    _unpack(bucket, spec.code.object, scratch, code)
    for placement in spec.data:
        target = Path(translate_path(placement.path, translate))
        if not target.exists():
            _unpack(bucket, placement.object, scratch, target.parent)
    code.mkdir(parents=True, exist_ok=True)
    (code / _MADE_HERE).touch()
    cwd = Path(translate_path(spec.cwd, translate))
    cwd.mkdir(parents=True, exist_ok=True)
    sweep_dir = Path(translate_path(spec.sweep_dir, translate))
    output_dir = Path(translate_path(spec.output_dir, translate))
    output_dir.mkdir(parents=True, exist_ok=True)
    return Workplace(code, cwd, output_dir, sweep_dir, translate, dict(_walk(code)))


def _unpack(bucket: Bucket, name: str, scratch: Path, to: Path) -> None:
    """Fetches an archive, unless this VM has it already, and unpacks it; its name tells what must be in it."""
    archive = scratch / name.replace("/", "-")
    if not archive.exists():
        bucket.download(name, archive)
    extract(archive, to, sha256=Path(name).name.partition(".")[0])


def _free(path: Path) -> bool:
    return not path.exists() or (path / _MADE_HERE).exists()


def _below(path: str, root: str) -> bool:
    return Path(path).is_relative_to(root)


def _walk(root: Path) -> Iterator[tuple[Path, tuple[int, int]]]:
    for path in root.rglob("*"):
        if path.is_file() and not path.is_symlink() and not _NOT_RESCUED.intersection(path.parts):
            state = path.stat()
            yield path, (state.st_size, state.st_mtime_ns)
