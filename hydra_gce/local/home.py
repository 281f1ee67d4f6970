"""Where the embedded cloud keeps its things, and how a process finds the server that runs there.

Imported by `ensure`, which has to be quick: the standard library's small modules only.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

PROJECT = "hydra-gce-local"


@dataclass(frozen=True)
class Running:
    """A server that answers: its process and its two addresses."""

    pid: int
    compute_port: int
    storage_port: int

    @property
    def compute(self) -> str:
        """Address of Compute Engine, for `client_options.api_endpoint`."""
        return f"http://127.0.0.1:{self.compute_port}"

    @property
    def storage(self) -> str:
        """Address of Cloud Storage."""
        return f"http://127.0.0.1:{self.storage_port}"


@dataclass(frozen=True)
class Home:
    """The directory of one embedded cloud. Two homes are two clouds that know nothing of each other."""

    path: Path

    @property
    def state(self) -> Path:
        """The sqlite file."""
        return self.path / "state.sqlite"

    @property
    def machines(self) -> Path:
        """One directory per VM, named by its id."""
        return self.path / "vms"

    @property
    def buckets(self) -> Path:
        """Cloud Storage's files."""
        return self.path / "buckets"

    @property
    def log(self) -> Path:
        """What the server says."""
        return self.path / "server.log"

    @property
    def storage_log(self) -> Path:
        """What Cloud Storage says."""
        return self.path / "storage.log"

    @property
    def endpoints(self) -> Path:
        """Process and ports of the running server; of the last one, when none runs."""
        return self.path / "server.json"

    def last(self) -> Running | None:
        """The server that wrote `server.json`, running or not."""
        try:
            return Running(**json.loads(self.endpoints.read_text()))
        except (FileNotFoundError, ValueError, TypeError):
            return None

    def announce(self, running: Running) -> None:
        """Say where the server answers."""
        scratch = self.endpoints.with_suffix(f".{running.pid}")
        scratch.write_text(json.dumps(asdict(running)))
        os.replace(scratch, self.endpoints)

    def served(self) -> bool:
        """Whether a server lives: it holds a lock for as long as it does."""
        with open(self._lock_file("server"), "a") as file:
            return not _try_lock(file.fileno())

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Be the one server of this home. Raises `AlreadyServed`."""
        with open(self._lock_file("server"), "a") as file:
            # Somebody who only asks whether a server lives (`served`) holds the lock for a moment.
            deadline = time.monotonic() + 0.5
            while not _try_lock(file.fileno()):
                if time.monotonic() > deadline:
                    raise AlreadyServed(self.path)
                time.sleep(0.01)
            yield

    @contextmanager
    def starting(self) -> Iterator[None]:
        """One process at a time starts a server; the others wait here for it."""
        with open(self._lock_file("start"), "a") as file:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX)
            yield

    def _lock_file(self, name: str) -> Path:
        self.path.mkdir(parents=True, exist_ok=True)
        return self.path / f"{name}.lock"


class AlreadyServed(Exception):
    """There is a server for this home."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"An embedded Compute Engine already serves {path}; `stop` ends it.")


def find_home() -> Home:
    """`$HYDRA_GCE_HOME/local`, or `local` below the platform's state directory."""
    base = os.environ.get("HYDRA_GCE_HOME")
    if base:
        return Home(Path(base).expanduser().absolute() / "local")
    from platformdirs import user_state_path

    return Home(user_state_path("hydra-gce") / "local")


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
