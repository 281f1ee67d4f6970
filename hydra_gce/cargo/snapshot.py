"""The project's code and data as archives named by their content: uploaded once, the same for every job."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from hydra_gce.bucket import Bucket
from hydra_gce.cargo import archive
from hydra_gce.cargo.archive import Member, extract
from hydra_gce.cargo.hashes import FileHashes
from hydra_gce.cargo.worktree import find_root, list_files
from hydra_gce.errors import CodeTooLarge, ConfigError

__all__ = ["Snapshot", "extract", "find_root", "take", "take_data", "upload"]

_KEPT_ARCHIVES = 32
_TRIES = 3
_LARGEST = 5


@dataclass(frozen=True)
class Snapshot:
    """What travels. ``archive`` is where it lies or, for data, will lie while it is uploaded.

    ``files`` and ``bytes`` count what is in it, uncompressed; ``largest`` names its largest files, largest
    first; ``notes`` are lines for the person: a size that deserves a look, links that cannot travel.
    """

    sha256: str
    archive: Path
    files: int
    bytes: int
    largest: list[tuple[str, int]]
    object: str
    notes: list[str] = field(default_factory=list)
    members: tuple[Member, ...] = field(default=(), repr=False)


def take(
    root: Path,
    include: Sequence[str],
    exclude: Sequence[str],
    limit_bytes: int,
    cache_dir: Path,
    *,
    warn_bytes: int | None = None,
) -> Snapshot:
    """The code below ``root``; ``worktree.list_files`` says which files that is.

    :param warn_bytes: above this a note names the largest files; a fifth of the limit unless given.
    :raises CodeTooLarge: it has more than ``limit_bytes``.
    :raises ConfigError: there is no such directory, or a file in it cannot be read.
    """
    if not root.is_dir():
        raise ConfigError(f"hydra.launcher.code.root: {root} is no directory. Correct it, or leave it out.")
    warn_at = limit_bytes // 5 if warn_bytes is None else warn_bytes
    tries = 1
    while True:
        try:
            return _take(root, include, exclude, limit_bytes, warn_at, cache_dir)
        except OSError as error:
            if tries == _TRIES:
                raise ConfigError(
                    f"The code below {root} cannot be packed: {error}. Name the file in"
                    " hydra.launcher.code.exclude, or make it readable."
                ) from error
        tries += 1  # an editor or a tool may have removed a file since it was listed: list again


def _take(
    root: Path,
    include: Sequence[str],
    exclude: Sequence[str],
    limit_bytes: int,
    warn_bytes: int,
    cache_dir: Path,
) -> Snapshot:
    members, notes = _code_members(root, list_files(root, include, exclude))
    total = sum(member.size for member in members)
    largest = _largest(members)
    if total > limit_bytes:
        raise CodeTooLarge(
            f"The code below {root} has {_size(total)} in {len(members)} files, more than the"
            f" {_size(limit_bytes)} of hydra.launcher.code.max_mb. {_named(largest)}"
            " Leave out what the program does not need with hydra.launcher.code.exclude (patterns as in"
            " .gitignore); send data with hydra.launcher.data."
        )
    if total > warn_bytes:
        notes.append(
            f"The code has {_size(total)}. {_named(largest)} hydra.launcher.code.exclude leaves files out."
        )
    members = _hashed(members, cache_dir)
    sha256, path = _archived(members, cache_dir / "code")
    name = f"code/{sha256}.tar.gz"
    return Snapshot(sha256, path, len(members), total, largest, name, notes, tuple(members))


def take_data(path: Path, cache_dir: Path) -> Snapshot:
    """A file or folder of ``hydra.launcher.data``. Only its hashes are taken here: ``upload`` packs it.

    The members' names start with the path's own last part: unpack it into the path's parent. Links that lead
    out of the folder are followed.

    :raises ConfigError: there is no such path, or something in it cannot be read.
    """
    if not path.exists():
        raise ConfigError(
            f"hydra.launcher.data: {path} does not exist on this machine. Correct the path, or take it out."
        )
    try:
        members = _hashed(list(_data_members(path)), cache_dir)
    except OSError as error:
        raise ConfigError(f"hydra.launcher.data: {path} cannot be read: {error}.") from error
    sha256 = archive.digest(members)
    total = sum(member.size for member in members)
    where = cache_dir / "data" / f"{sha256}.tar.gz"
    name = f"data/{sha256}.tar.gz"
    return Snapshot(sha256, where, len(members), total, _largest(members), name, members=tuple(members))


def upload(bucket: Bucket, snapshot: Snapshot) -> str:
    """Puts the archive into the bucket unless it is there, and returns its name there.

    :raises ConfigError: a file has changed since the snapshot was taken.
    """
    if bucket.holds(snapshot.object):
        return snapshot.object
    if snapshot.archive.exists():
        bucket.upload(snapshot.object, snapshot.archive)
        return snapshot.object
    try:
        _pack_unchanged(snapshot)
        bucket.upload(snapshot.object, snapshot.archive)
    finally:
        snapshot.archive.unlink(missing_ok=True)  # data: as large as the original, so not kept on the laptop
    return snapshot.object


def _pack_unchanged(snapshot: Snapshot) -> None:
    why = "a file has another content now"
    try:
        if archive.pack(snapshot.members, snapshot.archive, level=1) == snapshot.sha256:
            return
    except OSError as error:
        why = str(error)
    folder = os.path.commonpath([member.source for member in snapshot.members])
    raise ConfigError(
        f"{folder} changed while it was packed ({why}). Launch again when nothing writes there."
    )


def _archived(members: list[Member], folder: Path) -> tuple[str, Path]:
    """Packs the code unless it was packed before. A file that changes meanwhile travels as it was packed."""
    sha256 = archive.digest(members)
    path = folder / f"{sha256}.tar.gz"
    if path.exists():
        os.utime(path)
        return sha256, path
    packing = folder / f".{sha256}.{os.getpid()}.tar.gz"
    sha256 = archive.pack(members, packing)
    path = folder / f"{sha256}.tar.gz"
    packing.replace(path)
    kept = sorted(folder.glob("*.tar.gz"), key=lambda old: old.stat().st_mtime, reverse=True)
    for old in kept[_KEPT_ARCHIVES:]:
        old.unlink(missing_ok=True)
    return sha256, path


def _code_members(root: Path, names: list[str]) -> tuple[list[Member], list[str]]:
    members, outside = [], []
    for name in names:
        path = root / name
        status = path.lstat()
        if stat.S_ISLNK(status.st_mode):
            target = _inner_target(path, root)
            if target is None:
                outside.append(name)
            else:
                members.append(Member(name, path, 0, target=target))
        elif stat.S_ISREG(status.st_mode):
            members.append(_file(name, path, status))
    notes = [f"Links that lead out of {root} do not travel: {', '.join(outside)}."] if outside else []
    return members, notes


def _data_members(path: Path) -> Iterator[Member]:
    top = path.resolve()
    if top.is_file():
        yield _file(path.name, top, top.stat())
    else:
        yield from _folder_members(top, path.name, top, frozenset({top}))


def _folder_members(folder: Path, prefix: str, top: Path, above: frozenset[Path]) -> Iterator[Member]:
    for entry in sorted(folder.iterdir()):
        name = f"{prefix}/{entry.name}"
        if entry.is_symlink() and (target := _inner_target(entry, top)) is not None:
            yield Member(name, entry, 0, target=target)
        elif entry.is_dir():
            real = entry.resolve()
            if real not in above:  # a link to a folder above would never end
                yield from _folder_members(entry, name, top, above | {real})
        elif entry.is_file() or entry.is_symlink():  # stat says which file a dangling link is missing
            yield _file(name, entry, entry.stat())


def _inner_target(link: Path, root: Path) -> str | None:
    """Where a link leads, relative to its own folder, or None if that is outside of ``root``."""
    target = os.readlink(link)
    if not os.path.isabs(target) and Path(os.path.realpath(link)).is_relative_to(root.resolve()):
        return target
    real_folder = link.parent.resolve()
    absolute = Path(os.path.normpath(real_folder / target))
    return os.path.relpath(absolute, real_folder) if absolute.is_relative_to(root.resolve()) else None


def _file(name: str, path: Path, status: os.stat_result) -> Member:
    return Member(name, path, status.st_size, executable=bool(status.st_mode & stat.S_IXUSR))


def _hashed(members: list[Member], cache_dir: Path) -> list[Member]:
    """:raises OSError: a file cannot be read."""
    files = [member for member in members if member.target is None]
    hashes = iter(FileHashes(cache_dir / "hashes.sqlite").of([member.source for member in files]))
    return [replace(member, sha256=next(hashes)) if member.target is None else member for member in members]


def _largest(members: list[Member]) -> list[tuple[str, int]]:
    by_size = sorted(members, key=lambda member: (-member.size, member.name))
    return [(member.name, member.size) for member in by_size[:_LARGEST]]


def _named(largest: list[tuple[str, int]]) -> str:
    return "The largest: " + ", ".join(f"{name} ({_size(size)})" for name, size in largest) + "."


def _size(count: float) -> str:
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"
