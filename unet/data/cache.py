"""Where decoded pixels are kept: in memory, in a file that later trainings find again, or nowhere."""

import errno
import logging
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import platformdirs
import psutil

from unet.data.cache_file import CacheFile, FileStore, Table
from unet.data.examples import Example

log = logging.getLogger(__name__)

GIB = 2**30
MEMORY_LIMIT = 4 * GIB
DISK_RESERVE = GIB
"""Left to checkpoints and logs."""


class Store(Protocol):
    """Decoded examples."""

    def read(self, number: int) -> Example: ...


@dataclass(frozen=True)
class Room:
    """Bytes that may be taken."""

    memory: int
    disk: int

    @classmethod
    def here(cls, folder: Path) -> "Room":
        """A quarter of the memory that is free, and the disk without a reserve."""
        return cls(min(MEMORY_LIMIT, _available_memory() // 4), max(0, _free_disk(folder) - DISK_RESERVE))


def cache_folder(cache_dir: str | None) -> Path:
    """Where cache files lie."""
    return (
        Path(cache_dir).expanduser() if cache_dir else platformdirs.user_cache_path("unet", appauthor=False)
    )


def byte_size(example: Example) -> int:
    """What an example takes, decoded."""
    return int(example.image.nbytes + example.mask.nbytes)


class MemoryStore:
    """Examples in memory."""

    def __init__(self, count: int) -> None:
        self._examples: list[Example | None] = [None] * count

    def put(self, number: int, example: Example) -> None:
        for array in (example.image, example.mask):
            array.flags.writeable = False
        self._examples[number] = example

    def taken(self) -> Iterator[tuple[int, Example]]:
        """Those that are here, each let go when the next one is asked for."""
        for number, example in enumerate(self._examples):
            if example is not None:
                self._examples[number] = None
                yield number, example

    def read(self, number: int) -> Example:
        example = self._examples[number]
        assert example is not None, "put before it is read"
        return example


class Keeper:
    """Takes decoded examples from several threads, and decides while they come where they are kept.

    Args:
        kind: auto, memory, file or none.
        table: its rows are filled in by the one who puts an example, but for the offset.
    """

    def __init__(self, kind: str, folder: Path, fingerprint: str, table: Table, room: Room) -> None:
        self._kind, self._folder, self._fingerprint, self._room = kind, folder, fingerprint, room
        self._table, self._count = table, len(table)
        self._lock = threading.Lock()
        self._taken = self._put = 0
        self._memory = MemoryStore(self._count) if kind in ("auto", "memory") else None
        self._file: CacheFile | None = None
        self.said = {
            "memory": "data.cache=memory",
            "file": "data.cache=file",
            "none": "data.cache=none: every image is decoded each time it is used",
        }.get(kind, "")
        if kind == "file":
            self._guarded(self._open_file)

    def put(self, number: int, example: Example) -> None:
        """Keep it, or not."""
        with self._lock:
            self._taken += byte_size(example)
            self._put += 1
            if self._memory is not None:
                self._memory.put(number, example)
                if self._kind == "auto" and self._taken > self._room.memory:
                    self._spill(self._memory)
            elif self._file is not None:
                self._guarded(self._into_file, number, example)

    def finish(self, channels: int) -> Store | None:
        """Where the examples are now; None: nowhere."""
        if self._memory is not None:
            self.said = (
                self.said or f"{_amount(self._taken)} fit into {_amount(self._room.memory)} of free memory"
            )
            log.info("Decoded images are kept in memory (%s, %s).", _amount(self._taken), self.said)
            return self._memory
        store: list[FileStore] = []
        if self._file is not None:
            file = self._file
            self._guarded(lambda: store.append(file.finish(channels)))
        if store:
            log.info(
                "Decoded images are kept in a file in %s (%s, %s).",
                self._folder,
                _amount(self._taken),
                self.said,
            )
            return store[0]
        log.info("Decoded images are not kept (%s).", self.said)
        return None

    def abandon(self) -> None:
        """The examples are not wanted after all."""
        if self._file is not None:
            self._file.abandon()

    def _spill(self, memory: MemoryStore) -> None:
        """The memory is full: go on in a file if the disk will have room for all, else keep nothing."""
        expected = self._taken * self._count // self._put
        self._memory = None
        if expected > self._room.disk:
            self.said = (
                f"about {_amount(expected)} are too much for {_amount(self._room.memory)} of free memory and "
                f"{_amount(self._room.disk)} of free disk in {self._folder}; data.cache_dir may name a larger disk"
            )
            return
        self.said = f"about {_amount(expected)} are too much for {_amount(self._room.memory)} of free memory"
        self._guarded(self._open_file)
        for number, example in memory.taken():
            if self._file is not None:
                self._guarded(self._into_file, number, example)

    def _open_file(self) -> None:
        self._file = CacheFile(self._folder, self._fingerprint, self._table)

    def _into_file(self, number: int, example: Example) -> None:
        assert self._file is not None
        if self._file.end + byte_size(example) > self._room.disk:
            raise OSError(
                errno.ENOSPC, os.strerror(errno.ENOSPC)
            )  # before others have no room for a checkpoint
        self._file.put(number, example)

    def _guarded(self, action: Callable[..., None], *arguments: object) -> None:
        try:
            action(*arguments)
        except OSError as error:
            reason = error.strerror or str(error)
            log.warning(
                "The cache in %s cannot be written (%s): images are decoded each time they are used. Make room "
                "there, or name another disk by data.cache_dir.",
                self._folder,
                reason,
            )
            self.said = reason
            self.abandon()
            self._file = None


def _available_memory() -> int:
    """Bytes, as far as the container that this may run in lets them be used."""
    available = int(psutil.virtual_memory().available)
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text()
        used = Path("/sys/fs/cgroup/memory.current").read_text()
        return min(available, max(0, int(limit) - int(used)))
    except (OSError, ValueError):  # no container, or one without a limit
        return available


def _free_disk(folder: Path) -> int:
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return psutil.disk_usage(str(folder)).free


def _amount(count: int) -> str:
    for unit, size in (("GB", 10**9), ("MB", 10**6)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count / 1000:.0f} kB"
