"""The serial console: chunk files named by their offset, of which the last MiB is kept, as Compute Engine does.

Chunks let the API server read while the hypervisor writes, and forget old output without moving offsets.
"""

from __future__ import annotations

import os

KEPT = 1 << 20
CHUNK = 1 << 18


class SerialConsole:
    """Writing end, used by the hypervisor alone."""

    def __init__(self, directory: str) -> None:
        os.makedirs(directory, exist_ok=True)
        self._directory = directory
        chunks = _chunks(directory)
        self._offset = chunks[-1] if chunks else 0
        self._file = open(self._path(self._offset), "ab", buffering=0)  # noqa: SIM115 - lives as long as the VM

    def write(self, content: bytes) -> None:
        self._file.write(content)
        size = self._file.tell()
        if size >= CHUNK:
            self._file.close()
            self._offset += size
            self._file = open(self._path(self._offset), "ab", buffering=0)  # noqa: SIM115
            self._forget()

    def close(self) -> None:
        self._file.close()

    def _forget(self) -> None:
        chunks = _chunks(self._directory)
        for chunk, following in zip(chunks, chunks[1:], strict=False):  # noqa: RUF007 - itertools takes time to import
            if following <= self._offset - KEPT:
                os.unlink(self._path(chunk))

    def _path(self, offset: int) -> str:
        return os.path.join(self._directory, f"{offset:020d}")


def read(directory: str, start: int) -> tuple[int, bytes]:
    """The output from start on, and the offset where it begins: later than start if that is forgotten already."""
    content, first = b"", 0
    for chunk in _chunks(directory):
        try:
            with open(os.path.join(directory, f"{chunk:020d}"), "rb") as file:
                piece = file.read()
        except FileNotFoundError:  # forgotten by the writer since we listed it
            piece = b""
        if chunk != first + len(content):
            content, first = b"", chunk
        content += piece
    end = first + len(content)
    begin = min(max(start, first, end - KEPT), end)
    return begin, content[begin - first :]


def _chunks(directory: str) -> list[int]:
    try:
        return sorted(int(name) for name in os.listdir(directory))
    except FileNotFoundError:
        return []
