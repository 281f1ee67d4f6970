"""One batch of a sweep under watch: by the process that holds the sweep's lease, while all others look on."""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

from hydra_gce.cloud.unreachable import AWAY
from hydra_gce.display import Display
from hydra_gce.errors import Unreachable
from hydra_gce.fleet import Fleet, said
from hydra_gce.follow import background, warm
from hydra_gce.follow.echo import Echo
from hydra_gce.follow.follower import Follower
from hydra_gce.follow.interrupt import INTERRUPTED, Detached, Interrupts, Wish
from hydra_gce.follow.leave import delete_all, see_them_leave
from hydra_gce.follow.playback import Playback, relay_to_mlflow
from hydra_gce.follow.publish import Publisher, published
from hydra_gce.identity import note_end, note_watcher
from hydra_gce.launch.batch import Batch
from hydra_gce.lease import Holder, Lease
from hydra_gce.machines import Candidate
from hydra_gce.money import estimate
from hydra_gce.money.keeper import Keeper, restored
from hydra_gce.owner import owner_here
from hydra_gce.view import SweepView
from hydra_gce.watch import Watch, wishes

NOT_IN_MLFLOW = (
    "The next launch like this one in the sweep's directory brings what is missing; no job runs again."
)
_TICK_S = (0.2, 2.0)
_LOOK_S = 2.0


