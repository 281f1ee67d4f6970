"""Carries what a running job leaves behind to the bucket: log, MLflow journal and artifacts, output directory."""

from __future__ import annotations

import logging
import math
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from stat import S_ISREG
from typing import Protocol

from hydra_gce.agent.room import Room
from hydra_gce.bucket import REMOVED, Bucket, SweepNames
from hydra_gce.mirror import Mirror, files_in

log = logging.getLogger(__name__)

_LOG_PART = 1 << 20
_SETTLED_S = 2.0
"""An artifact that is being copied to its place is not shown half, as long as that does not go on for ever."""
_SETTLE_POLL_S = 0.2


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
    """A directory whose files are written once: each new or changed one is sent to the same name below a prefix.

    In the place of one that was removed comes an empty object that says so: a listing cannot tell what is no more.
    """

    def __init__(self, bucket: Bucket, prefix: str, directory: Path) -> None:
        self._bucket = bucket
        self._prefix = prefix
        self._directory = directory
        self._sent: dict[Path, tuple[int, int]] = {}
        self._passed_over: set[Path] = set()
        self._freed: set[Path] = set()
        self.syncs = 0

    def is_settled(self, settled_s: float) -> bool:
        """Whether no new or changed file was written to within so many seconds."""
        return not any(_age_s(state) < settled_s for _, state in self._news())

    def sync(self, left_s: Callable[[], float] = lambda: math.inf, settled_s: float = 0.0) -> bool:
        """False: the time that ``left_s`` names was too short for all. ``syncs`` counts those that sent anything.

        :param settled_s: files that were written to within so many seconds are left for the next time, once.
        """
        sent = False
        whole = True
        passed_over: set[Path] = set()
        for path, state in self._news():
            if left_s() <= 0:
                whole = False
                break
            if _age_s(state) < settled_s and path not in self._passed_over:
                passed_over.add(path)
                continue
            try:
                self._bucket.upload(self._prefix + path.relative_to(self._directory).as_posix(), path)
            except FileNotFoundError:
                continue  # the program removes a folder just now
            self._sent[path] = (state.st_size, state.st_mtime_ns)
            self._freed.discard(path)
            sent = True
        self._passed_over = passed_over
        for path in [path for path in self._sent if whole and path not in self._freed and not path.exists()]:
            name = self._prefix + path.relative_to(self._directory).as_posix()
            self._bucket.write(name, b"", metadata={REMOVED: "true"})
            del self._sent[path]
            sent = True
        self.syncs += sent
        return whole

    def free(self, is_low: Callable[[], bool]) -> None:
        """Removes files here that the bucket has as they are, the oldest first, for as long as there is little room."""
        for path, state in sorted(self._sent.items(), key=lambda item: item[1][1]):
            if not is_low():
                return
            try:
                now = path.stat()
            except FileNotFoundError:
                continue
            if (now.st_size, now.st_mtime_ns) == state:
                self._freed.add(path)
                path.unlink()

    def _news(self) -> Iterator[tuple[Path, os.stat_result]]:
        """Files that are not in the bucket as they are now."""
        for path in sorted(files_in(self._directory)):
            try:
                state = path.stat()
            except FileNotFoundError:
                continue
            if S_ISREG(state.st_mode) and self._sent.get(path) != (state.st_size, state.st_mtime_ns):
                yield path, state


def _age_s(state: os.stat_result) -> float:
    return time.time() - state.st_mtime


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
        may_write: Callable[[], bool] = lambda: True,
        tell: Callable[[], None] = lambda: None,
        room: Room | None = None,
    ) -> None:
        """``may_write`` says whether the job is this attempt's still; it is asked before each look at the directory.
        ``tell`` is called when a part of the journal is in the bucket. Where there is little ``room``, everything is
        brought at once, and made room for.
        """
        self._mirror = mirror
        self._artifacts = Tree(bucket, names.artifacts(num), artifacts) if artifacts else None
        self._pause_s = pause_s
        self._mirror_every_s = mirror_every_s
        self._clock = clock
        self._may_write = may_write
        self._tell = tell
        self._room = room
        if room and self._artifacts:
            room.ways.append(self._artifacts.free)
        self._wake = threading.Event()
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

    @property
    def artifact_syncs(self) -> int:
        return self._artifacts.syncs if self._artifacts else 0

    def start(self) -> None:
        self._thread.start()

    def hurry(self) -> None:
        """From now on it looks at the output directory without a pause: the less is left to be sent at the end."""
        self._mirror_every_s = 0.0
        self._wake.set()

    def abandon(self) -> None:
        """Stops the thread, as soon as what it has begun is over. Nothing more is brought."""
        self._stop.set()
        self._wake.set()

    def finish(self, left_s: Callable[[], float] = lambda: math.inf) -> bool:
        """Stops the thread and brings everything that is left, as far as the time goes; whether that is all.

        The output directory goes first: after a preemption it is what the next attempt lives on. Artifacts may take
        longer than a VM has that goes, so they do not hold it up.
        """
        self.abandon()
        while self._thread.is_alive() and left_s() > 0:
            self._thread.join(min(1.0, max(0.01, left_s())))
        if self._thread.is_alive():
            log.warning("what the job has left since the last sync stays here: the bucket does not answer")
            return False
        if not self._may_write():
            return False
        whole = self._mirror.sync(left_s, self._bring_journal)
        if not whole:
            log.warning("the output directory was sent as it was a moment ago: no time is left for more")
        self._texts()
        if self._artifacts is not None and not self._artifacts.sync(left_s):
            log.warning("MLflow's artifacts were not all sent: no time is left for more")
            return False
        return whole

    def _work(self) -> None:
        mirrored = self._clock()
        while True:
            self._wake.wait(self._pause_s)
            if self._stop.is_set():
                return
            self._wake.clear()
            try:
                is_low = self._room is not None and self._room.look()
                self._texts()
                is_due = is_low or self._clock() - mirrored >= self._mirror_every_s
                if is_due and self._may_write():
                    self._mirror.sync(self._left_s, self._records)
                    mirrored = self._clock()
                if is_low and self._room:
                    self._room.make()
            except Exception:  # the bucket may be out of reach for a while; finish() tries again, and raises
                log.exception("could not bring the job's output to the bucket; trying again")

    def _left_s(self) -> float:
        """A look at the directory that is under way when the job ends makes room for the last one."""
        return 0.0 if self._stop.is_set() else math.inf

    def _records(self) -> bool:
        """Brings all that the program has told MLflow until now; whether there was time for it.

        It is there before the output directory's manifest: an attempt that goes on from a checkpoint logs nothing of
        the steps before it again.
        """
        if self._artifacts is not None:
            until = self._clock() + _SETTLED_S
            while not self._artifacts.is_settled(_SETTLED_S) and self._clock() < until and self._left_s():
                self._stop.wait(_SETTLE_POLL_S)
                self._bring_journal()
            if not self._artifacts.sync(self._left_s, _SETTLED_S):
                return False
        return self._bring_journal()

    def _texts(self) -> None:
        self._log.bring()
        self._bring_journal()

    def _bring_journal(self) -> bool:
        if self._journal is not None:
            before = self._journal.parts
            self._journal.bring()
            if self._journal.parts > before:
                self._tell()
        return True
