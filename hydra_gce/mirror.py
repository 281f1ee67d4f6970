"""A directory's mirror in the bucket: consistent at every moment, and never shared by two writers.

Each attempt of a job has a prefix of its own. A file goes to an object of a name that is never used again; then one
sealed *manifest* names, for each path, the object that holds it. So whoever restores sees the directory as it was at
one moment, never half of it; an attempt that goes on from a former one's manifest takes over its objects as they are;
and a late writer, whose VM was given up already, changes nothing that anybody still reads: an object that no manifest
names any more is deleted only by an attempt that still holds the job's claim.
"""

from __future__ import annotations

import errno
import itertools
import math
import os
import re
import stat
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath

from hydra_gce import claims
from hydra_gce.bucket import Bucket, SweepNames
from hydra_gce.errors import BucketError, CollectError, ObjectMissing
from hydra_gce.jobs import seal, unseal

_PARALLEL = 4
_TRIES = 3
_UNFIT_FOR_OBJECTS = re.compile(r"[^\w.,=/-]", re.ASCII)
_SHOWN = 200
_LOOK_UP_S = 0.2
_CANNOT_WRITE = {
    errno.EACCES,
    errno.EDQUOT,
    errno.EEXIST,
    errno.EFBIG,
    errno.EILSEQ,
    errno.EISDIR,
    errno.ENAMETOOLONG,
    errno.ENOSPC,
    errno.ENOTDIR,
    errno.EPERM,
    errno.EROFS,
}


@dataclass(frozen=True)
class MirroredFile:
    """A path's entry: the object with its content, or the target of a symbolic link. ``mtime_ns`` as on the VM.

    An object's generation stands for its content: whoever writes over it makes another.
    """

    object: str
    size: int
    mtime_ns: int
    mode: int
    link: str | None = None
    generation: int | None = None


@dataclass(frozen=True)
class Manifest:
    files: dict[str, MirroredFile]
    directories: list[str]


