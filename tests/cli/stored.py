"""A sweep as it lies in a bucket, for the tests of the verbs that look at it."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from hydra_gce import claims
from hydra_gce.bucket import Bucket, SweepNames
from hydra_gce.jobs import JobSpec, JobState, JobStatus, Placement, seal_spec
from hydra_gce.machines import Candidate, Price, VMRequest, resolve
from hydra_gce.mirror import Mirror
from hydra_gce.money.ledger import Ledger
from hydra_gce.view import JobView, SweepView, to_json

KEY = b"k" * 32
PLACE: Candidate = replace(
    resolve(VMRequest(machine_type="e2-micro", zones=["us-central1-a"]))[0], price=Price(host=Decimal("0.36"))
)


@dataclass
class Stored:
    bucket: Bucket
    sweep: str

    @property
    def names(self) -> SweepNames:
        return SweepNames(self.sweep)

    def describe(self, **more: Any) -> None:
        content = {"version": "0.1.0", "sweep_dir": "/home/me/multirun", "started": time.time() - 100, **more}
        self.bucket.write(self.names.description, json.dumps(content).encode())

    def status(
        self, num: int, state: JobState = JobState.RUNNING, attempt: int = 1, **more: Any
    ) -> JobStatus:
        said = JobStatus(num, state, attempt, **{"heartbeat": time.time(), **more})
        self.bucket.write(self.names.status(num), b"", metadata=said.to_metadata())
        return said

    def prints(self, num: int, *parts: bytes, attempt: int = 1) -> None:
        for number, part in enumerate(parts):
            self.bucket.write(self.names.log(num, attempt, number), part)

    def view(self, *jobs: JobView, **more: Any) -> SweepView:
        defaults: dict[str, Any] = {
            "project": "hydra-gce-local",
            "backend": "local",
            "started": time.time() - 100,
            "now": time.time(),
            "sweep_dir": "/home/me/multirun",
        }
        seen = SweepView(sweep=self.sweep, jobs=list(jobs), **{**defaults, **more})
        self.bucket.write(self.names.view, to_json(seen))
        return seen

    def ledger(self, **lived_s: float) -> None:
        """Job ``n`` had a VM for so many seconds: ``ledger(job0=100)``. 36 cents an hour."""
        ledger = Ledger()
        for job, seconds in lived_s.items():
            num, began = int(job.removeprefix("job")), time.time() - 5000
            name = f"hg-{self.sweep}-{num}"
            ledger.began(name, num, 1, PLACE, began)
            ledger.ended(name, began + seconds)
        self.bucket.write(self.names.ledger, ledger.to_json())

    def spec(self, num: int, sweep_dir: Path) -> None:
        spec = JobSpec(
            sweep=self.sweep,
            num=num,
            overrides=[],
            code=Placement("code", "/p"),
            cwd="/p",
            script=None,
            data=[],
            sweep_dir=str(sweep_dir),
            output_dir=str(sweep_dir / str(num)),
            variables={},
            preempt_grace_s=0.0,
            tracking="none",
            experiment=None,
            sys_path=[],
        )
        self.bucket.write(self.names.spec(num), seal_spec(KEY, spec, b""))

    def outputs(self, num: int, directory: Path, **files: str) -> Mirror:
        """What an attempt that runs has sent by now; ``a__b`` is the path ``a/b``."""
        for name, content in files.items():
            path = directory / name.replace("__", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        claim = claims.read(self.bucket, self.names, num) or claims.take(self.bucket, self.names, num, "vm")
        assert claim is not None
        mirror = Mirror(self.bucket, self.names, KEY, num, claim.attempt, directory)
        mirror.sync()
        return mirror

    def delete(self) -> None:
        """Whoever looks for the newest sweep of a bucket that others use finds theirs."""
        for entry in list(self.bucket.list(self.names.prefix)):
            self.bucket.delete(entry.name)
