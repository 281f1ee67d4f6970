"""A laptop that sends a job, and a VM whose agent runs it in this process: the bucket and the program are real."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from google.cloud import storage
from hydra import initialize_config_dir
from hydra._internal.callbacks import Callbacks
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import HydraContext, RunMode, TaskFunction

from hydra_gce.agent.__main__ import Agent
from hydra_gce.agent.departure import Departure
from hydra_gce.agent.instance import Instance
from hydra_gce.bucket import Bucket, SweepNames
from hydra_gce.cargo import snapshot
from hydra_gce.collect import Collected, collect
from hydra_gce.jobs import JobSpec, JobStatus, Placement, seal_spec
from hydra_gce.launch import compose
from hydra_gce.launch.compose import Point
from hydra_gce.mirror import restore_newest

KEY = b"k" * 32
SWEEP = "calm-otter"
CONFIG = "lr: 0.1\nhydra:\n  sweep:\n    dir: {sweep_dir}\n    subdir: ${{hydra.job.num}}\n"


@contextmanager
def hydra_at(directory: Path, text: str) -> Iterator[HydraContext]:
    """Hydra's state as it is on a laptop when a launcher is called."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.yaml").write_text(text)
    before = HydraConfig.instance().cfg
    with initialize_config_dir(version_base=None, config_dir=str(directory), job_name="train"):
        hydra = GlobalHydra.instance().hydra
        assert hydra is not None
        yield HydraContext(config_loader=hydra.config_loader, callbacks=Callbacks())
    HydraConfig.instance().cfg = before


@dataclass
class Lab:
    """``project`` exists on the laptop while the job is being sent, and not on the VM."""

    bucket: Bucket
    base: Path
    names: SweepNames = field(default_factory=lambda: SweepNames(SWEEP))
    points: dict[int, Point] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.project = self.base / "project"
        self.sweep_dir = self.project / "multirun"
        self.project.mkdir()
        (self.project / "helper.py").write_text("ANSWER = 42\n")

    def send(
        self,
        task: TaskFunction,
        num: int = 0,
        on_the_vm: bool = True,
        data: list[Path] | None = None,
        **spec: Any,
    ) -> None:
        """The way of ``Sweep.launch`` up to the bucket. Then the project goes: the VM does not have it."""
        with hydra_at(self.base / "conf", CONFIG.format(sweep_dir=self.sweep_dir)) as context:
            hydra = GlobalHydra.instance().hydra
            assert hydra is not None
            config = hydra.compose_config("config", [], run_mode=RunMode.MULTIRUN)
            HydraConfig.instance().set_config(config)
            (point,) = compose.compose(config, context.config_loader, [["lr=0.5"]], num)
            program = compose.pack(task, context).of(point)
        self.points[num] = point
        code = snapshot.take(self.project, [], [], 1_000_000, self.base / "cache")
        sent = JobSpec(
            sweep=SWEEP,
            num=num,
            overrides=point.overrides,
            code=Placement(snapshot.upload(self.bucket, code), str(self.project)),
            cwd=str(self.project),
            script=str(self.project / "train.py"),
            data=[self._send_data(path) for path in data or []],
            sweep_dir=str(point.sweep_dir),
            output_dir=str(point.output_dir),
            variables={},
            preempt_grace_s=20.0,
            tracking="none",
            experiment=None,
            sys_path=[str(self.project)],
        )
        self.bucket.write(self.names.spec(num), seal_spec(KEY, replace(sent, **spec), program))
        self.bucket.write(self.names.status(num), b"", metadata=JobStatus(num).to_metadata())
        if on_the_vm:
            for path in (self.project, *(data or [])):
                shutil.rmtree(path)

    def _send_data(self, path: Path) -> Placement:
        taken = snapshot.take_data(path, self.base / "cache")
        return Placement(snapshot.upload(self.bucket, taken), str(path))

    def agent(
        self,
        name: str = "hg-calm-otter-0",
        num: int = 0,
        any_job: bool = False,
        by_way_of: storage.Bucket | None = None,
    ) -> Agent:
        scratch = self.base / name
        scratch.mkdir(exist_ok=True)
        own = {"hydra-gce-sweep": SWEEP, "hydra-gce-key": KEY.hex(), "hydra-gce-job": str(num)}
        own["hydra-gce-any-job"] = "true" if any_job else "false"
        instance = Instance(name, "us-central1-a", "p", "e2-micro", own)
        return Agent(instance, by_way_of or self.bucket._bucket, scratch, Departure())

    def status(self, num: int = 0) -> JobStatus:
        entry = self.bucket.find(self.names.status(num))
        assert entry is not None
        return JobStatus.from_metadata(entry.metadata)

    def collect(self, num: int = 0) -> Collected:
        """Brings the job home, into a place that the VM has not written to."""
        point = self.points[num]
        to = self.base / "home" / str(num)
        home = Point(num, point.overrides, point.config, point.sweep_dir, to)
        collected = collect(self.bucket, self.names, KEY, home)
        assert collected is not None
        return collected

    def outputs(self, num: int = 0, attempt: int = 1) -> dict[str, str]:
        """The text files of the mirror."""
        target = self.base / f"mirror-{num}-{attempt}-{os.urandom(2).hex()}"
        target.mkdir()
        restore_newest(self.bucket, self.names, KEY, num, attempt, target)
        return {
            path.relative_to(target).as_posix(): path.read_text()
            for path in target.rglob("*")
            if path.is_file()
        }

    def log(self, num: int = 0, attempt: int = 1) -> str:
        parts = sorted(entry.name for entry in self.bucket.list(f"{self.names.job(num)}log/{attempt:03d}-"))
        return b"".join(self.bucket.read(name) for name in parts).decode()