@dataclass(frozen=True)
class _Sending:
    """A file on its way, as it was when it set out: size, time, and its entry to come."""

    state: tuple[int, int]
    entry: Future[MirroredFile | None]


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
        self._sending: dict[str, _Sending] = {}
        self._unread: set[str] = set()
        self._written = False

    def sync(
        self,
        left_s: Callable[[], float] = lambda: math.inf,
        before_manifest: Callable[[], bool] = lambda: True,
    ) -> bool:
        """Brings the bucket up to date; afterwards the manifest describes the directory as it is now.

        ``before_manifest`` is called when all files were read: what it brings is there before anybody goes on from
        them. Where it says that it could not, there is no new manifest, and the answer is False.

        ``left_s`` says how many seconds are left for it, and is asked again and again. Where they are too few, the
        manifest describes the directory as it was a moment ago, and the answer is False: what has changed since the
        last sync is sent in the order in which it was written, so that what points to another file (a checkpoint's
        name, an index) is never there without it.
        """
        found = _states(self._directory)
        directories = sorted(
            path.relative_to(self._directory).as_posix() for path in _directories(self._directory)
        )
        files, whole = self._send_all(found, left_s)
        if not before_manifest():
            return False
        if not whole:  # a file that was deleted may be what an older one points to
            files = {**self._files, **files}
            directories = sorted({*self._directories, *directories})
        if self._written and files == self._files and directories == self._directories:
            return whole
        in_use = {entry.object for entry in files.values()}
        own = self._names.output(self._num, self._attempt)
        # A former attempt's objects stay: its manifest is still read.
        before = {entry.object for entry in self._files.values() if entry.object.startswith(own)}
        self._unread = (self._unread | before) - in_use
        header = {"files": {name: asdict(entry) for name, entry in files.items()}, "directories": directories}
        purpose = f"{self._names.sweep}/{self._num}/{self._attempt}/output"
        self._bucket.write(
            _manifest_name(self._names, self._num, self._attempt), seal(self._key, purpose, header)
        )
        self._files, self._directories, self._written = files, directories, True
        if whole and self._unread and self._is_held():
            for name in self._unread:
                self._bucket.delete(name)
            self._unread = set()
        return whole

    def _send_all(
        self, found: dict[str, tuple[int, int]], left_s: Callable[[], float]
    ) -> tuple[dict[str, MirroredFile], bool]:
        """The entries of those that were sent in time: all, or the first that were written."""
        sent: dict[str, MirroredFile] = {}
        if left_s() <= 0:
            return sent, False
        pool = ThreadPoolExecutor(_PARALLEL)
        try:
            # What the sync before had begun is not begun again.
            going = [
                (name, self._begin(pool, name, found[name]))
                for name in sorted(found, key=lambda n: found[n][1])
            ]
            for name, future in going:
                while not future.done():
                    if left_s() <= 0:
                        return sent, False
                    wait([future], min(_LOOK_UP_S, max(0.0, left_s())))
                entry = future.result()
                if entry is not None:
                    sent[name] = entry
            self._sending.clear()
            return sent, True
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _begin(
        self, pool: ThreadPoolExecutor, name: str, state: tuple[int, int]
    ) -> Future[MirroredFile | None]:
        known = self._sending.get(name)
        if known is not None and known.state == state and not _came_to_nothing(known.entry):
            return known.entry
        future = pool.submit(self._send, name, self._directory / name)
        self._sending[name] = _Sending(state, future)
        return future

    def _is_held(self) -> bool:
        """Whether the job is this attempt's still.

        Asked after the manifest was written: who takes the job from now on reads that one, or a newer one.
        """
        claim = claims.read(self._bucket, self._names, self._num)
        return claim is not None and (claim.attempt, claim.state) == (self._attempt, "held")

    def _send(self, name: str, path: Path) -> MirroredFile | None:
        """The path's entry, its content sent if it is new. None if it vanished."""
        known = self._files.get(name)
        for _ in range(_TRIES):
            try:
                before = path.lstat()
                if stat.S_ISLNK(before.st_mode):
                    return MirroredFile("", 0, before.st_mtime_ns, 0o777, os.readlink(path))
                mode = stat.S_IMODE(before.st_mode)
                same = known and (known.size, known.mtime_ns) == (before.st_size, before.st_mtime_ns)
                if known and same and known.link is None:
                    return known if known.mode == mode else replace(known, mode=mode)
                target = self._new_object(name)
                generation = self._bucket.upload(target, path)
                after = path.lstat()
            except FileNotFoundError:
                return None
            except ValueError:  # Google's client, of a file that has become shorter meanwhile
                if path.lstat().st_size >= before.st_size:
                    raise
                continue
            if (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns):
                return MirroredFile(target, before.st_size, before.st_mtime_ns, mode, generation=generation)
            self._bucket.delete(target)
        return known  # it is written to without a pause: the next sync has it, the last one surely

    def _new_object(self, name: str) -> str:
        """An object name that was never used, and tells a person what is in it.

        File names may hold what object names may not: line ends, bytes that are no UTF-8, 255 letters in each part.
        """
        shown = _UNFIT_FOR_OBJECTS.sub("_", name)[-_SHOWN:]
        return f"{self._names.output(self._num, self._attempt)}{next(self._versions):06d}/{shown}"


