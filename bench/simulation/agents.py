"""The agents of all VMs in one process: a thread for each VM does to bucket and API what a real agent does.

``python -m bench.simulation.agents <VMs> <seconds per job>``: each line on standard input is a VM that boots. A VM does
the job that it was made for; which of the others it takes next the threads settle among themselves. The claims
themselves are made in the bucket.
"""

from __future__ import annotations

import copy
import json
import pickle
import random
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections import deque
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import cloudpickle
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage
from hydra.core.utils import JobReturn
from hydra.core.utils import JobStatus as HydraStatus
from omegaconf import DictConfig, OmegaConf, open_dict

from bench.simulation.cloud import AGENTS
from bench.simulation.journal import SimulatedJournal
from hydra_gce import claims
from hydra_gce.agent.pulse import BEAT_S, StatusLine
from hydra_gce.bucket import Bucket, SweepNames
from hydra_gce.claims import Claim
from hydra_gce.jobs import JobResult, JobSpec, JobState, JobStatus, seal_result, unseal_spec
from hydra_gce.mirror import Mirror
from hydra_gce.tracking.environment import Point

METRICS = 20
"""Values that a job logs to MLflow where it is tracked."""
_STEPS = 100


@dataclass
class Pending:
    """The jobs that no VM is made for, by number: listed once, then shared by all VMs."""

    vms: int
    _nums: deque[int] | None = None
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def next(self, bucket: Bucket, names: SweepNames) -> int | None:
        with self._guard:
            if self._nums is None:
                listed = (
                    JobStatus.from_metadata(entry.metadata).num for entry in bucket.list(names.statuses)
                )
                self._nums = deque(num for num in sorted(listed) if num >= self.vms)
            return self._nums.popleft() if self._nums else None


@dataclass
class Programs:
    """What the jobs' programs would have given: the ``JobReturn`` of the first, with each job's own value in it."""

    _guard: threading.Lock = field(default_factory=threading.Lock)
    _config: DictConfig | None = None

    def job_return(self, spec: JobSpec, program: bytes) -> bytes:
        """As Hydra's ``run_job`` makes it: the config, and Hydra's own part of it."""
        with self._guard:
            if self._config is None:
                self._config = cloudpickle.loads(pickle.loads(program)["config"])
            made = JobReturn()
            made.overrides = spec.overrides
            made.cfg, made.hydra_cfg = self._parts
            made.working_dir = spec.output_dir
            made.task_name = "program"
            made.return_value = float(spec.num)
            made.status = HydraStatus.COMPLETED
            return bytes(cloudpickle.dumps(made))

    @cached_property
    def _parts(self) -> tuple[DictConfig, DictConfig]:
        assert self._config is not None
        task = copy.deepcopy(self._config)
        hydra = OmegaConf.masked_copy(task, "hydra")
        with open_dict(task):
            del task["hydra"]
        return task, hydra

    def output(self, directory: Path, spec: JobSpec) -> None:
        """What Hydra and a small program leave in an output directory."""
        (directory / ".hydra").mkdir()
        (directory / ".hydra" / "config.yaml").write_bytes(self._yaml[0])
        (directory / ".hydra" / "hydra.yaml").write_bytes(self._yaml[1])
        (directory / ".hydra" / "overrides.yaml").write_text(f"{spec.overrides}\n", encoding="utf-8")
        (directory / "program.log").write_text(f"job {spec.num}\n", encoding="utf-8")
        (directory / "result.txt").write_text(f"{spec.num}\n" * 100, encoding="utf-8")

    @cached_property
    def _yaml(self) -> tuple[bytes, bytes]:
        task, hydra = self._parts
        return OmegaConf.to_yaml(task).encode(), OmegaConf.to_yaml(hydra).encode()


