"""The journal: every change that a program made through MLflow, one JSON object per line, append-only.

``{"seq":7,"time":1760000000.250,"op":"batch","args":{…},"crc":"1f2e3d4c"}`` — ``seq`` counts from 1 without a
gap, ``crc`` is the CRC-32 of the same line without it. Nothing here imports MLflow: the agent reads journals
too.
"""

from __future__ import annotations

import errno
import json
import os
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from hydra_gce.errors import HydraGCEError

if sys.platform != "win32":  # where journals are only read
    import fcntl

FILE_NAME = "journal.jsonl"
_CRC_SUFFIX = len(',"crc":"00000000"}')
_TAIL = 512 * 1024
_PART = 4 * 1024 * 1024
NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
"""What a write fails with on a full disk."""
_LOOK_FOR_ROOM_S = 0.2
_encoded = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode
_decoded = json.JSONDecoder().raw_decode

_End = tuple[int, int]
"""A journal file's size in bytes, and the number of its last record. Together, so that both change at once."""

_forks = 0
"""How many lie between this process and the one that imported this: to compare them is quicker than to call getpid."""


def _forked() -> None:
    global _forks
    _forks += 1


if sys.platform != "win32":
    os.register_at_fork(after_in_child=_forked)


class JournalDamaged(HydraGCEError):
    """A line of a journal that is not what was written; the message names it."""


class NoRoom(OSError):
    """The disk is full. What was to be recorded is not, and whoever records it is told."""


class Record(NamedTuple):
    """One change. ``time`` is when it was written, in seconds since the epoch, and milliseconds in a journal; ``args``
    are JSON values.
    """

    seq: int
    time: float
    op: str
    args: dict[str, Any]


@dataclass(frozen=True)
class MetricPoint:
    name: str
    step: int
    value: float


def encode(record: Record) -> bytes:
    """The record's line, with its end of line."""
    return _line(record.seq, record.time, record.op, _encoded(record.args))


def _line(seq: int, time: float, op: str, args: str) -> bytes:
    """``args`` as JSON."""
    body = f'{{"seq":{seq},"time":{time:.3f},"op":"{op}","args":{args}}}'.encode()
    return body[:-1] + b',"crc":"%08x"}\n' % zlib.crc32(body)


def decode(line: bytes, place: str) -> Record:
    """The record of a line without its end.

    :raises JournalDamaged: the checksum does not hold; ``place`` ("journal/000-000003.jsonl, line 17") is
    named.
    """
    body, suffix = line[:-_CRC_SUFFIX] + b"}", line[-_CRC_SUFFIX:]
    if suffix != b',"crc":"%08x"}' % zlib.crc32(body):
        raise JournalDamaged(
            f"{place} of the MLflow journal is damaged (its checksum does not hold), "
            "so the change it recorded is not known"
        )
    fields, _ = _decoded(body.decode())
    return Record(fields["seq"], fields["time"], fields["op"], fields["args"])


def read(content: bytes, place: str) -> Iterator[Record | JournalDamaged]:
    """The records of whole lines, in order; in the place of a damaged line, the error that names it.

    A last line without an end is being written still, and is left out.
    """
    lines = content.split(b"\n")[:-1]
    for number, line in enumerate(lines, 1):
        try:
            yield decode(line, f"{place}, line {number}")
        except JournalDamaged as damage:
            yield damage


def verify(path: Path) -> int:
    """The number of the last record of a whole journal file, 0 for none.

    :raises JournalDamaged: a line is damaged or missing.
    """
    last = 0
    for record in read(path.read_bytes(), path.name):
        if isinstance(record, JournalDamaged):
            raise record
        if record.seq != last + 1:
            raise JournalDamaged(
                f"{path.name}: record {last + 1} of the MLflow journal is missing ({record.seq} is next)"
            )
        last = record.seq
    return last