def read_manifest(
    bucket: Bucket, names: SweepNames, key: bytes, num: int, attempt: int, after: int = 0
) -> Manifest | None:
    """The newest manifest of the job, as of ``attempt`` or the last one before it, but ``after``, that left any.

    :raises SealBroken: it was not made with the sweep's key.
    """
    for number in range(attempt, after, -1):
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

    :raises BucketError: a path leads out of ``directory``; nothing was written.
    :raises ObjectMissing: the manifest is out of date: its attempt is at work, and has written a newer one since.
    :raises CollectError: the disk is full or may not be written; what is in the bucket stays there.
    """
    _check_inside(manifest, directory)
    try:
        for name in manifest.directories:
            path = directory / name
            _check_way(path.parent, directory)
            path.mkdir(parents=True, exist_ok=True)
        with ThreadPoolExecutor(_PARALLEL) as pool:
            fetched = pool.map(lambda item: _fetch(bucket, directory, *item), manifest.files.items())
            return sum(fetched)
    except OSError as error:
        if error.errno in _CANNOT_WRITE:
            where = error.filename or directory
            raise CollectError(f"{where} cannot be written: {error.strerror}") from error
        raise


def restore_newest(
    bucket: Bucket,
    names: SweepNames,
    key: bytes,
    num: int,
    attempt: int,
    directory: Path,
    after: int = 0,
    choose: Callable[[Manifest], Manifest] = lambda manifest: manifest,
) -> tuple[Manifest, int] | None:
    """What ``read_manifest`` finds, restored, while its attempt may be writing newer ones; None if there is none.

    ``choose`` makes a manifest of what is wanted of it.
    """
    manifest = read_manifest(bucket, names, key, num, attempt, after)
    begun: set[str] = set()
    fetched = 0
    while manifest is not None:
        wanted = choose(manifest)
        begun |= wanted.files.keys()
        try:
            fetched += restore(bucket, wanted, directory)
        except ObjectMissing:
            newer = read_manifest(bucket, names, key, num, attempt, after)
            if newer == manifest:
                raise
            manifest = newer
            continue
        for name in begun - wanted.files.keys():
            (directory / name).unlink(missing_ok=True)
        return wanted, fetched
    return None


def _fetch(bucket: Bucket, directory: Path, name: str, entry: MirroredFile) -> int:
    path = directory / name
    path.parent.mkdir(parents=True, exist_ok=True)
    _check_way(path.parent, directory)
    if entry.link is not None:
        if not path.is_symlink() or os.readlink(path) != entry.link:
            path.unlink(missing_ok=True)
            path.symlink_to(entry.link)
        return 0
    if path.is_file() and not path.is_symlink():
        here = path.stat()
        if (here.st_size, here.st_mtime_ns) == (entry.size, entry.mtime_ns):
            path.chmod(entry.mode)
            return 0
    bucket.download(entry.object, path, entry.generation)
    path.chmod(entry.mode)
    os.utime(path, ns=(entry.mtime_ns, entry.mtime_ns))
    return entry.size


def _check_inside(manifest: Manifest, directory: Path) -> None:
    """:raises BucketError: a path leads out of the directory, by itself or through a link in the same manifest."""
    links = {name for name, entry in manifest.files.items() if entry.link is not None}
    for name in (*manifest.directories, *manifest.files):
        pure = PurePosixPath(name)
        outside = pure.is_absolute() or ".." in pure.parts or "\0" in name
        if outside or any(str(parent) in links for parent in pure.parents):
            raise BucketError(f"{name!r} in a manifest leads out of {directory}; nothing was written")


def _check_way(folder: Path, directory: Path) -> None:
    """:raises CollectError: a link that is here already leads out of the directory."""
    if not folder.resolve().is_relative_to(directory.resolve()):
        raise CollectError(
            f"{folder} is not written to: a link in it leads out of {directory}; remove the link"
        )


def _manifest_name(names: SweepNames, num: int, attempt: int) -> str:
    return f"{names.output(num, attempt)}manifest"


def _came_to_nothing(future: Future[MirroredFile | None]) -> bool:
    return future.cancelled() or (future.done() and future.exception() is not None)


def _states(directory: Path) -> dict[str, tuple[int, int]]:
    """Size and time of each file, by its path in the directory."""
    found: dict[str, tuple[int, int]] = {}
    for path in files_in(directory):
        try:
            state = path.lstat()
        except FileNotFoundError:
            continue
        found[path.relative_to(directory).as_posix()] = (state.st_size, state.st_mtime_ns)
    return found


def files_in(directory: Path) -> Iterator[Path]:
    """Files and symbolic links at any depth; what goes away meanwhile is left out."""
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