class Watching:
    """One batch, and everything that works on it in this process.

    Whoever does not hold the lease looks on: it changes nothing of the sweep, in the bucket or elsewhere.

    ``finds_warm``: VMs of the batch before may wait for its jobs. ``keeps_warm``: its own may wait for the next one's.
    """

    def __init__(
        self, follower: Follower, batch: Batch, *, finds_warm: bool = False, keeps_warm: bool = False
    ) -> None:
        self._follower = follower
        self._batch = batch
        self._keeps_warm = keeps_warm
        self.left_warm = False
        """Whether VMs wait for the next batch, and nobody sees to their end any more."""
        self._names = names = batch.identity.names
        settings, ledger, tell = follower.settings, follower.ledger, follower.tell
        self._fleet = Fleet(
            batch.compute, batch.order, batch.candidates, tell, batch.quotas, ledger, steady=time.monotonic
        )
        follower.estimate = self._estimated()
        bucket, key = batch.bucket, batch.identity.key
        points = batch.plan.points
        self._watch = Watch(bucket, names, key, self._fleet, settings, points, tell, finds_warm=finds_warm)
        self._keeper = Keeper(bucket, names.ledger, ledger)
        self._publisher = Publisher(bucket, names.view)
        relay = relay_to_mlflow(batch, follower.environ)
        self._playback = Playback(relay, self._watch, settings.tracking.capture)
        self._echo = Echo(bucket, names.sweep, batch.plan.points[0].num, follower.echo)
        self._display = Display.for_terminal(
            follower.stream,
            log_dir=_made(batch.plan.sweep_dir),
            # A table that is drawn over itself would be drawn over the job's words.
            lines=follower.echo is not None,
        )
        self._interrupts = Interrupts(
            "detach" if follower.in_background else settings.on_interrupt, self._display
        )
        self._lease = Lease(bucket, names.watcher, Holder.here(follower.in_background))
        self._term = 0
        self._seen: SweepView | None = None
        self._cancelling = False
        self._cancel_written = False

    def to_the_end(self) -> Watch:
        """Provisions and watches until every job has its result; then sees to it that no VM is left.

        :raises interrupt.Detached: it goes on without us.
        :raises SystemExit: the person has cancelled it, and all is said.
        """
        try:
            with self._interrupts, self._echo:
                self._take()
                while not self._watch.done:
                    self._tick()
                    self._heed(self._interrupts.wait(_pause(time.time() - self._batch.identity.started)))
        except Detached:
            self._leave_it()
            raise
        except BaseException as error:
            self._end_it()
            if isinstance(error, KeyboardInterrupt):
                raise SystemExit(INTERRUPTED) from None  # all is said: no traceback
            raise
        finally:
            self._watch.close()
            self._fleet.close()
            self._keeper.close(self._lease.is_certain)
        self._bring_to_end()
        if self._cancelling:
            raise SystemExit(INTERRUPTED)
        return self._watch

    # Who watches

    def _take(self) -> None:
        """Waits until nobody else watches, showing what that one sees, and goes on from what is there."""
        told: Holder | None = None
        while not self._is_ours():
            other = self._lease.other
            if self._follower.in_background and self._lease.other_lives:
                raise Detached(None)
            if other is not None and other != told and not self._makes_way(other):
                self._follower.tell(
                    f"process {other.pid} on {other.host} watches this sweep; this one shows what that sees,"
                    " and goes on where that ends"
                )
            told = other
            if self._cancelling and not self._cancel_written:
                self._follower.reached(self._write_cancel)
            self._look_on()
            self._heed(self._interrupts.wait(_LOOK_S))
        self._go_on(told is not None)

    def _makes_way(self, other: Holder) -> bool:
        """Whether nothing need be said of that one: it leaves, or nobody reads it here."""
        return self._follower.in_background or background.ask_to_leave(other)

    def _go_on(self, waited: bool) -> None:
        """From what whoever watched before has left."""
        self._term = self._lease.terms
        note_watcher(self._names.sweep)
        somebody_did = waited or self._term > 1
        if not (self._batch.identity.taken_up or somebody_did):
            return
        while not self._follower.reached(lambda: self._take_up(somebody_did)):
            self._heed(self._interrupts.wait(_TICK_S[1]))

    def _take_up(self, changed: bool) -> None:
        """``changed``: somebody else may have watched since this process has read how things stand."""
        if changed:
            batch, ledger = self._batch, self._follower.ledger
            ledger.take_in(restored(batch.bucket, self._names.ledger, batch.candidates))
        self._watch.take_up()

    def _is_ours(self) -> bool:
        """Also where that cannot be asked for a moment, until somebody else may have taken it."""
        try:
            return self._lease.hold()
        except (Unreachable, *AWAY) as error:
            self._follower.tell_unreachable(error)
            return self._lease.is_certain

    @property
    def _looks_on(self) -> bool:
        return self._lease.other is not None

    def _look_on(self) -> None:
        """Shows what the process sees that watches."""

        def look() -> None:
            self._seen = published(self._batch.bucket, self._names.view) or self._seen

        self._follower.reached(look)
        if not self._interrupts.asking:
            self._display.update(self._view())

    # While it runs

    def _tick(self) -> None:
        if not self._is_ours():
            self._take()
        elif self._lease.terms != self._term:
            self._go_on(waited=True)
        self._follower.reached(self._step)
        view = self._view()
        if self._lease.is_certain:  # a look may take long, where the network does
            self._keeper.tick()
            self._playback.tick()
            self._publisher.tick(view)
        if not self._interrupts.asking and not self._catches_up():
            self._display.update(view)
        if not self._follower.settings.wait and not self._follower.in_background and self._watch.placed:
            raise Detached(None)
        if self._follower.is_forlorn:
            raise Detached(None)

    def _catches_up(self) -> bool:
        """Whether what another process has shown as ended is still brought here, too."""
        tracks = self._watch.tracks.values()
        if self._seen is not None and not any(track.ending and not track.done for track in tracks):
            self._seen = None
        return self._seen is not None

    def _step(self) -> None:
        if self._cancelling and not self._cancel_written:
            self._write_cancel()
        # What was asked for from elsewhere.
        for num, who in wishes.cancelled(self._batch.bucket, self._names).items():
            self._watch.cancel([num], f"cancelled by {who}")
        self._watch.tick()

    def _heed(self, wish: Wish | None) -> None:
        if wish is None or self._cancelling:
            return
        if wish is Wish.DETACH:
            raise Detached(wish)
        self._cancelling = True
        self._follower.tell("cancelled: the VMs save their work and end (Ctrl-C again: at once)")
        self._watch.cancel(self._watch.tracks, f"cancelled by {owner_here()}")

    def _write_cancel(self) -> None:
        """For another process that watches, or for the one that goes on where this one is killed."""
        open_ = [num for num, track in self._watch.tracks.items() if not track.done]
        wishes.cancel(self._batch.bucket, self._names, open_, owner_here())
        self._cancel_written = True

    # How it ends

    def _leave_it(self) -> None:
        """To a process that stays, unless there is one, or this is one that makes way."""
        sweep, batch, looks_on = self._names.sweep, self._batch, self._looks_on
        last = self._view(
            f"the VMs go on: hydra-gce attach {sweep} comes back, hydra-gce cancel {sweep} ends it"
        )
        self._fleet.close()
        self._keeper.close(not looks_on)
        self._playback.leave()
        self._publisher.close(None if looks_on else replace(last, vms_left=""))
        self._release()
        if not self._follower.in_background and not looks_on:
            background.start(batch.backend, batch.bucket.name, sweep)
        self._display.close(last)

    def _end_it(self) -> None:
        """At once, after an error or a second Ctrl-C. Of a sweep that somebody else watches, only the looking ends."""
        self._fleet.close()
        stays = self._looks_on and not self._cancelling
        left = "" if stays else delete_all(self._batch.compute, self._names.sweep)
        self._keeper.close(not self._looks_on)
        last = self._view(left)
        self._publisher.close(None if self._looks_on else last)
        self._playback.leave()
        self._release()
        self._display.close(last)

    def _bring_to_end(self) -> None:
        try:
            with self._lease.kept():
                last, trouble = self._see_to_the_end()
        except KeyboardInterrupt:
            self._playback.leave()
            self._release()
            sweep = self._names.sweep
            print(
                f"All jobs of sweep {sweep} have their results; hydra-gce attach {sweep} brings what is missing",
                file=sys.stderr,
            )
            raise SystemExit(INTERRUPTED) from None
        self._release()
        self._display.close(last)
        if trouble:
            print(f"{trouble} {NOT_IN_MLFLOW}", file=sys.stderr)

    def _see_to_the_end(self) -> tuple[SweepView, str]:
        """The last view, and what MLflow has not got."""
        compute, sweep = self._batch.compute, self._names.sweep
        keep_warm_s = self._follower.settings.keep_warm_s
        if self._keeps_warm and not (self._cancelling or self._watch.over_budget):
            self.left_warm = True
            left = warm.waiting_said(compute, sweep, keep_warm_s)
        elif keep_warm_s:
            left = warm.delete(compute, self._batch.bucket, sweep)
        else:
            left = see_them_leave(compute, sweep)
        trouble = self._playback.close(lambda: self._display.update(self._view(left)))
        if not trouble:  # else another launch here finds all jobs done, and brings what MLflow has not got
            note_end(self._batch.identity, time.time())
        last = replace(self._view(left), over=True)
        self._publisher.close(None if self._looks_on else last)
        return last, trouble

    def _release(self) -> None:
        with suppress(Unreachable, *AWAY):
            self._lease.release()

    # What is said

    def _estimated(self) -> str:
        """Over the places where the project may have such a VM; the others are told, once a sweep."""
        fleet, follower = self._fleet, self._follower
        left_out = fleet.without_quota()
        if left_out and not follower.estimate:
            follower.tell(said.not_asked(left_out))
        without = {(candidate.zone, candidate.model) for candidate, _ in left_out}
        within = [one for one in fleet.candidates if (one.zone, one.model) not in without]
        points = len(self._batch.plan.points)
        return estimate.before(within or fleet.candidates, points, follower.settings)

    def _view(self, left: str = "") -> SweepView:
        """What is seen here, or, where this process only looks on, by the one that watches."""
        if self._looks_on and self._seen is not None:
            news = [*self._seen.news, *self._follower.news]
            return replace(self._seen, now=time.time(), news=news, vms_left=left)
        return self._own_view(left)

    def _own_view(self, left: str) -> SweepView:
        batch, watch, playback, follower = self._batch, self._watch, self._playback, self._follower
        ledger, now = follower.ledger, time.time()
        outlook = estimate.outlook(ledger, watch.tracks, watch.finished, now)
        earlier = [num for num in ledger.jobs() if num not in watch.tracks]
        return SweepView(
            sweep=self._names.sweep,
            project=batch.backend.project,
            backend=batch.backend.kind,
            jobs=playback.with_runs(watch.views()),
            started=batch.identity.started,
            now=now,
            machine=_machine_said(batch.candidates[0]),
            estimate=follower.estimate,
            code=batch.plan.code,
            news=list(follower.news),
            mlflow=playback.link,
            mlflow_share=playback.share,
            sweep_dir=str(batch.plan.sweep_dir),
            return_name=watch.return_name,
            notes=watch.notes,
            vms_left=left,
            outlook=str(outlook or ""),
            sought=batch.plan.sought,
            earlier_cost=sum((ledger.bill(num, now)[0] for num in earlier), Decimal(0)),
        )


def _made(directory: Path) -> Path | None:
    """None where it cannot be here: on another machine than the one that launched, for one."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return directory


def _pause(elapsed: float) -> float:
    """Short at first, when much happens; a long sweep is looked at every two seconds."""
    shortest, longest = _TICK_S
    return min(longest, max(shortest, elapsed / 60))


def _machine_said(candidate: Candidate) -> str:
    return str(candidate).rpartition(" in ")[0]
