"""A sweep under watch, with the laptop's side real and a test in the place of the VMs' agents."""

from __future__ import annotations

import pickle
import random
import uuid
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from google.cloud import compute_v1
from hydra.core.utils import JobReturn
from hydra.core.utils import JobStatus as HydraStatus
from omegaconf import OmegaConf

from hydra_gce import claims
from hydra_gce.bucket import Bucket, SweepNames
from hydra_gce.claims import Claim
from hydra_gce.cloud.backend import Backend
from hydra_gce.compute import HereCompute
from hydra_gce.compute.quotas import Quotas
from hydra_gce.fleet import Fleet
from hydra_gce.jobs import JobResult, JobState, JobStatus, seal_result
from hydra_gce.launch.compose import Point
from hydra_gce.machines import Candidate
from hydra_gce.mirror import Mirror
from hydra_gce.money.ledger import Ledger
from hydra_gce.request import Order
from hydra_gce.settings import VM, Settings
from hydra_gce.view import JobView
from hydra_gce.watch import Watch
from tests.patience import wait_until

KEY = b"k" * 32
# A VM that boots and does nothing: its agent is the test.
IDLE = VM(metadata={"startup-script": "#!/bin/sh\n"})


def point(num: int, directory: Path) -> Point:
    config = OmegaConf.create({"lr": 0.1, "hydra": {"job": {"name": "train", "num": num}}})
    return Point(num, [f"lr=0.{num}"], config, directory, directory / str(num))


@dataclass
class Scene:
    """``begun``: another launcher has begun the sweep, and sent its jobs. ``first``: the number of its first job."""

    backend: Backend
    bucket: Bucket
    candidates: list[Candidate]
    directory: Path
    jobs: int = 1
    first: int = 0
    finds_warm: bool = False
    settings: Settings = field(default_factory=Settings)
    now: float = 1_000_000.0
    news: list[str] = field(default_factory=list)
    names: SweepNames = field(default_factory=lambda: SweepNames(f"test-{uuid.uuid4().hex[:8]}"))
    quotas: Quotas | None = None
    ledger: Ledger = field(default_factory=Ledger)
    begun: bool = False

    def __post_init__(self) -> None:
        order = Order(self.names.sweep, self.backend.project, IDLE, self.backend.image, {})
        self.fleet = Fleet(
            HereCompute(self.backend),
            order,
            self.candidates,
            self.news.append,
            self.quotas,
            self.ledger,
            clock=self.clock,
            pause=lambda seconds: None,
            rng=random.Random(7),
        )
        points = [point(num, self.directory) for num in range(self.first, self.first + self.jobs)]
        self.watch = Watch(
            self.bucket,
            self.names,
            KEY,
            self.fleet,
            self.settings,
            points,
            self.news.append,
            clock=self.clock,
            finds_warm=self.finds_warm,
        )
        for one in () if self.begun else points:
            self.bucket.write(self.names.status(one.num), b"", metadata=JobStatus(one.num).to_metadata())

    def clock(self) -> float:
        return self.now

    def leave(self) -> None:
        """The launcher ends, and its VMs stay."""
        self.watch.close()
        self.fleet.close()

    def close(self) -> None:
        self.leave()
        for name in self.vms():
            self.end_vm(name)
        wait_until(lambda: not self.vms(), "all VMs are gone")

    def view(self, num: int) -> JobView:
        return self.watch.views()[num - self.first]

    def says(self, part: str) -> bool:
        return self.times_said(part) > 0

    def times_said(self, part: str) -> int:
        return sum(part in line for line in self.news)

    def tick(self, times: int = 1, seconds: float = 0.0) -> None:
        """So many looks, so many seconds before each."""
        for _ in range(times):
            self.now += seconds
            self.watch.tick()

    def tick_until(self, num: int, state: JobState, **fields: Any) -> JobView:
        def reached() -> bool:
            self.watch.tick()
            view = self.view(num)
            return view.state is state and all(getattr(view, name) == value for name, value in fields.items())

        wait_until(reached, f"job {num} is {state.value}, {fields}; it is {self.view(num)}")
        return self.view(num)

    def placed(self, num: int, but: str = "") -> str:
        """The name of the VM that the job has once it has one, and another than ``but``."""

        def has_one() -> bool:
            self.watch.tick()
            return self.view(num).instance not in ("", but)

        wait_until(has_one, f"job {num} has a VM")
        self.now += 2.0  # its absence from a listing now means that it is gone
        return self.view(num).instance

    def running(self, num: int = 0) -> Claim:
        """The job has a VM, and runs there."""
        claim = self.claim(num, self.placed(num))
        self.say(claim)
        self.tick_until(num, JobState.RUNNING)
        return claim

    def failure(self, num: int) -> Exception:
        """What Hydra will raise for the job."""
        collected = self.watch.tracks[num].collected
        assert collected is not None
        value = collected.job_return._return_value
        assert isinstance(value, Exception)
        return value

    # What an agent does.

    def claim(self, num: int, instance: str) -> Claim:
        claim = claims.take(self.bucket, self.names, num, instance)
        assert claim is not None
        return claim

    def say(self, claim: Claim, state: JobState = JobState.RUNNING, **fields: Any) -> JobStatus:
        """A heartbeat."""
        fields = {"heartbeat": self.now, "zone": self.candidates[0].zone, **fields}
        status = JobStatus(claim.num, state, claim.attempt, claim.instance, **fields)
        self.bucket.write(self.names.status(claim.num), b"", metadata=status.to_metadata())
        return status

    def leave_output(self, claim: Claim, **files: str) -> None:
        directory = self.directory / "vm" / uuid.uuid4().hex
        directory.mkdir(parents=True)
        for name, content in files.items():
            (directory / name).write_text(content)
        Mirror(self.bucket, self.names, KEY, claim.num, claim.attempt, directory).sync()

    def finish(self, claim: Claim, value: object, **fields: Any) -> None:
        """The result, the claim; the status comes with ``say``."""
        job_return = JobReturn()
        job_return.return_value, job_return.status = value, HydraStatus.COMPLETED
        result = JobResult(
            self.names.sweep,
            claim.num,
            claim.attempt,
            JobState.COMPLETED,
            self.now - 1,
            self.now,
            exit_code=0,
        )
        envelope = seal_result(KEY, replace(result, **fields), pickle.dumps(job_return))
        self.bucket.write(self.names.result(claim.num, claim.attempt), envelope)
        assert claims.finish(self.bucket, self.names, claim) is not None

    def complete(self, claim: Claim, value: object = 1.0) -> None:
        """It finishes, says so, and is brought home."""
        self.finish(claim, value)
        self.say(claim, JobState.COMPLETED)
        self.tick_until(claim.num, JobState.COMPLETED)

    def give_back(self, claim: Claim, message: str = "") -> None:
        """Its VM is taken back, and the agent has the time to say so."""
        assert claims.release(self.bucket, self.names, claim) is not None
        self.say(claim, JobState.PREEMPTED, message=message)

    # What becomes of a VM.

    def end_vm(self, name: str) -> None:
        (instance,) = [
            one for one in HereCompute(self.backend).instances(self.names.sweep) if one.name == name
        ]
        zone = instance.zone.rpartition("/")[2]
        client: compute_v1.InstancesClient = self.backend.instances
        client.delete_unary(project=self.backend.project, zone=zone, instance=name)

    def vms(self) -> dict[str, str]:
        return {one.name: one.status for one in HereCompute(self.backend).instances(self.names.sweep)}