class Journal:
    """Appends records to a journal file; several threads and processes may do so at once.

    A process that died in the middle of a line leaves a torn end: nobody was told that it was written, and
    the next writer cuts it off.

    On a full disk a writer waits, ``patience_s`` at most: the agent makes room there, as it can.
    """

    def __init__(self, path: Path, patience_s: float = 60.0) -> None:
        self.path = path
        self._patience_s = patience_s
        self.exclusive: AbstractContextManager[None] = _Exclusive(self)
        """Nobody else appends meanwhile, in this process or another."""
        self.others_wrote = False
        """Whether other processes have appended; who asks sets it back. The caller holds the journal."""
        self._fd = -1
        self._forks = -1
        self._end: _End = (0, 0)
        self._appending = False
        self._interrupting: list[tuple[str, str, float]] = []

    def append(self, op: str, args: dict[str, Any], time: float) -> None:
        """Writes one record.

        :raises NoRoom: the disk is full and stays so. The record is not written, those before it are whole.
        """
        with self.exclusive:
            self.append_json(op, _encoded(args), time)

    def append_json(self, op: str, args: str, time: float) -> None:
        """As ``append``, with ``args`` as JSON without white space. The caller holds the journal."""
        if self._appending:
            # By a signal's handler, which interrupted this very method: its record goes after that one.
            self._interrupting.append((op, args, time))
            return
        self._appending = True
        try:
            size, last = self._end
            line = _line(last + 1, time, op, args)
            self._patiently(_write_whole, self._fd, line, size)
            self._end = (size + len(line), last + 1)
        finally:
            self._appending = False
            if self._interrupting:
                self._append_interrupting()

    def _append_interrupting(self) -> None:
        # A handler may have raised, too: whether the record that it interrupted was written, the file knows.
        self.catch_up()
        while self._interrupting:
            self.append_json(*self._interrupting.pop(0))

    def wait_for_room(self, least: int) -> None:
        """Until so many bytes may be written beside the journal.

        :raises NoRoom: the disk is full and stays so.
        """

        def look() -> None:
            state = os.statvfs(self.path.parent)
            if state.f_bavail * state.f_frsize < least:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        self._patiently(look)

    def _patiently(self, write: Callable[..., None], *args: Any) -> None:
        until = None
        while True:
            try:
                write(*args)
                return
            except OSError as error:
                if error.errno not in NO_ROOM:
                    raise
                until = until or time.monotonic() + self._patience_s
                if time.monotonic() >= until:
                    raise NoRoom(error.errno, self._complaint(error), str(self.path)) from error
            time.sleep(_LOOK_FOR_ROOM_S)

    def _complaint(self, error: OSError) -> str:
        return (
            f"{error.strerror}: there was no room for MLflow's records for {self._patience_s:g} s, and this one is not "
            "kept. hydra.launcher.vm.disk_gb sets the size of the disk"
        )

    def size(self) -> int:
        """Bytes that the file has now, a torn end included."""
        try:
            return self.path.stat().st_size
        except FileNotFoundError:
            return 0

    def lines_from(self, offset: int, most: int) -> bytes:
        """Whole lines from ``offset`` on: ``most`` bytes, or one line that is longer. The caller holds the journal."""
        end = self.size()
        content = os.pread(self._fd, min(most, end - offset), offset) if end > offset else b""
        while b"\n" not in content and offset + len(content) < end:
            content += os.pread(self._fd, most, offset + len(content))
        return content[: content.rfind(b"\n") + 1]

    def file(self) -> int:
        """The descriptor that locks and lines go to."""
        # A lock belongs to the open file, which a forked child shares with its parent: it would not keep them
        # apart.
        if self._forks != _forks:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
            self._forks, self._end, self.others_wrote = _forks, (0, 0), True
        return self._fd

    def catch_up(self) -> None:
        """Learns what other processes have appended since. For who has just come to hold the journal."""
        # Asked again until both agree: a signal's handler may append anywhere in here.
        while (size := os.lseek(self._fd, 0, os.SEEK_END)) != self._end[0]:  # half of fstat's time
            self.others_wrote = True
            self._end = self._read_on(self._end, size)

    def _read_on(self, end: _End, size: int) -> _End:
        """The end of a file of ``size`` bytes, or more by now, whose torn end is cut off.

        :raises JournalDamaged: it is shorter than it was.
        """
        known, _ = end
        if size < known and os.lseek(self._fd, 0, os.SEEK_END) < known:
            raise JournalDamaged(f"{self.path} was cut off: records of MLflow are missing in it")
        new = os.pread(self._fd, size - known, known) if size > known else b""
        whole = new.rfind(b"\n") + 1
        if whole < len(new):
            os.ftruncate(self._fd, known + whole)
        if not whole:
            return end
        start = new.rfind(b"\n", 0, whole - 1) + 1
        last = decode(new[start : whole - 1], f"the last line of {self.path.name}")
        return known + whole, last.seq


