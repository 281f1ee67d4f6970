"""Carries what a running job leaves behind to the bucket: log, MLflow journal and artifacts, output directory."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from hydra_gce.bucket import Bucket, SweepNames
from hydra_gce.mirror import Mirror

log = logging.getLogger(__name__)

_LOG_PART = 1 << 20


class PartSource(Protocol):
    def new_part(self) -> bytes | None:
        """What has come since the last call; None if nothing has."""


class Lane:
    """Brings a growing text to the bucket in numbered parts, each exactly once."""

    def __init__(self, bucket: Bucket, source: PartSource, name: Callable[[int], str]) -> None:
        self._bucket = bucket
        self._source = source
        self._name = name
        self._held: bytes | None = None
        self.parts = 0

    def bring(self) -> None:
        while (part := self._held or self._source.new_part()) is not None:
            self._held = part  # until it is written: a failed upload is tried again with the same part
            self._bucket.write(self._name(self.parts), part)
            self._held = None
            self.parts += 1


class LogFile:
    """A growing file of text."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0

    def new_part(self) -> bytes | None:
        with self._path.open("rb") as file:
            file.seek(self._offset)
            part = file.read(_LOG_PART)
        self._offset += len(part)
        return part or None

    def tail(self, lines: int) -> list[str]:
        with self._path.open("rb") as file:
            file.seek(max(0, self._path.stat().st_size - 64 * 1024))
            return file.read().decode(errors="replace").splitlines()[-lines:]


class Tree:
    """A directory whose files are written once: each new or changed one is sent to the same name below a prefix."""

    def __init__(self, bucket: Bucket, prefix: str, directory: Path) -> None:
        self._bucket = bucket
        self._prefix = prefix
        self._directory = directory
        self._sent: dict[Path, tuple[int, int]] = {}

    def sync(self) -> None:
        for path in sorted(self._directory.rglob("*")):
            if not path.is_file():
                continue
            state = path.stat()
            if self._sent.get(path) != (state.st_size, state.st_mtime_ns):
                self._bucket.upload(self._prefix + path.relative_to(self._directory).as_posix(), path)
                self._sent[path] = (state.st_size, state.st_mtime_ns)


class Courier:
    """Works in a thread of its own, so that a slow upload delays neither the heartbeat nor the program."""

    def __init__(
        self,
        bucket: Bucket,
        names: SweepNames,
        num: int,
        attempt: int,
        log_file: Path,
        mirror: Mirror,
        journal: PartSource | None,
        artifacts: Path | None,
        pause_s: float = 1.0,
        mirror_every_s: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._mirror = mirror
        self._artifacts = Tree(bucket, names.artifacts(num), artifacts) if artifacts else None
        self._pause_s = pause_s
        self._mirror_every_s = mirror_every_s
        self._clock = clock
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="courier", daemon=True)
        self.log = LogFile(log_file)
        self._log = Lane(bucket, self.log, lambda part: names.log(num, attempt, part))
        self._journal = (
            Lane(bucket, journal, lambda part: names.journal(num, attempt, part)) if journal else None
        )

    @property
    def log_parts(self) -> int:
        return self._log.parts

    @property
    def journal_parts(self) -> int:
        return self._journal.parts if self._journal else 0

    def start(self) -> None:
        self._thread.start()

    def finish(self) -> None:
        """Stops the thread and brings everything that is left.

        The output directory goes first: after a preemption it is what the next attempt lives on.
        """
        self._stop.set()
        self._thread.join()
        self._mirror.sync()
        self._texts()
        if self._artifacts:
            self._artifacts.sync()

    def _work(self) -> None:
        mirrored = self._clock()
        while not self._stop.wait(self._pause_s):
            try:
                self._texts()
                if self._clock() - mirrored >= self._mirror_every_s:
                    self._mirror.sync()
                    if self._artifacts:
                        self._artifacts.sync()
                    mirrored = self._clock()
            except Exception:  # the bucket may be out of reach for a while; finish() tries again, and raises
                log.exception("could not bring the job's output to the bucket; trying again")

    def _texts(self) -> None:
        self._log.bring()
        if self._journal is not None:
            self._journal.bring()
