"""Deterministic archives named by what they hold: packed on the laptop, unpacked and checked on a VM.

The name is a digest of the members' names, contents, exec bits and link targets, and not of the archive's own
bytes: those depend on the zlib that made them, the digest is the same on every machine.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass, replace
from io import BufferedReader
from pathlib import Path
from typing import IO

from hydra_gce.errors import SealBroken

_CHUNK = 1 << 20


@dataclass(frozen=True)
class Member:
    """A file, or a symbolic link where ``target`` is set. ``name`` is relative, with forward slashes."""

    name: str
    source: Path
    size: int
    executable: bool = False
    target: str | None = None
    sha256: str = ""


def digest(members: Iterable[Member]) -> str:
    """The digest that names an archive of these members, whose contents are hashed already."""
    sha = hashlib.sha256()
    for member in sorted(members, key=lambda member: member.name):
        if member.target is not None:
            line = f"link\0{member.name}\0{member.target}\0"
        else:
            line = f"{'exec' if member.executable else 'file'}\0{member.name}\0{member.sha256}\0"
        sha.update(line.encode("utf-8", "surrogateescape"))
    return sha.hexdigest()


def pack(members: Iterable[Member], to: Path, *, level: int = 6) -> str:
    """Writes a tar.gz; ``to`` is whole or not there.

    :returns: the digest of what was really packed: another one than before if a file has changed meanwhile.
    :raises OSError: a file has gone or has become shorter.
    """
    to.parent.mkdir(parents=True, exist_ok=True)
    part = to.with_name(f".{to.name}.{os.getpid()}.part")
    packed: list[Member] = []
    try:
        with (
            part.open("wb") as raw,
            gzip.GzipFile(filename="", mode="wb", fileobj=raw, compresslevel=level, mtime=0) as stream,
            tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive,
        ):
            for member in sorted(members, key=lambda member: member.name):
                packed.append(_add(archive, member))
        part.replace(to)
    finally:
        part.unlink(missing_ok=True)
    return digest(packed)


def _add(archive: tarfile.TarFile, member: Member) -> Member:
    info = tarfile.TarInfo(member.name)
    info.mtime = _mtime(member)
    if member.target is not None:
        info.type, info.linkname, info.mode = tarfile.SYMTYPE, member.target, 0o777
        archive.addfile(info)
        return member
    info.mode = 0o755 if member.executable else 0o644
    with member.source.open("rb") as file:
        info.size = os.fstat(file.fileno()).st_size
        hashing = _Hashing(file)
        archive.addfile(info, hashing)
    return replace(member, size=info.size, sha256=hashing.sha.hexdigest())


def _mtime(member: Member) -> int:
    """A moment of the year 2000 that follows from the content.

    Python takes a module's cached bytecode for valid by size and time: two versions must not share both.
    """
    return 946_684_800 + int(member.sha256[:6] or "0", 16)


class _Hashing:
    def __init__(self, file: BufferedReader) -> None:
        self._file = file
        self.sha = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        block = self._file.read(size)
        self.sha.update(block)
        return block


def extract(archive: Path, to: Path, sha256: str | None = None) -> None:
    """Unpacks into ``to``, over what is there. Nothing is written outside of it.

    :param sha256: the digest that the archive was named by; it is checked when all is unpacked.
    :raises SealBroken: a member would leave ``to``, or the content is not what its name says.
    """
    to.mkdir(parents=True, exist_ok=True)
    root = to.resolve()
    found: list[Member] = []
    links: list[Member] = []
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for info in tar:
                member = _checked(info, root, archive)
                if member is None:
                    continue
                if member.target is not None:
                    links.append(member)  # made at the end, so that no file is written by way of one
                    continue
                content = tar.extractfile(info)
                assert content is not None  # _checked let only regular files pass
                found.append(_write(content, member, info.mtime))
    except (tarfile.TarError, EOFError, gzip.BadGzipFile) as error:
        raise SealBroken(f"{archive.name} is damaged or cut short: {error}") from error
    for link in links:
        _link(link, root, archive)
    if sha256 is not None and digest([*found, *links]) != sha256:
        raise SealBroken(f"{archive.name} does not hold what its name says: it was changed in the bucket")


def _checked(info: tarfile.TarInfo, root: Path, archive: Path) -> Member | None:
    path = root / info.name
    if info.name.startswith("/") or not _is_inside(path.parent, root) or path.name in ("", ".."):
        raise SealBroken(f"{archive.name} holds {info.name!r}, which lies outside; it was not unpacked")
    if info.isdir():
        return None
    if not (info.isreg() or info.issym()):
        raise SealBroken(f"{archive.name} holds {info.name!r}, which is neither a file nor a symbolic link")
    if hasattr(tarfile, "data_filter"):
        try:
            tarfile.data_filter(info, str(root))
        except tarfile.FilterError as error:
            raise SealBroken(f"{archive.name}: {error}; it was not unpacked") from error
    return Member(
        name=info.name,
        source=path,
        size=info.size,
        executable=bool(info.mode & 0o100) and not info.issym(),
        target=info.linkname if info.issym() else None,
    )


def _write(content: IO[bytes], member: Member, mtime: float) -> Member:
    path = member.source
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    sha = hashlib.sha256()
    with path.open("xb") as file:
        while block := content.read(_CHUNK):
            sha.update(block)
            file.write(block)
    path.chmod(0o755 if member.executable else 0o644)
    os.utime(path, (mtime, mtime))
    return replace(member, sha256=sha.hexdigest())


def _link(member: Member, root: Path, archive: Path) -> None:
    path = member.source
    assert member.target is not None
    if os.path.isabs(member.target) or not _is_inside(path.parent / member.target, root):
        raise SealBroken(f"{archive.name} links {member.name!r} to {member.target!r}, which lies outside")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.symlink_to(member.target)


def _is_inside(path: Path, root: Path) -> bool:
    return Path(os.path.realpath(path)).is_relative_to(root)
