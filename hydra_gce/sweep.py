"""A sweep from its first line to its last: the way of every point, in order."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import SystemRandom
from typing import TYPE_CHECKING

from hydra.core.utils import JobReturn, configure_log, setup_globals
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

import hydra_gce
from hydra_gce import cargo, compose, validation
from hydra_gce.backend import Backend, connect
from hydra_gce.bucket import Bucket, SweepNames
from hydra_gce.cargo import Cargo, Sent
from hydra_gce.compose import Point, Program
from hydra_gce.display import Display
from hydra_gce.errors import CollectError, GenerationMismatch, SweepDirBusy
from hydra_gce.fleet import Fleet
from hydra_gce.home import SweepRecord, home
from hydra_gce.interrupt import Interrupts
from hydra_gce.jobs import JobSpec, JobStatus, seal_spec
from hydra_gce.leave import delete_all, see_them_leave
from hydra_gce.machines import Candidate, VMRequest, dollars, resolve
from hydra_gce.names import sweep_name
from hydra_gce.playback import Playback
from hydra_gce.request import Order
from hydra_gce.settings import Settings
from hydra_gce.unreachable import UNREACHABLE
from hydra_gce.view import SweepView
from hydra_gce.watch import Watch
from hydra_gce.worktree import git_state

if TYPE_CHECKING:
    from hydra_gce.tracking.relay import Relay

DEFAULT_MACHINE_TYPE = "e2-standard-2"

NO_PROJECT = (
    "No Google Cloud project found: this sweep runs on the embedded Compute Engine"
    " (this machine plays the cloud; nothing is charged)"
)

_TICK_S = (0.25, 2.0)
_PARALLEL_UPLOADS = 8
_INTERRUPTED = 130


@dataclass(frozen=True)
class Identity:
    """A sweep's name and the key that seals what belongs to it. The key is on the laptop and in its VMs' metadata."""

    names: SweepNames
    key: bytes
    started: float


@dataclass
class Sweep:
    """All batches that one sweeper launches: one name, one parent run in MLflow."""

    settings: Settings
    config: DictConfig
    hydra_context: HydraContext
    task_function: TaskFunction
    _identity: Identity | None = None
    _news: list[tuple[float, str]] = field(default_factory=list)
    _unreachable: bool = False

    def launch(self, job_overrides: Sequence[Sequence[str]], first: int) -> list[JobReturn]:
        """Runs one batch, a VM for each point, and returns what Hydra expects, in the points' order."""
        setup_globals()
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        validation.check(self.settings, os.environ)
        candidates = resolve(_vm_request(self.settings))
        sweep_dir = Path(str(self.config.hydra.sweep.dir)).absolute()
        with (
            _only_launch_in(sweep_dir),
            _importing("google.cloud.compute_v1"),
            ThreadPoolExecutor(1) as aside,
        ):
            connecting = aside.submit(connect, self.settings.backend, self.settings.project)
            points = compose.compose(self.config, self.hydra_context.config_loader, job_overrides, first)
            program = compose.pack(self.task_function, self.hydra_context)
            packed = cargo.pack(self.settings, compose.script(), Path.cwd(), self._tell)
            backend = connecting.result()
            if self.settings.backend == "auto" and backend.kind == "local":
                self._tell(NO_PROJECT)
            bucket = backend.bucket(self.settings.bucket)
            identity = self._identity = self._identity or self._register(backend, bucket, sweep_dir)
            sent = cargo.send(bucket, packed)
            self._send_specs(bucket, identity, points, program, packed, sent)
            order = _order(self.settings, backend, bucket, identity, sent)
            return self._run(Batch(backend, bucket, identity, order, candidates, points, packed, sweep_dir))

    def _register(self, backend: Backend, bucket: Bucket, sweep_dir: Path) -> Identity:
        """Takes a name that no sweep in this bucket has, and writes down what was asked."""
        description = {
            "version": hydra_gce.__version__,
            "project": backend.project,
            "settings": asdict(self.settings),
            "sweep_dir": str(sweep_dir),
            "started": time.time(),
        }
        while True:
            names = SweepNames(sweep_name(SystemRandom()))
            try:
                bucket.write(names.description, json.dumps(description).encode(), if_generation=0)
                break
            except GenerationMismatch:
                continue
        identity = Identity(names, secrets.token_bytes(32), time.time())
        SweepRecord(
            sweep=names.sweep,
            key=identity.key.hex(),
            backend=backend.kind,
            project=backend.project,
            bucket=bucket.name,
            sweep_dir=str(sweep_dir),
            started=identity.started,
            pid=os.getpid(),
        ).save()
        return identity

    def _send_specs(
        self,
        bucket: Bucket,
        identity: Identity,
        points: Sequence[Point],
        program: Program,
        packed: Cargo,
        sent: Sent,
    ) -> None:
        """A sealed spec and a first status for each job."""
        names, script = identity.names, compose.script()
        below = (str(packed.root / path) for path in packed.resolution.paths)
        paths = list(dict.fromkeys([*compose.import_paths(packed.root), *below]))
        variables = {
            name: os.environ[name] for name in self.settings.env.pass_variables if name in os.environ
        }

        def send(point: Point) -> None:
            spec = JobSpec(
                sweep=names.sweep,
                num=point.num,
                overrides=point.overrides,
                code=sent.code,
                cwd=os.getcwd(),
                script=script,
                data=sent.data,
                sweep_dir=str(point.sweep_dir),
                output_dir=str(point.output_dir),
                variables=variables,
                preempt_grace_s=self.settings.preempt_grace_s,
                tracking=self.settings.tracking.mode != "none",
                experiment=self._experiment(),
                sys_path=paths,
            )
            envelope = seal_spec(identity.key, spec, program.with_config(point.config))
            bucket.write(names.spec(point.num), envelope)
            bucket.write(names.status(point.num), b"", metadata=JobStatus(point.num).to_metadata())

        with ThreadPoolExecutor(_PARALLEL_UPLOADS) as pool:
            list(pool.map(send, points))

    def _run(self, batch: Batch) -> list[JobReturn]:
        """Provisions and watches until every job has its result; then sees to it that no VM is left."""
        fleet = Fleet(batch.backend, batch.order, batch.candidates, self._tell)
        names, key = batch.identity.names, batch.identity.key
        watch = Watch(batch.bucket, names, key, fleet, self.settings, batch.points, self._tell)
        playback = Playback(self._relay(batch), watch)
        display = Display.for_terminal(sys.stdout)
        interrupts = Interrupts(self.settings.on_interrupt, display)
        try:
            with interrupts:
                while not watch.done:
                    self._tick(watch)
                    playback.tick()
                    display.update(self._view(batch, watch, playback))
                    time.sleep(_pause(time.time() - batch.identity.started))
        except BaseException as error:
            if interrupts.keep:
                left = f"the VMs go on (hydra-gce ls shows them, hydra-gce down {names.sweep} ends them)"
            else:
                fleet.close()
                left = delete_all(batch.backend, names.sweep)
            display.close(self._view(batch, watch, playback, left))
            if isinstance(error, KeyboardInterrupt):
                raise SystemExit(_INTERRUPTED) from None  # all is said: no traceback
            raise
        finally:
            watch.close()
            fleet.close()
        left = see_them_leave(batch.backend, names.sweep)
        trouble = playback.close()
        display.close(self._view(batch, watch, playback, left))
        if trouble:
            print(trouble, file=sys.stderr)
        uncollected = [
            t.collected.uncollected for t in watch.tracks.values() if t.collected and t.collected.uncollected
        ]
        if uncollected:
            raise CollectError("\n".join(str(error) for error in uncollected))
        return [track.collected.job_return for track in watch.tracks.values() if track.collected is not None]

    def _tick(self, watch: Watch) -> None:
        """A network that is away for a while, or a laptop that slept, is no reason to end a sweep."""
        try:
            watch.tick()
        except UNREACHABLE as error:
            if not self._unreachable:
                self._tell(f"Google Cloud cannot be reached ({type(error).__name__}); the VMs go on, and so does this")
            self._unreachable = True
        else:
            self._unreachable = False

    def _relay(self, batch: Batch) -> Relay | None:
        if self.settings.tracking.mode == "none":
            return None
        from hydra_gce.tracking.relay import Relay, TrackedSweep

        commit, dirty = git_state(batch.packed.root)
        tracked = TrackedSweep(
            name=batch.identity.names.sweep,
            created=batch.identity.started,
            project=batch.backend.project,
            backend=batch.backend.kind,
            job_overrides={point.num: point.overrides for point in batch.points},
            git_commit=commit,
            git_dirty=dirty,
            experiment=self._experiment(),
        )
        return Relay(batch.bucket, batch.identity.names, tracked, os.environ.get("MLFLOW_TRACKING_URI"))

    def _experiment(self) -> str | None:
        """The one for programs that do not choose one themselves."""
        return self.settings.tracking.experiment or os.environ.get("MLFLOW_EXPERIMENT_NAME")

    def _tell(self, line: str) -> None:
        self._news.append((time.time(), line))

    def _view(self, batch: Batch, watch: Watch, playback: Playback, left: str = "") -> SweepView:
        return SweepView(
            sweep=batch.identity.names.sweep,
            project=batch.backend.project,
            backend=batch.backend.kind,
            jobs=playback.with_runs(watch.views()),
            started=batch.identity.started,
            now=time.time(),
            machine=_machine_said(batch.candidates[0]),
            estimate=_price_said(batch.candidates),
            code=f"code {batch.packed.code.files} files, {batch.packed.code.bytes / 1000:,.0f} kB",
            news=list(self._news),
            mlflow=playback.link,
            sweep_dir=str(batch.sweep_dir),
            vms_left=left,
        )