class VM:
    """One simulated VM: takes jobs until there is none left, then deletes itself."""

    def __init__(self, boot: dict[str, Any], job_s: float, pending: Pending, programs: Programs) -> None:
        instance = boot["metadata"]["instance"]
        attributes = instance["attributes"]
        self.name: str = boot["name"]
        self._zone: str = instance["zone"].rpartition("/")[2]
        self._project: str = boot["metadata"]["project"]["projectId"]
        self._services: dict[str, str] = boot["services"]
        self._bucket = Bucket(
            storage.Client(
                project=self._project,
                credentials=AnonymousCredentials(),
                client_options={"api_endpoint": self._services["STORAGE_EMULATOR_HOST"]},
            ).bucket(attributes["hydra-gce-bucket"])
        )
        self._names = SweepNames(attributes["hydra-gce-sweep"])
        self._key = bytes.fromhex(attributes["hydra-gce-key"])
        self._own = int(attributes["hydra-gce-job"])
        self._job_s = job_s
        self._pending = pending
        self._programs = programs

    def live(self) -> None:
        num: int | None = self._own
        while num is not None:
            claim = claims.take(self._bucket, self._names, num, self.name)
            if claim is not None:
                self._do(claim)
            num = self._pending.next(self._bucket, self._names)
        self._delete()

    def _do(self, claim: Claim) -> None:
        envelope = self._bucket.read(self._names.spec(claim.num))
        spec, program = unseal_spec(self._key, self._names.sweep, claim.num, envelope)
        started = time.time()
        line = StatusLine(self._bucket, self._names, claim)
        status = JobStatus(
            claim.num, JobState.RUNNING, claim.attempt, self.name, self._zone, started=started, log_parts=1
        )
        journal = SimulatedJournal(Point(self._names.sweep, claim.num, claim.attempt), METRICS, started)
        if spec.tracking:
            self._bucket.write(self._names.journal(claim.num, claim.attempt, 0), journal.first())
            status = replace(status, journal_parts=1)
        ends = started + self._job_s * random.uniform(0.75, 1.25)
        while (left := ends - time.time()) > 0:
            line.write(self._now(status, 1.0 - left / (ends - started)))
            time.sleep(min(BEAT_S, left))
        if spec.tracking:
            self._bucket.write(self._names.journal(claim.num, claim.attempt, 1), journal.last(time.time()))
            status = replace(status, journal_parts=2)
        self._finish(claim, spec, program, started)
        line.write(replace(self._now(status, 1.0), state=JobState.COMPLETED))

    def _now(self, status: JobStatus, done: float) -> JobStatus:
        step = int(done * _STEPS)
        return replace(
            status, heartbeat=time.time(), step=step, metric_name="val_loss", metric=1.0 / (step + 1)
        )

    def _finish(self, claim: Claim, spec: JobSpec, program: bytes, started: float) -> None:
        """Output, result, claim, in this order."""
        job_return = self._programs.job_return(spec, program)
        with tempfile.TemporaryDirectory(prefix="simulated-") as scratch:
            self._programs.output(Path(scratch), spec)
            Mirror(self._bucket, self._names, self._key, claim.num, claim.attempt, Path(scratch)).sync()
        result = JobResult(
            sweep=self._names.sweep,
            num=claim.num,
            attempt=claim.attempt,
            state=JobState.COMPLETED,
            started=started,
            ended=time.time(),
            exit_code=0,
            returned=float(claim.num),
        )
        name = self._names.result(claim.num, claim.attempt)
        self._bucket.write(name, seal_result(self._key, result, job_return))
        claims.finish(self._bucket, self._names, claim)

    def _delete(self) -> None:
        root = self._services["CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE"]
        request = urllib.request.Request(
            f"{root}projects/{self._project}/zones/{self._zone}/instances/{self.name}",
            method="DELETE",
            headers={"User-Agent": AGENTS},
        )
        try:
            urllib.request.urlopen(request, timeout=120).close()
        except urllib.error.HTTPError as error:
            if error.code != 404:  # somebody else has done it
                raise


def main() -> None:
    vms, job_s = int(sys.argv[1]), float(sys.argv[2])
    pending, programs = Pending(vms), Programs()
    for line in sys.stdin:
        vm = VM(json.loads(line), job_s, pending, programs)
        threading.Thread(target=vm.live, name=vm.name).start()


if __name__ == "__main__":
    main()
