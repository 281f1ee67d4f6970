"""What the jobs of a sweep print, as it comes into the bucket."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from hydra_gce.bucket import Bucket, SweepNames
from hydra_gce.errors import ConfigError, ObjectMissing
from hydra_gce.jobs import JobStatus

_PAUSE_S = 1.0


def follow(
    bucket: Bucket,
    sweep: str,
    job: int | None,
    attempt: int | None,
    forever: bool,
    pause: Callable[[float], None] = time.sleep,
) -> Iterator[str]:
    """Lines of all jobs, or of one. With several jobs each line begins with its job's number.

    :param attempt: the newest of each job if None.
    :param forever: goes on until all of them have ended.
    :raises ConfigError: there is no such job.
    """
    names = SweepNames(sweep)
    readers: dict[int, _Reader] = {}
    while True:
        statuses = [JobStatus.from_metadata(entry.metadata) for entry in bucket.list(names.statuses)]
        wanted = [status for status in statuses if job is None or status.num == job]
        if not wanted and job is not None:
            there = ", ".join(str(status.num) for status in sorted(statuses, key=lambda status: status.num))
            raise ConfigError(f"hydra-gce logs: sweep {sweep} has no job {job}; it has {there or 'none yet'}")
        for status in sorted(wanted, key=lambda status: status.num):
            number = attempt or status.attempt
            reader = readers.get(status.num)
            prefix = f"{status.num} | " if job is None and len(statuses) > 1 else ""
            if reader is None or reader.attempt != number:
                if reader is not None:  # the last words of the attempt before
                    yield from (prefix + line for line in reader.new_lines(ended=True))
                reader = readers[status.num] = _Reader(bucket, names, status.num, number)
            yield from (prefix + line for line in reader.new_lines(ended=status.state.final))
        if not forever or all(status.state.final for status in wanted):
            return
        pause(_PAUSE_S)


class _Reader:
    """One attempt's log."""

    def __init__(self, bucket: Bucket, names: SweepNames, num: int, attempt: int) -> None:
        self._bucket = bucket
        self._names = names
        self._num = num
        self._part = 0
        self._rest = b""
        self.attempt = attempt

    def new_lines(self, ended: bool) -> Iterator[str]:
        """Whole lines; the last one without its end only when nothing follows any more."""
        while (part := self._next_part()) is not None:
            *lines, self._rest = (self._rest + part).split(b"\n")
            for line in lines:
                yield line.decode(errors="replace").rstrip("\r")
        if ended and self._rest:
            yield self._rest.decode(errors="replace")
            self._rest = b""

    def _next_part(self) -> bytes | None:
        try:
            part = self._bucket.read(self._names.log(self._num, self.attempt, self._part))
        except ObjectMissing:
            return None
        self._part += 1
        return part