@dataclass(frozen=True)
class Batch:
    """Everything that is settled when the first VM is asked for."""

    backend: Backend
    bucket: Bucket
    identity: Identity
    order: Order
    candidates: list[Candidate]
    points: list[Point]
    packed: Cargo
    sweep_dir: Path


def _vm_request(settings: Settings) -> VMRequest:
    vm = settings.vm
    return VMRequest(
        gpu=vm.gpu,
        gpu_count=vm.gpu_count,
        machine_type=vm.machine_type,
        provisioning=vm.provisioning,
        zones=vm.zones,
        regions=vm.regions,
        disk_gb=vm.disk_gb,
        disk_type=vm.disk_type,
        external_ip=vm.external_ip,
        reservation=vm.reservation,
        default_machine_type=DEFAULT_MACHINE_TYPE,
    )


def _order(settings: Settings, backend: Backend, bucket: Bucket, identity: Identity, sent: Sent) -> Order:
    attributes = {
        "hydra-gce-bucket": bucket.name,
        "hydra-gce-sweep": identity.names.sweep,
        "hydra-gce-key": identity.key.hex(),
        "hydra-gce-launcher": sent.launcher,
        "hydra-gce-environment": sent.environment,
        "hydra-gce-any-job": "true" if settings.max_vms or settings.keep_warm_s else "false",
        "hydra-gce-keep-warm-s": str(settings.keep_warm_s),
    }
    return Order(identity.names.sweep, backend.project, settings.vm, backend.image, attributes)


