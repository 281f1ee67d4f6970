"""What the jobs of a sweep print, as it comes into the bucket: each line once, whole, in order, over all attempts.

A look costs one listing of the statuses and a request for each new part. Parts come more often than statuses: of up to
`PROBED` jobs that run the next part is simply asked for, and of very many jobs others each time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from hydra_gce.bucket import Bucket, SweepNames
from hydra_gce.errors import ObjectMissing, UnknownName
from hydra_gce.found import in_runs, read_statuses
from hydra_gce.jobs import JobStatus

PROBED = 32
_AT_ONCE = 16
_AHEAD = 48  # parts that are fetched before their lines are taken: 1 MiB each at most


@dataclass(frozen=True)
class Line:
    """A line that an attempt at a job printed, without its end."""

    job: int
    attempt: int
    text: str


class Logs:
    """``jobs`` and ``attempt`` choose; None: all jobs, the newest attempt of each and those that come after it.

    ``since``: seconds since the epoch; a part of a log is older than that, or is not.
    ``tell`` takes sentences for the person. ``bucket`` may be replaced by the same with fresh credentials.
    """

    def __init__(
        self,
        bucket: Bucket,
        sweep: str,
        jobs: Collection[int] | None = None,
        attempt: int | None = None,
        since: float | None = None,
        tell: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.bucket = bucket
        self._names = SweepNames(sweep)
        self._jobs = set(jobs) if jobs else None
        self._attempt = attempt
        self._since = since
        self._tell = tell
        self._pool = ThreadPoolExecutor(_AT_ONCE, "logs")
        self._logs: dict[int, _JobLog] = {}
        self._turn = 0
        self._looked = False
        self.statuses: dict[int, JobStatus] = {}

    def __enter__(self) -> Logs:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    @property
    def several(self) -> bool:
        """Whether lines of more than one job may come."""
        return len(self._jobs or self.statuses) > 1

    def look(self) -> None:
        """Asks how the jobs are.

        :raises UnknownName: one of ``jobs`` does not exist.
        """
        self.statuses = read_statuses(self.bucket, self._names)
        for num in sorted((self._jobs or set()) - set(self.statuses)) if not self._looked else ():
            there = in_runs(self.statuses) or "none yet"
            raise UnknownName(f"sweep {self._names.sweep} has no job {num}; it has {there}")

    @property
    def followed(self) -> dict[int, JobStatus]:
        return {n: one for n, one in self.statuses.items() if self._jobs is None or n in self._jobs}

    @property
    def all_ended(self) -> bool:
        """Whether nothing follows of the jobs that there are now."""
        return all(self._has_ended(status) for status in self.followed.values())

    def _is_over(self, num: int) -> bool:
        status = self.statuses.get(num)  # somebody may have deleted it
        return status is not None and self._has_ended(status)

    def _has_ended(self, status: JobStatus) -> bool:
        return status.state.final or (self._attempt is not None and status.attempt > self._attempt)

    def lines(self, last: bool = False, everything: bool = False) -> Iterator[Line]:
        """What has come since the last time, job by job.

        ``last``: nothing follows; what has no line's end is one. ``everything``: all jobs are asked, however many.
        """
        self._begin()
        for log in self._logs.values():
            while log.superseded:
                yield from self._drain(log.superseded[0])
                yield from log.superseded.pop(0).end()
        yield from self._fetch([pair for log in self._logs.values() for pair in log.known_parts])
        for log in self._probed(last or everything):
            for reader in log.open_readers():
                yield from self._drain(reader)
        for num, log in self._logs.items():
            if last or self._is_over(num):
                yield from log.end()

    def _begin(self) -> None:
        """Takes note of new jobs and new attempts."""
        new = [
            status
            for num, status in self.followed.items()
            if num not in self._logs and self._is_there(status)
        ]
        if self._since is not None and not self._looked:
            begun = list(self._pool.map(self._first_parts, new))
        else:
            # Of a job that has begun since the last look no attempt is left out.
            begun = [[(self._attempt or (1 if self._looked else status.attempt), 0)] for status in new]
        for status, first in zip(new, begun, strict=True):
            readers = [_Reader(status.num, *one) for one in first]
            self._logs[status.num] = _JobLog(status.num, readers, superseded=readers[:-1])
        for num, log in self._logs.items():
            if num in self.statuses:
                log.heed(self.statuses[num], self._tell, only=self._attempt is not None)
        self._looked = True

    def _is_there(self, status: JobStatus) -> bool:
        """Whether an attempt has begun that is asked for."""
        return status.attempt >= max(1, self._attempt or 1)

    def _first_parts(self, status: JobStatus) -> list[tuple[int, int]]:
        """For each attempt that printed something since then its number and the first part of it."""
        assert self._since is not None
        prefix = self._names.log(status.num, 0, 0).rpartition("/")[0] + "/"
        first: dict[int, int] = {}
        for entry in self.bucket.list(prefix):
            attempt, _, part = entry.name.removeprefix(prefix).partition("-")
            if not (attempt.isdigit() and part.isdigit()):
                continue
            wanted = self._attempt in (None, int(attempt))
            if wanted and entry.updated >= self._since:
                first.setdefault(int(attempt), int(part))
        newest = self._attempt or status.attempt
        first.setdefault(newest, max(status.log_parts, 0))
        return sorted(first.items())

    def _fetch(self, wanted: Iterable[tuple[_Reader, int]]) -> Iterator[Line]:
        """Parts that are there, several at once, in order."""
        parts = ((reader, part) for reader, upto in wanted for part in range(reader.next, upto))
        ahead: deque[tuple[_Reader, int, Future[bytes | None]]] = deque()
        for reader, part in parts:
            ahead.append((reader, part, self._pool.submit(self._part, reader, part)))
            if len(ahead) >= _AHEAD:
                yield from self._take(*ahead.popleft())
        while ahead:
            yield from self._take(*ahead.popleft())

    def _take(self, reader: _Reader, part: int, coming: Future[bytes | None]) -> Iterator[Line]:
        content = coming.result()
        if content is None:
            self._tell(
                f"part {part} of the log of job {reader.job}, attempt {reader.attempt}, is gone from"
                f" gs://{self.bucket.name}: its lines are missing here"
            )
            content = b""
        reader.next = part + 1
        yield from reader.take(content)

    def _drain(self, reader: _Reader) -> Iterator[Line]:
        """The part that was asked for, or the next one, and those behind it."""
        coming, reader.coming = reader.coming, None
        content = coming.result() if coming else self._part(reader, reader.next)
        while content is not None:
            reader.next += 1
            yield from reader.take(content)
            content = self._part(reader, reader.next)

    def _probed(self, everything: bool) -> Iterator[_JobLog]:
        """The jobs whose next parts are asked for this time, all at once."""
        ended = {num for num in self._logs if everything or self._is_over(num)}
        due = [self._logs[num] for num in ended if not self._logs[num].ended]
        alive = [log for num, log in self._logs.items() if num not in ended]
        turn = (
            alive if len(alive) <= PROBED else [alive[(self._turn + n) % len(alive)] for n in range(PROBED)]
        )
        self._turn += PROBED
        chosen = sorted([*due, *turn], key=lambda log: log.num)
        for start in range(0, len(chosen), PROBED):
            some = chosen[start : start + PROBED]
            for log in some:
                for reader in log.open_readers():
                    reader.coming = self._pool.submit(self._part, reader, reader.next)
            yield from some

    def _part(self, reader: _Reader, part: int) -> bytes | None:
        try:
            return self.bucket.read(self._names.log(reader.job, reader.attempt, part))
        except ObjectMissing:
            return None


@dataclass
class _Reader:
    """One attempt's log. ``first``: what stands in parts before that one is left out; ``next`` is the part to come."""

    job: int
    attempt: int
    first: int = 0
    coming: Future[bytes | None] | None = None
    _rest: bytes = b""

    def __post_init__(self) -> None:
        # The part before holds the beginning of the first line, if that was cut in two.
        self.next = max(0, self.first - 1)

    def take(self, part: bytes) -> Iterator[Line]:
        """The next part's whole lines."""
        if self.next <= self.first and self.first > 0:  # counted already: that before the first
            self._rest = part.rpartition(b"\n")[2]
            return
        *lines, self._rest = (self._rest + part).split(b"\n")
        for line in lines:
            yield self._line(line)

    def end(self) -> Iterator[Line]:
        """The last line, where it has no end."""
        if self._rest:
            yield self._line(self._rest)
            self._rest = b""

    def _line(self, line: bytes) -> Line:
        return Line(self.job, self.attempt, line.decode(errors="replace").rstrip("\r"))


