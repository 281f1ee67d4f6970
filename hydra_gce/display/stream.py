"""A stream that goes quiet when its reader or terminal is gone, and writes what its encoding can."""

from __future__ import annotations

import io
import os
from typing import IO

_IN_ASCII = str.maketrans("▁▂▃▄▅▆▇█░·→…", "__--==##.->~")


class LenientStream(io.TextIOBase):
    """Stands before ``stream``. A sweep costs money and must not end because ``| head`` has seen enough."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self.gone = False

    @property
    def encoding(self) -> str:  # type: ignore[override]  # typeshed declares an attribute
        return getattr(self._stream, "encoding", None) or "utf-8"

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return not self.gone and not self._stream.closed and self._stream.isatty()

    def fileno(self) -> int:
        return self._stream.fileno()

    def write(self, text: str, /) -> int:
        if not self.gone:
            try:
                self._write_encodable(text)
            except (OSError, ValueError) as error:  # ValueError: somebody closed the stream
                self._let_go(error)
        return len(text)

    def flush(self) -> None:
        if not self.gone:
            try:
                self._stream.flush()
            except (OSError, ValueError) as error:
                self._let_go(error)

    def _write_encodable(self, text: str) -> None:
        try:
            self._stream.write(text)
        except UnicodeEncodeError:
            poorer = text.translate(_IN_ASCII)
            self._stream.write(poorer.encode(self.encoding, "replace").decode(self.encoding))

    def _let_go(self, error: Exception) -> None:
        self.gone = True
        if isinstance(error, BrokenPipeError):
            _drain_into_nowhere(self._stream)


def _drain_into_nowhere(stream: IO[str]) -> None:
    """What is still buffered would break the pipe again when Python flushes it at its end.

    https://docs.python.org/3/library/signal.html#note-on-sigpipe
    """
    try:
        descriptor = stream.fileno()
    except (OSError, ValueError):  # not a file: nothing is flushed at the end
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)
