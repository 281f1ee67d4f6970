"""A sweep from its first line to its last: the way of every point, in order."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from hydra.core.utils import JobReturn, configure_log, setup_globals
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from hydra_gce import compose, specs, validation
from hydra_gce.backend import Backend, connect
from hydra_gce.batch import Batch
from hydra_gce.bucket import Bucket, SweepNames
from hydra_gce.cargo import pack as cargo
from hydra_gce.cargo.pack import Cargo, Sent
from hydra_gce.compose import Point, Program
from hydra_gce.compute.process import ComputeProcess
from hydra_gce.display import Display
from hydra_gce.errors import CollectError, Unreachable
from hydra_gce.fleet import Fleet, said
from hydra_gce.home import only_launch_in
from hydra_gce.identity import Identity, left_in, note_end, register
from hydra_gce.interrupt import Interrupts
from hydra_gce.leave import delete_all, see_them_leave
from hydra_gce.machines import Candidate, resolve
from hydra_gce.money import estimate
from hydra_gce.money.budget import Budget
from hydra_gce.money.keeper import Keeper, restored
from hydra_gce.money.ledger import Ledger
from hydra_gce.objective import sought_by
from hydra_gce.playback import Playback, relay_to_mlflow
from hydra_gce.request import order, vm_request
from hydra_gce.settings import Settings
from hydra_gce.specs import OtherPoints
from hydra_gce.tracked import tracked_sweep
from hydra_gce.tracking import mode
from hydra_gce.tracking.mode import Mode, Way
from hydra_gce.unreachable import UNREACHABLE
from hydra_gce.view import SweepView
from hydra_gce.watch import Watch

NO_PROJECT = """\
hydra-gce  No Google Cloud project found: this sweep runs on the embedded
           Compute Engine (this machine plays the cloud; nothing is charged).
           With a project of your own: hydra.launcher.project=<id>"""

NOT_IN_MLFLOW = (
    "The next launch like this one in the sweep's directory brings what is missing; no job runs again."
)

_TICK_S = (0.2, 2.0)
_INTERRUPTED = 130


@dataclass
class Sweep:
    """All batches that one sweeper launches: one name, one parent run in MLflow."""

    settings: Settings
    config: DictConfig
    hydra_context: HydraContext
    task_function: TaskFunction
    _identity: Identity | None = None
    _ledger: Ledger = field(default_factory=Ledger)
    _news: list[tuple[float, str]] = field(default_factory=list)
    _estimate: str = ""
    _unreachable: bool = False

    def launch(self, job_overrides: Sequence[Sequence[str]], first: int) -> list[JobReturn]:
        """Runs one batch, a VM for each point, and returns what Hydra expects, in the points' order."""
        setup_globals()
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        validation.check(self.settings, os.environ)
        candidates = resolve(vm_request(self.settings.vm))
        if budget := Budget.of(self.settings):
            budget.check(candidates)
        sweep_dir = Path(str(self.config.hydra.sweep.dir)).absolute()
        with only_launch_in(sweep_dir), ComputeProcess() as beside, ThreadPoolExecutor(1) as aside:
            connecting = aside.submit(connect, self.settings.backend, self.settings.project)
            points = compose.compose(self.config, self.hydra_context.config_loader, job_overrides, first)
            program = compose.pack(self.task_function, self.hydra_context)
            packed = cargo.pack(self.settings, compose.script(), Path.cwd(), sweep_dir, self._tell)
            backend = connecting.result()
            if self.settings.backend == "auto" and backend.kind == "local":
                print(NO_PROJECT, flush=True)
            if self.settings.dry_run:
                self._show(backend, candidates, points, packed)
            bucket = backend.bucket(self.settings.bucket)
            compute = beside.use(backend)
            reading = aside.submit(compute.quotas)
            sent = cargo.send(bucket, packed)
            way = mode.choose(
                self.settings.tracking.mode,
                os.environ,
                backend.kind == "local",
                self.settings.tracking.durable,
            )
            if way.why and self._identity is None:
                self._tell(way.why)
            self._identity = self._begin(
                backend, bucket, sweep_dir, candidates, points, program, packed, sent, way
            )
            vms = order(self.settings, backend.project, backend.image, bucket.name, self._identity, sent)
            watch = self._run(
                Batch(
                    backend,
                    compute,
                    bucket,
                    self._identity,
                    vms,
                    candidates,
                    reading.result(),
                    points,
                    packed,
                    sweep_dir,
                    way.mode,
                )
            )
        return _returns(watch)

    def _begin(
        self,
        backend: Backend,
        bucket: Bucket,
        sweep_dir: Path,
        candidates: Sequence[Candidate],
        points: Sequence[Point],
        program: Program,
        packed: Cargo,
        sent: Sent,
        way: Way,
    ) -> Identity:
        """Sends the jobs: to the sweep that this is a batch of, or that a launch before left here, or to a new one."""

        def send(identity: Identity) -> Identity:
            by_vms = way.mode is Mode.DURABLE
            told = (
                tracked_sweep(identity, backend, points, packed, self.settings, os.environ)
                if by_vms
                else None
            )
            specs.send(bucket, identity, self.settings, points, program, packed, sent, os.environ, way, told)
            return identity

        known = self._identity or left_in(sweep_dir, backend, bucket)
        if known is not None:
            try:
                send(known)
            except OtherPoints as other:
                self._tell(f"{other} than here: a new sweep begins. What runs of that one: hydra-gce ls")
            else:
                if self._identity is None:
                    self._ledger = restored(bucket, known.names.ledger, candidates)
                    self._tell(
                        f"goes on with sweep {known.names.sweep}, whose launch did not come to its end"
                    )
                else:
                    note_end(known, None)
                return known
        self._ledger = Ledger()
        return send(register(backend, bucket, self.settings, sweep_dir))

    def _show(
        self, backend: Backend, candidates: Sequence[Candidate], points: Sequence[Point], packed: Cargo
    ) -> NoReturn:
        """``dry_run``: what would be asked for; nothing is begun."""
        from hydra_gce import dry_run

        nobody = Identity(SweepNames("dry-run"), b"", time.time())
        bucket = self.settings.bucket or backend.default_bucket
        sent = cargo.planned(packed)
        vms = order(self.settings, backend.project, backend.image, bucket, nobody, sent)
        for line in dry_run.lines(vms, candidates, points, self.settings, backend.compute_endpoint):
            print(line)
        raise SystemExit(0)

    def _run(self, batch: Batch) -> Watch:
        """Provisions and watches until every job has its result; then sees to it that no VM is left."""
        names = batch.identity.names
        ledger = self._ledger
        fleet = Fleet(
            batch.compute,
            batch.order,
            batch.candidates,
            self._tell,
            batch.quotas,
            ledger,
            steady=time.monotonic,
        )
        self._estimate = self._estimated(fleet, len(batch.points))
        watch = Watch(batch.bucket, names, batch.identity.key, fleet, self.settings, batch.points, self._tell)
        keeper = Keeper(batch.bucket, names.ledger, ledger)
        relay = relay_to_mlflow(batch, self.settings, os.environ, batch.mode)
        playback = Playback(relay, watch, self.settings.tracking.capture)
        display = Display.for_terminal(sys.stdout, log_dir=batch.sweep_dir)
        interrupts = Interrupts(self.settings.on_interrupt, display)
        try:
            with interrupts:
                while batch.identity.taken_up and not self._reached(watch.take_up):
                    time.sleep(_TICK_S[1])
                while not watch.done:
                    self._reached(watch.tick)
                    keeper.tick()
                    playback.tick()
                    display.update(self._view(batch, watch, playback))
                    time.sleep(_pause(time.time() - batch.identity.started))
        except BaseException as error:
            if interrupts.keep:
                left = f"the VMs go on (hydra-gce ls shows them, hydra-gce down {names.sweep} ends them)"
            else:
                fleet.close()
                left = delete_all(batch.compute, names.sweep)
            display.close(self._view(batch, watch, playback, left))
            if isinstance(error, KeyboardInterrupt):
                raise SystemExit(_INTERRUPTED) from None  # all is said: no traceback
            raise
        finally:
            watch.close()
            fleet.close()
            keeper.close()
        left = see_them_leave(batch.compute, names.sweep)
        trouble = playback.close(lambda: display.update(self._view(batch, watch, playback, left)))
        if not trouble:  # else another launch here finds all jobs done, and brings what MLflow has not got
            note_end(batch.identity, time.time())
        display.close(self._view(batch, watch, playback, left))
        if trouble:
            print(f"{trouble} {NOT_IN_MLFLOW}", file=sys.stderr)
        return watch

    def _estimated(self, fleet: Fleet, points: int) -> str:
        """Over the places where the project may have such a VM; the others are told, once a sweep."""
        left_out = fleet.without_quota()
        if left_out and not self._estimate:
            self._tell(said.not_asked(left_out))
        without = {(candidate.zone, candidate.model) for candidate, _ in left_out}
        within = [one for one in fleet.candidates if (one.zone, one.model) not in without]
        return estimate.before(within or fleet.candidates, points, self.settings)

    def _reached(self, step: Callable[[], None]) -> bool:
        """A network that is away for a while, or a laptop that slept, is no reason to end a sweep."""
        try:
            step()
        except (Unreachable, *UNREACHABLE) as error:
            if not self._unreachable:
                why = type(error.__cause__ or error).__name__
                self._tell(f"Google Cloud cannot be reached ({why}); the VMs go on, and so does this")
            self._unreachable = True
        else:
            self._unreachable = False
        return not self._unreachable

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
            estimate=self._estimate,
            code=f"code {batch.packed.code.files} files, {batch.packed.code.bytes / 1000:,.0f} kB",
            news=list(self._news),
            mlflow=playback.link,
            mlflow_share=playback.share,
            sweep_dir=str(batch.sweep_dir),
            return_name=watch.return_name,
            sought=sought.value if (sought := sought_by(self.config.hydra.sweeper)) else "",
            notes=watch.notes,
            vms_left=left,
            outlook=str(estimate.outlook(self._ledger, watch.tracks, watch.finished, time.time()) or ""),
        )


def _returns(watch: Watch) -> list[JobReturn]:
    """:raises CollectError: outputs could not be written here; they are in the bucket."""
    collected = [track.collected for track in watch.tracks.values() if track.collected is not None]
    uncollected = [str(one.uncollected) for one in collected if one.uncollected is not None]
    if uncollected:
        raise CollectError("\n".join(uncollected))
    return [one.job_return for one in collected]


def _pause(elapsed: float) -> float:
    """Short at first, when much happens; a long sweep is looked at every two seconds."""
    shortest, longest = _TICK_S
    return min(longest, max(shortest, elapsed / 60))


def _machine_said(candidate: Candidate) -> str:
    return str(candidate).rpartition(" in ")[0]
