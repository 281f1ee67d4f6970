"""A sweep as it is now, by its watcher's words, and where nobody watches it by its agents'."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from hydra_gce.coming_back.going import is_watched
from hydra_gce.errors import ObjectMissing
from hydra_gce.jobs import JobState, JobStatus
from hydra_gce.view import JobView, SweepView, from_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hydra_gce.found import FoundSweep
    from hydra_gce.money.ledger import Ledger

SILENT_S = 60.0


@dataclass(frozen=True)
class Seen:
    """``statuses`` are the jobs' own words; ``notes`` are sentences on what is missing or broken in the bucket."""

    found: FoundSweep
    view: SweepView
    watched: bool
    statuses: Mapping[int, JobStatus]
    notes: list[str]

    @property
    def state(self) -> str:
        """ "ended" with all jobs, "running" while somebody watches, else "unwatched"."""
        if self.view.jobs and all(job.state.final for job in self.view.jobs):
            return "ended"
        return "running" if self.watched else "unwatched"

    @property
    def counts(self) -> dict[str, int]:
        """Jobs by state, in the order of states."""
        states = [job.state for job in self.view.jobs]
        return {state.value: states.count(state) for state in JobState if state in states}


def see(found: FoundSweep, now: float | None = None) -> Seen:
    """Four requests side by side, whatever the sweep's size; another for each further thousand jobs."""
    now = time.time() if now is None else now
    notes: list[str] = []
    with ThreadPoolExecutor(4) as pool:
        reading_view = pool.submit(_view, found, notes)
        reading_ledger = pool.submit(_ledger, found, notes)
        watching = pool.submit(is_watched, found.bucket, found.names, now)
        statuses = found.statuses()
        view, ledger, watched = reading_view.result(), reading_ledger.result(), watching.result()
    record = found.record
    watched = watched or (record is not None and record.launcher_alive and record.ended is None)
    if view is None or not watched:
        view = _by_agents(found, view, statuses, ledger, now)
    return Seen(found, replace(view, now=now), watched, statuses, notes)


def glimpse(found: FoundSweep) -> Seen:
    """As `see`; of a sweep that is over one request."""
    view = _view(found, [])
    if view is not None and view.over:
        return Seen(found, view, False, {}, [])
    return see(found)


def _view(found: FoundSweep, notes: list[str]) -> SweepView | None:
    try:
        return from_json(found.bucket.read(found.names.view))
    except ObjectMissing:
        return None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        name = f"gs://{found.bucket.name}/hydra-gce/{found.names.view}"
        notes.append(
            f"{name} cannot be read ({type(error).__name__}): what follows is by the jobs' own words"
        )
        return None


def _ledger(found: FoundSweep, notes: list[str]) -> Ledger | None:
    from hydra_gce.money.ledger import Ledger

    try:
        return Ledger.from_json(found.bucket.read(found.names.ledger))
    except ObjectMissing:
        return None
    except (ValueError, KeyError, TypeError) as error:
        notes.append(f"the ledger of {found.sweep} cannot be read ({error}): no cost is known")
        return None


def _by_agents(
    found: FoundSweep,
    view: SweepView | None,
    statuses: Mapping[int, JobStatus],
    ledger: Ledger | None,
    now: float,
) -> SweepView:
    """What the last watcher saw, and what the jobs' agents have said since."""
    if view is None:
        asked = found.description()
        view = SweepView(
            sweep=found.sweep,
            project=found.backend.project,
            backend=found.backend.kind,
            jobs=[],
            started=float(asked.get("started", found.record.started if found.record else now)),
            now=now,
            sweep_dir=str(asked.get("sweep_dir", "")),
        )
    known = {job.num: job for job in view.jobs}
    jobs = []
    for num in sorted({*known, *statuses}):
        job = known.get(num) or JobView(num, [], JobState.PENDING)
        if num in statuses:
            job = _with(job, statuses[num], now)
        jobs.append(_billed(job, ledger, now))
    return replace(view, jobs=jobs)


def _with(job: JobView, status: JobStatus, now: float) -> JobView:
    if status.attempt < job.attempt or (status.attempt == job.attempt and job.state.final):
        return job
    silent_s = now - status.heartbeat
    note = status.message or (job.note if status.attempt == job.attempt else "")
    if not status.state.final and status.heartbeat and silent_s > SILENT_S:
        note = f"not heard of for {silent_s / 60:.0f} min"
    return replace(
        job,
        state=status.state,
        attempt=status.attempt,
        instance=status.instance or job.instance,
        zone=status.zone or job.zone,
        step=job.step if status.step is None else status.step,
        metric_name=status.metric_name or job.metric_name,
        metric=job.metric if status.metric is None else status.metric,
        note=note,
    )


def _billed(job: JobView, ledger: Ledger | None, now: float) -> JobView:
    if ledger is None:
        return job
    dollars, seconds = ledger.bill(job.num, now)
    return replace(job, cost=dollars or job.cost or Decimal(0), vm_seconds=seconds or job.vm_seconds)


def as_json(seen: Seen) -> dict[str, Any]:
    """Keys stay as they are: programs read them. Dollars are numbers, times are seconds since the epoch."""
    view = seen.view
    return {
        "sweep": view.sweep,
        "state": seen.state,
        "watched": seen.watched,
        "backend": view.backend,
        "project": view.project,
        "bucket": seen.found.bucket.name,
        "sweep_dir": view.sweep_dir or None,
        "started": view.started,
        "as_of": view.now,
        "mlflow": view.mlflow or None,
        "return_name": view.return_name or None,
        "cost_usd": float(view.cost),
        "charged": view.backend != "local",
        "counts": seen.counts,
        "jobs": [_job(job) for job in view.jobs],
        "news": [{"time": when, "text": text} for when, text in view.news],
        "notes": [*view.notes, *seen.notes],
    }


def _job(job: JobView) -> dict[str, Any]:
    return {
        "job": job.num,
        "overrides": job.overrides,
        "state": job.state.value,
        "attempt": job.attempt,
        "vm": job.instance or None,
        "zone": job.zone or None,
        "machine": job.machine or None,
        "step": job.step,
        "total_steps": job.total_steps,
        "metric_name": job.metric_name or None,
        "metric": _finite(job.metric),
        "return_value": _finite(job.return_value),
        "cost_usd": float(job.cost),
        "vm_seconds": round(job.vm_seconds, 3),
        "mlflow_run": job.mlflow_run or None,
        "note": job.note or None,
    }


def _finite(value: Any) -> Any:
    """JSON has no NaN and no infinity: they become their names."""
    if isinstance(value, float) and value - value != 0:
        return str(value)
    return value
