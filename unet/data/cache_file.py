"""A file with the decoded pixels of all examples, which later trainings find again.

The pixels come first, image and mask in turn, then a table of where each begins, then a trailer. The file gets its
name when it is whole; the name is the fingerprint of what the pixels were decoded from.
"""

import contextlib
import logging
import mmap
import os
import struct
import tempfile
import time
import zlib
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

from unet.data.examples import Example

log = logging.getLogger(__name__)

UNUSED_DAYS = 30

TABLE = np.dtype(
    [
        ("offset", "<u8"),
        ("height", "<u4"),
        ("width", "<u4"),
        ("bytes", "u1"),  # of a pixel of a channel: 1 or 2
        ("brightest", "<u2"),
        ("only_class", "<i2"),  # the class of all pixels, or -1
    ]
)
Table = npt.NDArray[np.void]

_ALIGNMENT = 64
_TRAILER = struct.Struct("<8s32sQQI")
_MAGIC = b"unet\x00px1"


class FileStore:
    """Examples in a file, which the system keeps in memory as far as there is room."""

    def __init__(self, path: Path, table: Table, channels: int) -> None:
        self._table, self._channels = table, channels
        with path.open("rb") as file:
            self._pixels = np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)

    def read(self, number: int) -> Example:
        row = self._table[number]
        height, width, start = int(row["height"]), int(row["width"]), int(row["offset"])
        middle = start + height * width * self._channels * int(row["bytes"])
        kind = np.uint8 if row["bytes"] == 1 else np.uint16
        image = self._pixels[start:middle].view(kind).reshape(height, width, self._channels)
        return Example(image, self._pixels[middle : middle + height * width].reshape(height, width))


class CacheFile:
    """A cache file that is being written.

    Raises:
        OSError: by any method, when the disk does not take it.
    """

    def __init__(self, folder: Path, fingerprint: str, table: Table) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path, self._table = folder / f"{fingerprint[:32]}.pixels", table
        self._fingerprint = bytes.fromhex(fingerprint)
        _clear(folder)
        handle, name = tempfile.mkstemp(".partial", self._path.stem, folder)
        self._partial, self._file, self.end = Path(name), os.fdopen(handle, "wb"), 0

    def put(self, number: int, example: Example) -> None:
        self._write(bytes(-self.end % _ALIGNMENT))
        self._table["offset"][number] = self.end
        self._write(np.ascontiguousarray(example.image).data)
        self._write(np.ascontiguousarray(example.mask).data)

    def finish(self, channels: int) -> FileStore:
        """Give the file its name, and open it."""
        table, start = self._table.tobytes(), self.end
        self._write(table)
        count = len(self._table)
        self._write(_TRAILER.pack(_MAGIC, self._fingerprint, count, start, zlib.crc32(table)))
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        os.replace(self._partial, self._path)
        return FileStore(self._path, self._table, channels)

    def abandon(self) -> None:
        """Leave nothing behind."""
        with contextlib.suppress(OSError):  # what it still had to write is not wanted any more
            self._file.close()
        self._partial.unlink(missing_ok=True)

    def _write(self, data: bytes | memoryview) -> None:
        view = memoryview(data).cast("B")
        self._file.write(view)
        self.end += view.nbytes


def find_cache_file(
    folder: Path, fingerprint: str, count: int, channels: int
) -> tuple[FileStore, Table] | None:
    """The cache file of this fingerprint, unless there is none or it is not whole."""
    path = folder / f"{fingerprint[:32]}.pixels"
    try:
        with path.open("rb") as file:
            table = _read_table(file, bytes.fromhex(fingerprint), count)
        if table is None:
            log.warning("The cache file %s is damaged; it is made again.", path)
            return None
        os.utime(path)  # used today: not to be cleared
        return FileStore(path, table, channels), table
    except FileNotFoundError:
        return None
    except OSError as error:
        log.warning("The cache file %s cannot be read (%s); it is made again.", path, error.strerror or error)
        return None


def _read_table(file: IO[bytes], fingerprint: bytes, count: int) -> Table | None:
    size = os.fstat(file.fileno()).st_size
    end = size - _TRAILER.size
    if end < 0:
        return None
    file.seek(end)
    magic, of, length, start, checksum = _TRAILER.unpack(file.read(_TRAILER.size))
    if magic != _MAGIC or of != fingerprint or length != count or start + count * TABLE.itemsize != end:
        return None
    file.seek(start)
    table = file.read(end - start)
    return np.frombuffer(table, TABLE) if zlib.crc32(table) == checksum else None


def _clear(folder: Path) -> None:
    """Remove what nobody has used for a month, and what somebody left half-written."""
    now = time.time()
    for path in [*folder.glob("*.pixels"), *folder.glob("*.partial")]:
        days = UNUSED_DAYS if path.suffix == ".pixels" else 2
        try:
            if now - path.stat().st_mtime > days * 86400:
                path.unlink()
        except OSError:
            continue  # another training was faster, or it is another person's
