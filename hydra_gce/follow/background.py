"""A process of ours that goes on watching a sweep when the person has left, and makes way when somebody comes back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from hydra_gce.cloud.backend import Backend
from hydra_gce.home import home
from hydra_gce.lease import Holder


def start(backend: Backend, bucket: str, sweep: str) -> Path:
    """Leaves one behind; gives the file that has what it says."""
    log = home() / "watchers" / f"{sweep}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "hydra_gce.cli", "attach", sweep, "--in-background"]
    command += ["--backend", backend.kind, "--project", backend.project, "--bucket", bucket]
    with log.open("ab") as file:
        subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # it outlives the terminal
        )
    return log


def ask_to_leave(holder: Holder) -> bool:
    """Whether that is one of this machine's, which is on its way now."""
    here = Holder.here()
    if not holder.background or not holder.is_here(here):
        return False
    if holder.is_dead(here):  # its number may be another process's by now
        return True
    with suppress(ProcessLookupError):
        os.kill(holder.pid, signal.SIGTERM)
    return True


def hear_interrupts() -> None:
    """A shell starts what ends in ``&`` deaf to Ctrl-C; that is inherited."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