@dataclass
class _JobLog:
    """The attempts at a job, oldest first. ``superseded`` are those that a later one has followed just now.

    An attempt whose VM was given up may still have last words for a while. ``known``: how many parts an attempt surely
    has.
    """

    num: int
    readers: list[_Reader]
    superseded: list[_Reader] = field(default_factory=list)
    known: Mapping[int, int] = field(default_factory=dict)
    ended: bool = False

    def heed(self, status: JobStatus, tell: Callable[[str], None], only: bool) -> None:
        """Takes note of what the job's agent says; ``only``: later attempts do not matter."""
        self.known = {status.attempt: status.log_parts}
        if only:
            return
        for attempt in range(self.readers[-1].attempt + 1, status.attempt + 1):
            self.ended = False
            self.superseded.append(self.readers[-1])
            self.readers.append(_Reader(self.num, attempt))
            where = (
                f" on {status.instance} in {status.zone}" if attempt == status.attempt and status.zone else ""
            )
            tell(f"job {self.num}: attempt {attempt} begins{where}")

    @property
    def known_parts(self) -> list[tuple[_Reader, int]]:
        return [
            (reader, self.known[reader.attempt])
            for reader in self.readers
            if self.known.get(reader.attempt, 0) > reader.next
        ]

    def open_readers(self) -> list[_Reader]:
        """The newest attempt's, and that of the one before it."""
        return self.readers[-2:]

    def end(self) -> Iterator[Line]:
        """Nothing follows any more."""
        if not self.ended:
            self.ended = True
            for reader in self.readers:
                yield from reader.end()


def follow(
    logs: Logs,
    forever: bool = False,
    pause: Callable[[], bool] = lambda: True,
    over: Callable[[Logs], bool] = lambda logs: logs.all_ended,
    lasts: Callable[[Exception], bool] = lambda error: False,
) -> Iterator[Line]:
    """The lines there are; ``forever``: and those that come, until it is over.

    ``pause`` waits a moment between two looks, and says whether to go on. ``over`` is asked after each look.
    ``lasts`` is asked about an error of a look, and says whether another look may do better. No line is lost then.
    """
    while True:
        try:
            logs.look()
            ends = not forever or over(logs)
            yield from logs.lines(last=ends and forever, everything=not forever)
        except Exception as error:
            if not forever or not lasts(error):
                raise
            ends = False
        if ends or not pause():
            return


def text_of(bucket: Bucket, sweep: str, job: int) -> str:
    """All that the newest attempt at a job has printed."""
    with Logs(bucket, sweep, [job]) as logs:
        return "".join(f"{line.text}\n" for line in follow(logs))
