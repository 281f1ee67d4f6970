"""The process that plays a job's journal into a tracking server: see ``tracking.uplink``. Nothing waits for it."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

from hydra_gce.claims import Claim
from hydra_gce.jobs import JobSpec
from hydra_gce.tracking.uplink_order import Order

log = logging.getLogger(__name__)

_PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2"}
"""It tries again by itself. MLflow's own pauses grow to a minute, in which a server that is back is left alone."""


class Uplink:
    """Beside one attempt's program."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    @classmethod
    def start(
        cls, spec: JobSpec, claim: Claim, zone: str, project: str, bucket: str, scratch: Path
    ) -> Uplink:
        """Its environment has the server's address and credentials, as the spec has them."""
        assert spec.tracked is not None
        path = scratch / "uplink.json"
        order = Order(project, bucket, spec.num, claim.attempt, claim.instance, zone, spec.tracked)
        path.write_text(order.to_json(), encoding="utf-8")
        command = [sys.executable, "-m", "hydra_gce.tracking.uplink", str(path)]
        return cls(
            subprocess.Popen(
                command, env={**_PATIENCE, **os.environ, **spec.variables}, stdin=subprocess.DEVNULL
            )
        )

    def finish(self, within_s: float) -> None:
        """Lets it bring what is left, as far as the time goes; the launcher brings the rest."""
        self._process.terminate()
        try:
            self._process.wait(max(0.0, within_s))
        except subprocess.TimeoutExpired:
            log.warning("MLflow does not have all records yet: the launcher brings them")
            self.kill()

    def kill(self) -> None:
        """At once, if it is there still."""
        self._process.kill()
        self._process.wait()
