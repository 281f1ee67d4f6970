"""Relays in processes of their own, two at a time, that are killed at any moment and followed by others.

As a script it makes them: MLflow, which takes seconds to import, is there already when a relay is forked.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from contextlib import AbstractContextManager
from pathlib import Path

from hydra_gce.bucket import Bucket, SweepNames
from hydra_gce.jobs import JobStatus
from tests.tracking.lab import ROOT, SWEEP, bucket_at, relay_for

_AT_ONCE = 2
_LIFE_S = (0.1, 2.0)


class Relays(AbstractContextManager["Relays"]):
    """``kills`` more are killed with SIGKILL; the last two live until the end."""

    def __init__(
        self, bucket: Bucket, endpoint: str, store: str, jobs: int, kills: int, dice: random.Random
    ) -> None:
        self.killed = 0
        self._kills = kills
        self._dice = dice
        self._stop = threading.Event()
        self._log = Path("relays.log").open("w")  # noqa: SIM115
        self._maker = subprocess.Popen(
            [sys.executable, "-m", "tests.tracking.chaos.relays", endpoint, bucket.name, store, str(jobs)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            cwd=ROOT,
        )
        self._pids: list[int] = []
        self._thread = threading.Thread(target=self._kill_and_follow, daemon=True)

    def __enter__(self) -> Relays:
        for _ in range(_AT_ONCE):
            self._make()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(60)
        for pid in self._pids:
            os.kill(pid, signal.SIGKILL)
        assert self._maker.stdin and self._maker.stdout
        self._maker.stdin.close()
        self._maker.wait(60)
        self._maker.stdout.close()
        self._log.close()

    def are_over(self) -> bool:
        """Whether all have been killed that were to be."""
        return not self._thread.is_alive()

    def _make(self) -> None:
        assert self._maker.stdin and self._maker.stdout
        self._maker.stdin.write("another\n")
        self._maker.stdin.flush()
        self._pids.append(int(self._maker.stdout.readline()))

    def _kill_and_follow(self) -> None:
        while self.killed < self._kills and not self._stop.wait(self._dice.uniform(*_LIFE_S)):
            os.kill(self._pids.pop(self._dice.randrange(_AT_ONCE)), signal.SIGKILL)
            self.killed += 1
            self._make()


def statuses(bucket: Bucket, jobs: int) -> dict[int, JobStatus]:
    """What the jobs say of themselves."""
    names = SweepNames(SWEEP)
    entries = {num: bucket.find(names.status(num)) for num in range(jobs)}
    return {num: JobStatus.from_metadata(entry.metadata) for num, entry in entries.items() if entry}


def _play_for_ever(endpoint: str, bucket_name: str, store: str, jobs: int) -> None:
    bucket = Bucket(bucket_at(endpoint, bucket_name))
    relay = relay_for(bucket, store, jobs=jobs)
    said = ""
    while True:
        relay.tick(statuses(bucket, jobs))
        if relay.trouble != said:
            said = relay.trouble
            print(os.getpid(), said or "goes on", file=sys.stderr, flush=True)
        time.sleep(0.1)


def main() -> None:
    import mlflow.store.tracking.sqlalchemy_store  # noqa: F401

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # who was killed is gone at once
    endpoint, bucket_name, store, jobs = sys.argv[1:]
    for _ in sys.stdin:
        pid = os.fork()
        if pid == 0:
            _play_for_ever(endpoint, bucket_name, store, int(jobs))
        print(pid, flush=True)


if __name__ == "__main__":
    main()
