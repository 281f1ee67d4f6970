"""Cloud Storage's process beside the embedded server."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.mlflow_server import free_port
from hydra_gce.local.home import Home
from hydra_gce.local.storage import CloudStorage
from tests.patience import listens, wait_until


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[CloudStorage]:
    home = tmp_path / "local"
    home.mkdir()
    started = CloudStorage(Home(home), free_port())
    started.start()
    yield started
    started.stop()


def test_one_that_cannot_start_again_at_once_does_so_later(
    storage: CloudStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, spawn = int((tmp_path / "local" / "storage.pid").read_text()), CloudStorage._spawn
    failures = 2

    def spawn_in_vain(self: CloudStorage, command: list[str]) -> subprocess.Popen[bytes]:
        nonlocal failures
        failures -= 1
        return spawn(self, command if failures < 0 else ["false"])

    monkeypatch.setattr(CloudStorage, "_spawn", spawn_in_vain)
    os.kill(first, signal.SIGKILL)

    def is_back() -> bool:
        storage.keep_running()
        return failures < 0 and listens(storage.port)

    wait_until(is_back, "it is back")
