"""Which of several processes watches a sweep, or plays its records: an object that changes hands by compare-and-swap.

No clock is compared with another machine's: who waits counts for how long, by its own clock, the object stays as it is.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from hydra_gce.bucket import Bucket
from hydra_gce.errors import GenerationMismatch, ObjectMissing

SILENCE_S = 30.0
_RENEW_S = SILENCE_S / 3


@dataclass(frozen=True)
class Holder:
    """A process. ``boot`` tells one start of its machine from the next, ``began`` one process of that number from
    another: both empty where that is not known. ``background``: nobody looks at it, and it makes way for whoever does.
    """

    host: str
    boot: str
    pid: int
    background: bool = False
    began: str = ""

    @classmethod
    def here(cls, background: bool = False) -> Holder:
        try:
            boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        except OSError:
            boot = ""
        return cls(socket.gethostname(), boot, os.getpid(), background, _beginning(os.getpid()))

    @classmethod
    def named_in(cls, content: bytes) -> Holder | None:
        """Who says so in a lease; None where nobody holds it. What another version has written besides is left out."""
        if not content:
            return None
        try:
            said = json.loads(content)
            known = {one.name for one in fields(cls)}
            return cls(**{name: value for name, value in said.items() if name in known})
        except (ValueError, TypeError, AttributeError):
            return cls("an unknown machine", "", 0)

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
        return bool(self.began) and self.began != _beginning(self.pid)


def _beginning(pid: int) -> str:
    """When the process began, in the system's own words; empty where it does not tell, or there is none."""
    try:
        # What follows the command's closing parenthesis; field 22 of proc_pid_stat(5) is its start after boot.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""


class Awake:
    """Seconds that pass in a machine's sleep too, whatever happens to one of its clocks: they never go back."""

    def __init__(
        self, steady: Callable[[], float] = time.monotonic, wall: Callable[[], float] = time.time
    ) -> None:
        self._clocks = steady, wall
        self._seen = steady(), wall()
        self._passed = 0.0
        self._lock = threading.Lock()

    def __call__(self) -> float:
        with self._lock:
            now = self._clocks[0](), self._clocks[1]()
            self._passed += max(0.0, now[0] - self._seen[0], now[1] - self._seen[1])
            self._seen = now
            return self._passed


awake = Awake()


class Lease:
    """``other`` is who holds it instead, while ``hold`` fails; ``other_lives``: it was seen to renew it. ``terms``
    counts how often this one has taken it: in between somebody else may have had it.
    """

    def __init__(
        self, bucket: Bucket, name: str, holder: Holder | None = None, clock: Callable[[], float] = awake
    ) -> None:
        self.other: Holder | None = None
        self.other_lives = False
        self.terms = 0
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

    @property
    def is_certain(self) -> bool:
        """Whether nobody else can have it at this moment, by what was heard last."""
        return self._renewed is not None and self._clock() - self._renewed < SILENCE_S

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Renews it meanwhile, in a thread of its own."""
        over = threading.Event()

        def keep() -> None:
            while not over.wait(_RENEW_S / 2):
                with suppress(Exception):  # it is tried again; who waits for it is patient
                    self.hold()

        thread = threading.Thread(target=keep, name="lease", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def release(self) -> None:
        """Gives it up, so that the next one need not wait."""
        if self.is_certain:
            with suppress(GenerationMismatch):
                self._bucket.write(self._name, b"", if_generation=self._generation)
        self._renewed = None

    def _take(self) -> bool:
        try:
            content, generation = self._bucket.read_generation(self._name)
        except ObjectMissing:
            return self._begin_term(0)
        holder = Holder.named_in(content)
        if self._seen is None or self._seen[0] != generation:
            self.other_lives = self._seen is not None and self.other == holder
            self._seen = generation, self._clock()
        silent = self._clock() - self._seen[1] >= SILENCE_S
        if holder is None or holder == self._here or silent or holder.is_dead(self._here):
            return self._begin_term(generation)
        self.other = holder
        return False

    def _begin_term(self, generation: int) -> bool:
        taken = self._write(generation)
        self.terms += taken
        return taken

    def _write(self, generation: int) -> bool:
        began = self._clock()
        try:
            content = json.dumps(asdict(self._here)).encode()
            self._generation = self._bucket.write(self._name, content, if_generation=generation)
        except GenerationMismatch:
            return False
        self._renewed, self.other = began, None
        return True
