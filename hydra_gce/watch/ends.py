"""Jobs that end: their results and outputs are brought home, beside what else goes on."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from hydra_gce.bucket import Bucket, SweepNames
from hydra_gce.collect import Collected, collect, conclude
from hydra_gce.jobs import OWN_FAILURES, Failure, JobState
from hydra_gce.watch.reopen import reopen
from hydra_gce.watch.track import Track, cause

_AT_ONCE = 2
_FILES_SHOWN = 3


@dataclass
class Ends:
    """``tell`` takes lines for the person; ``notes`` are those that are said again when all is over.

    ``retries``: how often a job is begun again whose program failed by itself.
    """

    bucket: Bucket
    names: SweepNames
    key: bytes
    tell: Callable[[str], None]
    clock: Callable[[], float]
    retries: int = 0
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._pool = ThreadPoolExecutor(_AT_ONCE, "collect")

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def collect(self, track: Track) -> None:
        """The job has a result."""
        track.note = "collecting"
        track.ending = lambda: collect(self.bucket, self.names, self.key, track.point)

    def fail(self, track: Track, failure: Failure, message: str) -> None:
        """No VM can bring the job to an end; what its attempts have left is brought home."""
        self._conclude(track, JobState.FAILED, failure, message)

    def cancel(self, track: Track) -> None:
        """Nobody wants the job any more, and no VM works on it."""
        self._conclude(track, JobState.CANCELLED, None, track.cancelled)

    def _conclude(self, track: Track, state: JobState, failure: Failure | None, message: str) -> None:
        at = self.clock()
        track.ending = lambda: conclude(
            self.bucket, self.names, self.key, track.point, state, failure, message, at
        )

    def follow(self, track: Track) -> None:
        """One step of bringing home; one that fails is begun anew.

        :raises Exception: what it failed with.
        """
        if track.collecting is None:
            assert track.ending is not None
            track.collecting = self._pool.submit(track.ending)
        elif track.collecting.done():
            collecting, track.collecting = track.collecting, None
            collected = collecting.result()
            if collected is None:
                track.ending = None
            elif not self._is_tried_again(track, collected):
                self._end(track, collected)

    def _end(self, track: Track, collected: Collected) -> None:
        track.collected = collected
        track.ended = self.clock()
        track.state = collected.result.state
        track.note = cause(collected)
        for name in collected.result.working_dir_files[:_FILES_SHOWN]:
            self._note(
                f"job {track.num} wrote {name} beside its output directory; kept as working_dir/{name} in it"
            )
        if collected.uncollected is not None:
            self._note(str(collected.uncollected))
        if track.state is JobState.FAILED:
            self.tell(f"job {track.num} failed: {track.note}")

    def _is_tried_again(self, track: Track, collected: Collected) -> bool:
        """Whether its program failed by itself, and ``retries`` has it begun again."""
        result = collected.result
        if track.cancelled or result.state is not JobState.FAILED or result.failure not in OWN_FAILURES:
            return False
        tries = sum(1 for _ in self.bucket.list(self.names.results(track.num)))
        if tries > self.retries or not reopen(self.bucket, self.names, track.num):
            return False
        self.tell(
            f"job {track.num} failed ({cause(collected)}); it is begun again ({tries} of {self.retries})"
        )
        track.begin_again()
        return True

    def _note(self, line: str) -> None:
        self.tell(line)
        self.notes.append(line)
