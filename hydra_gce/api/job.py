"""A job on a VM, as whoever submitted it has it in hand: how it is, what it prints, what it returns."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, overload

from hydra_gce import claims, logs
from hydra_gce.bucket import Bucket
from hydra_gce.cloud.backend import Backend
from hydra_gce.collect import Collected, collect
from hydra_gce.coming_back.cancel import cancel
from hydra_gce.coming_back.going import watcher_of
from hydra_gce.coming_back.retry import ended_as
from hydra_gce.follow import background
from hydra_gce.follow.publish import published
from hydra_gce.identity import Identity
from hydra_gce.jobs import JobState
from hydra_gce.launch.compose import Point
from hydra_gce.lease import Holder
from hydra_gce.view import JobView

_PAUSE_S = (0.5, 3.0)
_WATCHER_S = 20.0
_COLLECTED_S = 60.0


@dataclass(frozen=True, repr=False)
class Status:
    """How a job is. ``step`` and ``metric`` are the newest that it has logged to MLflow, None while there are none;
    ``cost`` is in US dollars: what its VMs would cost where nothing is charged. ``note`` says what goes on.
    """

    state: JobState
    attempt: int = 0
    zone: str = ""
    machine: str = ""
    step: int | None = None
    total_steps: int | None = None
    metric_name: str = ""
    metric: float | None = None
    cost: float = 0.0
    note: str = ""
    mlflow_run: str = ""

    @property
    def done(self) -> bool:
        """Whether it has come to its end, well or not."""
        return self.state.final

    def __repr__(self) -> str:
        """What there is to say, for a notebook."""
        attempt = f"attempt {self.attempt}" if self.attempt else ""
        steps = "" if self.step is None else f"step {self.step:,}"
        if steps and self.total_steps:
            steps += f" of {self.total_steps:,}"
        metric = "" if self.metric is None else f"{self.metric_name} {self.metric:.5g}"
        # The machine names its zone as well.
        parts = (
            self.state.value,
            attempt,
            self.machine or self.zone,
            steps,
            metric,
            f"${self.cost:.4f}",
            self.note,
        )
        return f"<{' · '.join(part for part in parts if part)}>"


class Job:
    """One job of the sweep ``sweep``, its number is ``num``; its outputs come to ``output_dir``.

    All that it knows lies in the bucket: any number of processes may have such a one.
    """

    def __init__(self, backend: Backend, bucket: Bucket, identity: Identity, point: Point) -> None:
        self._backend = backend
        self._bucket = bucket
        self._names = identity.names
        self._key = identity.key
        self._point = point
        self.sweep = identity.names.sweep
        self.num = point.num
        self.output_dir: Path = point.output_dir

    def __repr__(self) -> str:
        return f"<Job {self.num} of sweep {self.sweep}: hydra-gce attach {self.sweep}>"

    @property
    def status(self) -> Status:
        """As the process that watches the sweep saw it last, a few seconds ago."""
        seen = self._seen()
        if seen is None or not seen.state.final:
            ended = ended_as(self._bucket, self._names, self._key, self.num)
            if ended is not None:
                return self._status(seen, ended)
        return self._status(seen, seen.state if seen else JobState.PENDING)

    @overload
    def logs(self, follow: Literal[False] = False) -> str: ...
    @overload
    def logs(self, follow: Literal[True]) -> Iterator[str]: ...
    def logs(self, follow: bool = False) -> str | Iterator[str]:
        """What the newest attempt has printed so far; with ``follow`` line by line, until the job has ended."""
        lines = logs.follow(self._bucket, self.sweep, self.num, None, follow)
        return lines if follow else "".join(f"{line}\n" for line in lines)

    def result(self, timeout: float | None = None) -> Any:
        """Waits until the job has ended and its outputs are here, and gives what the function returned.

        :param timeout: seconds; None waits for as long as it takes.
        :raises TimeoutError: it has not ended by then. It goes on.
        :raises Exception: what the function raised, with the VM's traceback as its cause; ``JobFailed`` where there is
            none: it was cancelled, killed, or its VM was lost.
        :raises CollectError: the outputs could not be written here; they are in the bucket.
        """
        collected = self._wait(timeout)
        if collected.uncollected is not None:
            raise collected.uncollected
        value = collected.job_return._return_value
        if collected.result.state is not JobState.COMPLETED:
            raise value
        return value

    def cancel(self) -> None:
        """Asks for its end, and does not wait for it: the VM saves what the program has written."""
        cancel(self._backend, self._bucket, self.sweep, [self.num], lambda line: None, patience_s=0.0)

    def _wait(self, timeout: float | None) -> Collected:
        began = looked = time.monotonic()
        pause, longest = _PAUSE_S
        while not self._has_ended():
            now = time.monotonic()
            if timeout is not None and now - began >= timeout:
                raise TimeoutError(
                    f"job {self.num} of sweep {self.sweep} has not ended within {timeout:g} s; it goes on"
                )
            if now - looked >= _WATCHER_S:
                looked = now
                self._see_to_it()
            left = longest if timeout is None else max(0.0, timeout - (now - began))
            time.sleep(min(pause, left))
            pause = min(longest, pause * 1.2)
        self._let_watcher_collect()
        collected = collect(self._bucket, self._names, self._key, self._point)
        assert collected is not None
        return collected

    def _has_ended(self) -> bool:
        return claims.is_done(self._bucket, self._names, self.num)

    def _let_watcher_collect(self) -> None:
        """Two that write the same files at the same time would be in each other's way."""
        deadline = time.monotonic() + _COLLECTED_S
        while time.monotonic() < deadline and self._watcher() is not None:
            seen = self._seen()
            if seen is not None and seen.state.final:
                return
            time.sleep(_PAUSE_S[0])

    def _see_to_it(self) -> None:
        """A sweep that nobody watches gets no VM: a machine may have been started anew."""
        if self._watcher() is None and not self._has_ended():
            background.start(self._backend, self._bucket.name, self.sweep)

    def _watcher(self) -> Holder | None:
        return watcher_of(self._bucket, self._names)

    def _seen(self) -> JobView | None:
        view = published(self._bucket, self._names.view)
        return next((one for one in view.jobs if one.num == self.num), None) if view else None

    def _status(self, seen: JobView | None, state: JobState) -> Status:
        if seen is None:
            return Status(state)
        return Status(
            state=state,
            attempt=seen.attempt,
            zone=seen.zone,
            machine=seen.machine,
            step=seen.step,
            total_steps=seen.total_steps,
            metric_name=seen.metric_name,
            metric=seen.metric,
            cost=float(seen.cost),
            note=seen.note,
            mlflow_run=seen.mlflow_run,
        )
