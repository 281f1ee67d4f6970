"""A directory's mirror in the bucket: consistent at every moment, and never shared by two writers.

Each attempt of a job has a prefix of its own. A file goes to an object of a name that is never used again; then one
sealed *manifest* names, for each path, the object that holds it. So whoever restores sees the directory as it was at
one moment, never half of it; an attempt that goes on from a former one's manifest takes over its objects as they are;
and a late writer, whose VM was given up already, changes nothing that anybody still reads.
"""

from __future__ import annotations

import errno
import itertools
import os
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath

from hydra_gce.bucket import Bucket, SweepNames
from hydra_gce.errors import BucketError, CollectError, ObjectMissing
from hydra_gce.jobs import seal, unseal

_PARALLEL = 4
_TRIES = 3


@dataclass(frozen=True)
class MirroredFile:
    """A path's entry: the object with its content, or the target of a symbolic link. ``mtime_ns`` as on the VM."""

    object: str
    size: int
    mtime_ns: int
    mode: int
    link: str | None = None


@dataclass(frozen=True)
class Manifest:
    files: dict[str, MirroredFile]
    directories: list[str]


class Mirror:
    """Sends one attempt's directory to the bucket, again and again. Not for use by several threads at once."""

    def __init__(
        self,
        bucket: Bucket,
        names: SweepNames,
        key: bytes,
        num: int,
        attempt: int,
        directory: Path,
        start: Manifest | None = None,
    ) -> None:
        """``start`` is what the directory was restored from."""
        self._bucket = bucket
        self._names = names
        self._key = key
        self._num = num
        self._attempt = attempt
        self._directory = directory
        self._files: dict[str, MirroredFile] = dict(start.files) if start else {}
        self._directories: list[str] = list(start.directories) if start else []
        self._versions = itertools.count(1)

    def sync(self) -> None:
        """Brings the bucket up to date; afterwards the manifest describes the directory as it is now."""
        paths = {path.relative_to(self._directory).as_posix(): path for path in _files(self._directory)}
        directories = sorted(
            path.relative_to(self._directory).as_posix() for path in _directories(self._directory)
        )
        with ThreadPoolExecutor(_PARALLEL) as pool:
            sent = dict(zip(paths, pool.map(self._send, paths, paths.values()), strict=True))
        files = {name: entry for name, entry in sent.items() if entry is not None}
        if files == self._files and directories == self._directories:
            return
        superseded = {entry.object for entry in self._files.values()} - {
            entry.object for entry in files.values()
        }
        self._files, self._directories = files, directories
        header = {"files": {name: asdict(entry) for name, entry in files.items()}, "directories": directories}
        purpose = f"{self._names.sweep}/{self._num}/{self._attempt}/output"
        self._bucket.write(
            _manifest_name(self._names, self._num, self._attempt), seal(self._key, purpose, header)
        )
        own = self._names.output(self._num, self._attempt)
        for name in superseded:
            if name.startswith(own):  # a former attempt's objects stay: its manifest is still read
                self._bucket.delete(name)

    def _send(self, name: str, path: Path) -> MirroredFile | None:
        """The path's entry, its content sent if it is new. None if it vanished."""
        known = self._files.get(name)
        for _ in range(_TRIES):
            try:
                before = path.lstat()
                if stat.S_ISLNK(before.st_mode):
                    return MirroredFile("", 0, before.st_mtime_ns, 0o777, os.readlink(path))
                mode = stat.S_IMODE(before.st_mode)
                if known and (known.size, known.mtime_ns) == (before.st_size, before.st_mtime_ns):
                    return known if known.mode == mode else MirroredFile(**{**asdict(known), "mode": mode})
                target = f"{self._names.output(self._num, self._attempt)}{next(self._versions):06d}/{name}"
                self._bucket.upload(target, path)
                after = path.lstat()
            except FileNotFoundError:
                return None
            if (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns):
                return MirroredFile(target, before.st_size, before.st_mtime_ns, mode)
            self._bucket.delete(target)
        return known  # it is written to without a pause: the next sync has it, the last one surely


def read_manifest(bucket: Bucket, names: SweepNames, key: bytes, num: int, attempt: int) -> Manifest | None:
    """The newest manifest of the job, as of ``attempt`` or the last one before it that left any.

    :raises SealBroken: it was not made with the sweep's key.
    """
    for number in range(attempt, 0, -1):
        try:
            envelope = bucket.read(_manifest_name(names, num, number))
        except ObjectMissing:
            continue
        header, _ = unseal(key, f"{names.sweep}/{num}/{number}/output", envelope)
        files = {name: MirroredFile(**entry) for name, entry in header["files"].items()}
        return Manifest(files, header["directories"])
    return None


def restore(bucket: Bucket, manifest: Manifest, directory: Path) -> int:
    """Makes ``directory`` what the manifest says, and returns the bytes that had to be fetched.

    Files that are there already, with the same size and time, are kept; files that the manifest does not name are left.

    :raises CollectError: the disk is full or may not be written; what is in the bucket stays there.
    """
    try:
        for name in manifest.directories:
            _inside(directory, name).mkdir(parents=True, exist_ok=True)
        with ThreadPoolExecutor(_PARALLEL) as pool:
            return sum(
                pool.map(
                    lambda item: _fetch(bucket, _inside(directory, item[0]), item[1]), manifest.files.items()
                )
            )
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.EPERM, errno.EFBIG):
            raise CollectError(f"{directory} cannot be written: {error.strerror}") from error
        raise


def _fetch(bucket: Bucket, path: Path, entry: MirroredFile) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    if entry.link is not None:
        if not path.is_symlink() or os.readlink(path) != entry.link:
            path.unlink(missing_ok=True)
            path.symlink_to(entry.link)
        return 0
    if path.is_file() and not path.is_symlink():
        here = path.stat()
        if (here.st_size, here.st_mtime_ns) == (entry.size, entry.mtime_ns):
            return 0
    bucket.download(entry.object, path)
    path.chmod(entry.mode)
    os.utime(path, ns=(entry.mtime_ns, entry.mtime_ns))
    return entry.size


def _inside(directory: Path, name: str) -> Path:
    pure = PurePosixPath(name)
    if pure.is_absolute() or ".." in pure.parts:
        raise BucketError(f"{name!r} in a manifest points outside {directory}; nothing was written there")
    return directory / pure


def _manifest_name(names: SweepNames, num: int, attempt: int) -> str:
    return f"{names.output(num, attempt)}manifest"


def _files(directory: Path) -> Iterator[Path]:
    for folder, folders, files in os.walk(directory):
        for name in (*files, *(name for name in folders if os.path.islink(os.path.join(folder, name)))):
            path = Path(folder, name)
            if path.is_symlink() or path.is_file():
                yield path


def _directories(directory: Path) -> Iterator[Path]:
    for folder, folders, _ in os.walk(directory):
        for name in folders:
            path = Path(folder, name)
            if not path.is_symlink():
                yield path