class _Exclusive:
    """A lock among this process's threads, which may take it again, and all other processes.

    A signal's handler may take it anywhere in here, too.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._threads = threading.RLock()
        self._depth = 0
        self._unlocked = 0

    def __enter__(self) -> None:
        self._threads.acquire()
        try:
            if self._depth == 0:
                self._lock()
            else:
                self._depth += 1
        except BaseException:
            self._threads.release()
            raise

    def __exit__(self, *_: object) -> None:
        try:
            self._depth -= 1
            if self._depth == 0:
                fcntl.flock(self._journal.file(), fcntl.LOCK_UN)
                self._unlocked += 1
        finally:
            self._threads.release()

    def _lock(self) -> None:
        fd = self._journal.file()
        unlocked = -1
        try:
            # Else a signal's handler came in between, and unlocked it in the end.
            while unlocked != self._unlocked:
                self._depth, unlocked = 0, self._unlocked
                fcntl.flock(fd, fcntl.LOCK_EX)
                self._journal.catch_up()
                self._depth = 1
        except BaseException:
            self._depth = 0
            fcntl.flock(fd, fcntl.LOCK_UN)
            raise


def _write_whole(fd: int, line: bytes, size: int) -> None:
    """Appends to a file of ``size`` bytes."""
    try:
        written = os.write(fd, line)
        while written < len(line):
            written += os.write(fd, line[written:])
    except OSError:
        os.ftruncate(fd, size)  # a full disk: what could not be written whole is not written
        raise


class JournalParts:
    """Cuts a growing journal into parts for upload: whole lines, each once, in order."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0

    def new_part(self) -> bytes | None:
        """Whole lines written since the last call, about 4 MiB at most; None where there are none.

        Call again until None. The caller uploads a part before it asks for the next.
        """
        try:
            file = self._path.open("rb")
        except FileNotFoundError:
            return None
        with file:
            os.fsync(file.fileno())  # the program that wrote it did not wait for the disk
            file.seek(self._offset)
            content = file.read(_PART)
            while content and b"\n" not in content and (more := file.read(_PART)):
                content += more
        part = content[: content.rfind(b"\n") + 1]
        self._offset += len(part)
        return part or None


def name_of(path: Path, value: float) -> str:
    """The metric whose newest value is ``value``, of those that the journal's end holds; empty where there is none."""
    seen: set[str] = set()
    for point in _newest_first(path):
        if point.name not in seen and point.value == value:
            return point.name
        seen.add(point.name)
    return ""


def _newest_first(path: Path) -> Iterable[MetricPoint]:
    for line in reversed(_tail_lines(path)):
        if b'"op":"batch"' not in line:
            continue
        try:
            record = decode(line, path.name)
        except JournalDamaged:
            continue  # the relay names it
        for key, value, _timestamp, step, *_ in reversed(record.args["metrics"]):
            if not key.startswith("system/"):
                yield MetricPoint(key, step, float(value))


def _tail_lines(path: Path) -> list[bytes]:
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return []
    with file:
        start = max(0, file.seek(0, os.SEEK_END) - _TAIL)
        file.seek(start)
        lines = file.read().split(b"\n")[:-1]
    return lines[1:] if start else lines
