"""Which of several processes watches a sweep, or plays its records: an object that changes hands by compare-and-swap.

No clock is compared with another machine's: who waits counts for how long, by its own clock, the object stays as it is.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from hydra_gce.bucket import Bucket
from hydra_gce.errors import GenerationMismatch, ObjectMissing

SILENCE_S = 30.0
_RENEW_S = SILENCE_S / 3


@dataclass(frozen=True)
class Holder:
    """A process. ``boot`` tells one start of its machine from the next, empty where that is not known. ``background``:
    nobody looks at it, and it makes way for whoever does.
    """

    host: str
    boot: str
    pid: int
    background: bool = False

    @classmethod
    def here(cls, background: bool = False) -> Holder:
        try:
            boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        except OSError:
            boot = ""
        return cls(socket.gethostname(), boot, os.getpid(), background)

    def is_here(self, here: Holder) -> bool:
        """Whether it is, or was, a process of this machine."""
        return bool(self.boot) and self.host == here.host

    def is_dead(self, here: Holder) -> bool:
        """Whether this is certain: of a process on this machine, which runs no more."""
        if not self.is_here(here):
            return False
        if self.boot != here.boot:
            return True
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except OSError:
            return False
        return False


def awake() -> float:
    """Seconds that pass in a machine's sleep too, whatever happens to one of its clocks."""
    return max(time.monotonic() - _FIRST[0], time.time() - _FIRST[1])


_FIRST = time.monotonic(), time.time()


class Lease:
    """``other`` is who holds it instead, while ``hold`` fails."""

    def __init__(
        self, bucket: Bucket, name: str, holder: Holder | None = None, clock: Callable[[], float] = awake
    ) -> None:
        self.other: Holder | None = None
        self._bucket = bucket
        self._name = name
        self._here = holder or Holder.here()
        self._clock = clock
        self._asking = threading.Lock()
        self._generation = 0
        self._renewed: float | None = None
        self._seen: tuple[int, float] | None = None

    def hold(self) -> bool:
        """Takes the lease, or renews it where that is due; False while somebody else has it. Any thread may ask."""
        with self._asking:
            if self._renewed is not None:
                if self._clock() - self._renewed < _RENEW_S:
                    return True
                if self._write(self._generation):
                    return True
                self._renewed = None
            return self._take()

    def release(self) -> None:
        """Gives it up, so that the next one need not wait."""
        if self._renewed is not None and self._clock() - self._renewed < SILENCE_S:
            with suppress(GenerationMismatch):
                self._bucket.write(self._name, b"", if_generation=self._generation)
        self._renewed = None

    def _take(self) -> bool:
        try:
            content, generation = self._bucket.read_generation(self._name)
        except ObjectMissing:
            return self._write(0)
        holder = Holder(**json.loads(content)) if content else None
        if self._seen is None or self._seen[0] != generation:
            self._seen = generation, self._clock()
        silent = self._clock() - self._seen[1] >= SILENCE_S
        if holder is None or holder == self._here or silent or holder.is_dead(self._here):
            return self._write(generation)
        self.other = holder
        return False

    def _write(self, generation: int) -> bool:
        began = self._clock()
        try:
            content = json.dumps(asdict(self._here)).encode()
            self._generation = self._bucket.write(self._name, content, if_generation=generation)
        except GenerationMismatch:
            return False
        self._renewed, self.other = began, None
        return True
