"""The process that stays when a person leaves: how it begins, and when it is asked to go."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from google.auth.credentials import AnonymousCredentials

from hydra_gce.cloud.backend import Backend
from hydra_gce.follow import background
from hydra_gce.lease import Holder, _beginning

BACKEND = Backend("local", "my-project", "http://127.0.0.1:9", None, AnonymousCredentials(), None)


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    yield process
    process.kill()
    process.wait()


def holder_of(process: subprocess.Popen[bytes], **fields: Any) -> Holder:
    here = Holder.here(background=True)
    return replace(here, pid=process.pid, began=_beginning(process.pid), **fields)


def test_it_watches_the_sweep_outlives_the_terminal_and_says_what_it_does_in_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HYDRA_GCE_HOME", str(tmp_path))
    begun: list[tuple[list[str], dict[str, Any]]] = []
    monkeypatch.setattr(subprocess, "Popen", lambda command, **how: begun.append((command, how)))
    log = background.start(BACKEND, "my-bucket", "calm-otter")
    ((command, how),) = begun
    assert command[1:] == [
        *("-m", "hydra_gce.cli", "attach", "calm-otter", "--in-background"),
        *("--backend", "local", "--project", "my-project", "--bucket", "my-bucket"),
    ]
    assert how["start_new_session"] and how["stdin"] == subprocess.DEVNULL
    assert log == tmp_path / "watchers/calm-otter.log" and log.exists()


def test_one_of_this_machine_is_asked_to_leave(sleeper: subprocess.Popen[bytes]) -> None:
    assert background.ask_to_leave(holder_of(sleeper))
    assert sleeper.wait(30) == -signal.SIGTERM


@pytest.mark.parametrize(
    "fields",
    [{"background": False}, {"host": "elsewhere"}, {"boot": ""}],
    ids=["watched", "elsewhere", "unknown"],
)
def test_nobody_elses_is_touched(sleeper: subprocess.Popen[bytes], fields: dict[str, Any]) -> None:
    one = replace(holder_of(sleeper), **fields)
    assert not background.ask_to_leave(one)
    assert sleeper.poll() is None


def test_a_process_that_has_the_number_of_a_dead_one_is_left_in_peace(
    sleeper: subprocess.Popen[bytes],
) -> None:
    dead = holder_of(sleeper)
    dead = replace(dead, began=f"{int(dead.began) - 1}")
    assert dead.is_dead(Holder.here())
    assert background.ask_to_leave(dead)  # nothing need be said of it
    assert sleeper.poll() is None
    assert os.getpid() != sleeper.pid
