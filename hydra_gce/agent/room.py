"""How much room is left on a VM's disk: told before it is gone, and made where the bucket has what lies there."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path

log = logging.getLogger(__name__)

_LOW_SHARE = 0.05
_LOW_BYTES = 1_000_000_000
_FULL_SHARE = 0.005
_FULL_BYTES = 16_000_000
_AGAIN = (
    1.5  # so much more than is low has to be free before it is well again: no warning that comes and goes
)


class Room:
    """The disks that ``directories`` lie on; ``ways`` free some of what is there, each until it need not go on.

    ``warning`` is one sentence for the person, empty while there is enough. It stays as it is until things are
    better, or worse, so that it is said once.
    """

    def __init__(self, machine: str, directories: Sequence[Path]) -> None:
        self._machine = machine
        self._directories = directories
        self._level = 0
        self.ways: list[Callable[[Callable[[], bool]], None]] = []
        self.warning = ""

    def look(self) -> bool:
        """Whether little is left, on whichever disk has the least."""
        free, size = min((_room_at(directory) for directory in self._directories), key=lambda room: room[0])
        low, full = min(_LOW_BYTES, _LOW_SHARE * size), min(_FULL_BYTES, _FULL_SHARE * size)
        level = 2 if free < full else 1 if free < low else 0
        if level == 0 and self._level and free < low * _AGAIN:
            level = 1
        if level > self._level:
            what = "is full" if level == 2 else "is nearly full"
            self.warning = (
                f"the disk of VM {self._machine} {what}: {_in_words(free)} of {_in_words(size)} are left. What the "
                "bucket has already is removed there; hydra.launcher.vm.disk_gb gives the next ones a larger disk"
            )
            log.warning("%s", self.warning)
        elif level == 0:
            self.warning = ""
        self._level = max(level, self._level) if level else 0
        return level > 0

    def make(self) -> None:
        """Frees what need not be here, as long as little is left."""
        for way in self.ways:
            if not self.look():
                return
            way(self.look)


def archives_in(directory: Path) -> Callable[[Callable[[], bool]], None]:
    """A way to free: archives that were unpacked. The VM's next job fetches them anew."""

    def free(is_low: Callable[[], bool]) -> None:
        for archive in sorted(directory.glob("*.tar.gz")):
            if is_low():
                archive.unlink(missing_ok=True)

    return free


def _room_at(directory: Path) -> tuple[int, int]:
    """Bytes that a program may still write, and the size of the disk."""
    state = os.statvfs(directory)
    return state.f_bavail * state.f_frsize, state.f_blocks * state.f_frsize


def _in_words(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"
