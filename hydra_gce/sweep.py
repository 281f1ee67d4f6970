"""A sweep from its first line to its last: the way of every point, in order."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, NoReturn

from hydra_gce import validation
from hydra_gce.bucket import Bucket, SweepNames
from hydra_gce.cargo import pack as cargo
from hydra_gce.cargo.pack import Cargo, Sent
from hydra_gce.cloud.backend import Backend, connect
from hydra_gce.coming_back import resume
from hydra_gce.coming_back.resume import Decision, Earlier, Matching
from hydra_gce.compute.process import ComputeProcess
from hydra_gce.follow import background
from hydra_gce.follow.follower import Follower
from hydra_gce.follow.leave import delete_all
from hydra_gce.follow.warm import WarmVMs
from hydra_gce.follow.watching import Watching
from hydra_gce.home import only_launch_in
from hydra_gce.identity import Identity, note_end, register
from hydra_gce.launch import compose, specs
from hydra_gce.launch.batch import Batch
from hydra_gce.launch.compose import Point, Program
from hydra_gce.launch.plan import Plan
from hydra_gce.launch.plan import write as write_plan
from hydra_gce.launch.tracked import tracked_sweep
from hydra_gce.machines import Candidate, resolve
from hydra_gce.money.budget import Budget
from hydra_gce.money.keeper import restored
from hydra_gce.request import order, vm_request
from hydra_gce.settings import Settings
from hydra_gce.tracking import mode
from hydra_gce.tracking.mode import Mode, Way
from hydra_gce.watch import Watch

NO_PROJECT = """\
hydra-gce  No Google Cloud project found: this sweep runs on the embedded
           Compute Engine (this machine plays the cloud; nothing is charged).
           With a project of your own: hydra.launcher.project=<id>"""


@dataclass(frozen=True)
class Work:
    """What is to run, and where its outputs go. Composed and packed when the launch comes to it: while others wait.

    ``sought`` says which return values are the best ("highest", "lowest"), empty where nobody has said so.
    """

    sweep_dir: Path
    compose: Callable[[], list[Point]]
    pack: Callable[[], Program]
    sought: str = ""


class Shown(Exception):
    """``dry_run``: the plan was printed, and nothing begun."""


@dataclass(frozen=True)
class _Load:
    """What a batch sends."""

    points: list[Point]
    program: Program
    packed: Cargo
    sent: Sent
    way: Way
    sought: str


@dataclass
class Sweep:
    """All batches that one launcher sends: one name, one parent run in MLflow.

    ``stream`` is where the person sees it. ``single``: one job, asked for as a plain run: what it prints goes to
    stdout, and where such a one has completed in the directory, it is run again. ``more``: batches may follow, also
    after the last one.
    """

    settings: Settings
    stream: IO[str] = field(default_factory=lambda: sys.stdout)
    single: bool = False
    more: bool = False
    _identity: Identity | None = None

    def __post_init__(self) -> None:
        self._matching = Matching({})
        self._warm: WarmVMs | None = None
        echo = sys.stdout if self.single else None
        self._follower = Follower(self.settings, os.environ, stream=self.stream, echo=echo)
        self._tell = self._follower.tell

    def launch(self, work: Work) -> Watch:
        """Runs one batch, a VM for each point, and follows it to its end.

        :raises Shown: see there.
        :raises interrupt.Detached: it goes on without us.
        """
        keeps = self.more and self.settings.keep_warm_s > 0
        with self._begun(work) as batch:
            warm, self._warm = self._warm, None
            if warm is not None:
                warm.taken_over()
            watching = Watching(self._follower, batch, finds_warm=warm is not None, keeps_warm=keeps)
            watch = watching.to_the_end()
            if watching.left_warm:
                sweep, sent = batch.identity.names.sweep, batch.plan.sent
                self._warm = WarmVMs(batch.backend, batch.bucket.name, sweep, sent, self.stream)
            return watch

    def leave(self, work: Work) -> Batch:
        """Sends one batch, and leaves the rest to a process in the background."""
        with self._begun(work) as batch:
            background.start(batch.backend, batch.bucket.name, batch.identity.names.sweep)
            for _, line in self._follower.news:
                print(f"hydra-gce  {line}", file=self.stream, flush=True)
            return batch

    @contextmanager
    def _begun(self, work: Work) -> Iterator[Batch]:
        """Everything up to the first VM."""
        validation.check(self.settings, os.environ)
        candidates = resolve(vm_request(self.settings.vm))
        if budget := Budget.of(self.settings):
            budget.check(candidates)
        sweep_dir = work.sweep_dir
        with only_launch_in(sweep_dir), ComputeProcess() as beside, ThreadPoolExecutor(1) as aside:
            connecting = aside.submit(connect, self.settings.backend, self.settings.project)
            points = work.compose()
            program = work.pack()
            packed = cargo.pack(self.settings, compose.script(), Path.cwd(), sweep_dir, self._tell)
            backend = connecting.result()
            if self.settings.backend == "auto" and backend.kind == "local" and self._identity is None:
                print(NO_PROJECT, file=self.stream, flush=True)
            if self.settings.dry_run:
                self._show(backend, candidates, points, packed)
            bucket = backend.bucket(self.settings.bucket)
            compute = beside.use(backend)
            reading = aside.submit(compute.quotas)
            keyed = aside.submit(compute.project_key)
            sent = cargo.send(bucket, packed)
            if self._warm is not None and not self._warm.fit(sent):
                self._tell("the environment has changed: the VMs that wait do not have it, and are deleted")
                delete_all(compute, self._warm.sweep)
            way = mode.choose(
                self.settings.tracking.mode,
                os.environ,
                backend.kind == "local",
                self.settings.tracking.durable,
            )
            if way.why and self._identity is None:
                self._tell(way.why)
            load = _Load(points, program, packed, sent, way, work.sought)
            identity, plan = self._begin(backend, bucket, sweep_dir, candidates, load, keyed.result())
            self._identity = identity
            yield Batch(backend, compute, bucket, identity, plan, candidates, reading.result())

    def _begin(
        self,
        backend: Backend,
        bucket: Bucket,
        sweep_dir: Path,
        candidates: Sequence[Candidate],
        load: _Load,
        project_key: bytes | None,
    ) -> tuple[Identity, Plan]:
        """Sends the jobs: to the sweep that this is a batch of, that an earlier launch has begun, or to a new one."""
        identity, others = self._identity, []
        if identity is not None:
            note_end(identity, None)
        elif (earlier := self._earlier(sweep_dir, backend, bucket)) is not None:
            identity = earlier.identity
            self._follower.ledger = restored(bucket, identity.names.ledger, candidates)
            self._matching = Matching(earlier.marks, earlier.used)
            others = earlier.plans
        else:
            identity = register(backend, bucket, self.settings, sweep_dir, project_key)
        jobs = resume.looked_up(bucket, identity, self._matching.match(load.points, load.sent))
        decisions = resume.decide(jobs, lambda stale: resume.rerun(self.settings.on_changed, stale, jobs))
        if others:
            for line in resume.said(decisions, identity.names.sweep):
                self._tell(line)
        plan = self._send(backend, bucket, identity, load, decisions, bool(others))
        resume.begin_again(bucket, identity, decisions)
        left = resume.left_over(others, jobs, bucket, identity)
        if left:
            self._tell(
                f"{resume.jobs_said([point.num for point in left], 'is', 'are')} followed too: of an earlier launch"
            )
        return identity, replace(plan, points=[*plan.points, *left])

    def _earlier(self, sweep_dir: Path, backend: Backend, bucket: Bucket) -> Earlier | None:
        """What is gone on with."""
        found = resume.earlier(self.settings.resume, sweep_dir, backend, bucket)
        if found and self.single and self.settings.resume is None and resume.is_completed(found, bucket):
            return None
        return found

    def _send(
        self,
        backend: Backend,
        bucket: Bucket,
        identity: Identity,
        load: _Load,
        decisions: Sequence[Decision],
        goes_on: bool,
    ) -> Plan:
        """``goes_on``: a launch before this one may have been killed while it sent jobs of the same numbers."""
        settings, packed = self.settings, load.packed
        points = [one.job.point for one in decisions]
        told = tracked_sweep(identity, backend, points, packed, settings, os.environ)
        specs.send(
            bucket,
            identity,
            settings,
            points,
            load.program,
            packed,
            load.sent,
            os.environ,
            load.way,
            told if load.way.mode is Mode.DURABLE else None,
            {
                one.job.point.num: one.fresh_after
                for one in decisions
                if one.anew or (one.job.is_new and goes_on)
            },
        )
        plan = Plan(
            settings=settings,
            points=points,
            sent=load.sent,
            tracked=told,
            mode=load.way.mode,
            image=backend.image,
            code=f"code {packed.code.files} files, {packed.code.bytes / 1000:,.0f} kB",
            tracking_uri=mode.server_named(os.environ),
            sought=load.sought,
            marks={one.job.point.num: one.marks for one in decisions},
        )
        write_plan(bucket, identity, plan)
        return plan

    def _show(
        self, backend: Backend, candidates: Sequence[Candidate], points: Sequence[Point], packed: Cargo
    ) -> NoReturn:
        """``dry_run``: what would be asked for; nothing is begun."""
        from hydra_gce.launch import dry_run

        nobody = Identity(SweepNames("dry-run"), b"", time.time())
        bucket = self.settings.bucket or backend.default_bucket
        sent = cargo.planned(packed)
        vms = order(self.settings, backend.project, backend.image, bucket, nobody, sent)
        for line in dry_run.lines(vms, candidates, points, self.settings, backend.compute_endpoint):
            print(line, file=self.stream)
        raise Shown
