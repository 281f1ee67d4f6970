"""The process of the user's program, with all that it starts."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from hydra_gce.agent.workplace import Workplace
from hydra_gce.jobs import JobSpec

log = logging.getLogger(__name__)


class Child:
    """Leads a session, and so a group, of its own: what it is told, all that it started is told."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._is_over = False

    @classmethod
    def start(
        cls, spec: JobSpec, program: bytes, place: Workplace, scratch: Path, variables: Mapping[str, str]
    ) -> Child:
        """Runs ``hydra_gce.agent.program``; its words go to ``scratch/log``, its value to ``scratch/job_return``."""
        (scratch / "program").write_bytes(program)
        order = scratch / "order.json"
        order.write_text(
            json.dumps(
                {
                    "program": str(scratch / "program"),
                    "job_return": str(scratch / "job_return"),
                    "cwd": str(place.cwd),
                    "script": spec.script and place.here(spec.script),
                    "sys_path": [place.here(path) for path in spec.sys_path],
                    "translate": place.translate,
                }
            ),
            encoding="utf-8",
        )
        with (scratch / "log").open("wb") as log_file:
            process = subprocess.Popen(
                [sys.executable, "-m", "hydra_gce.agent.program", str(order)],
                stdin=subprocess.DEVNULL,
                stdout=log_file,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONUNBUFFERED": "1", **spec.variables, **variables},
                cwd=place.cwd,
                start_new_session=True,
            )
        return cls(process)

    @property
    def returncode(self) -> int:
        """Of the process once it has ended; minus the signal's number where one ended it."""
        return self._process.returncode

    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def stop(self, grace_s: float) -> None:
        """SIGTERM, and SIGKILL to whatever is left after ``grace_s`` seconds."""
        log.info("telling the program to save: %.0f s", grace_s)
        self._signal(signal.SIGTERM)
        try:
            self._process.wait(grace_s)
        except subprocess.TimeoutExpired:
            log.warning("the program did not end in time")
        self.kill()

    def kill(self) -> None:
        """Also children that the program left behind: they would keep writing into what is collected."""
        if self._is_over:  # its number may be another's by now
            return
        self._signal(signal.SIGKILL)
        self._process.wait()
        self._is_over = True

    def _signal(self, number: signal.Signals) -> None:
        try:
            os.killpg(self._process.pid, number)
        except ProcessLookupError:
            return