@contextmanager
def _only_launch_in(sweep_dir: Path) -> Iterator[None]:
    """:raises SweepDirBusy: another launch is at work there."""
    from filelock import FileLock, Timeout

    sweep_dir.mkdir(parents=True, exist_ok=True)
    lock = home() / "locks" / hashlib.sha256(str(sweep_dir.resolve()).encode()).hexdigest()
    lock.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(lock, timeout=0):
            yield
    except Timeout as error:
        raise SweepDirBusy(
            f"hydra.sweep.dir: another launch is at work in {sweep_dir}. Wait for it, or choose another directory:"
            " hydra.sweep.dir=<directory>. See what runs: hydra-gce ls"
        ) from error


@contextmanager
def _importing(module: str) -> Iterator[None]:
    """Begins a slow import while something else is under way."""
    thread = threading.Thread(target=__import__, args=(module,), daemon=True)
    thread.start()
    yield


def _pause(elapsed: float) -> float:
    """Short at first, when much happens; a long sweep is looked at every two seconds."""
    shortest, longest = _TICK_S
    return min(longest, max(shortest, elapsed / 60))


def _machine_said(candidate: Candidate) -> str:
    return str(candidate).rpartition(" in ")[0]


def _price_said(candidates: Sequence[Candidate]) -> str:
    prices = [candidate.price.hourly for candidate in candidates]
    cheapest = min(candidates, key=lambda candidate: candidate.price.hourly)
    return f"${dollars(min(prices))}-{dollars(max(prices))}/h each ({cheapest.region} cheapest)"
