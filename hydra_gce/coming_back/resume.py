"""Which points of a launch an earlier one of the same sweep has run: they are taken as they are, the rest is run."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

from omegaconf import OmegaConf

from hydra_gce import claims
from hydra_gce.bucket import Bucket
from hydra_gce.cargo.pack import Sent
from hydra_gce.cloud.backend import Backend
from hydra_gce.coming_back.rejoin import known
from hydra_gce.coming_back.retry import ended_as
from hydra_gce.errors import ConfigError, SealBroken
from hydra_gce.home import sweep_records
from hydra_gce.identity import Identity, left_in, taken_up
from hydra_gce.jobs import JobState, JobStatus
from hydra_gce.launch.compose import Point
from hydra_gce.launch.plan import Plan
from hydra_gce.launch.plan import read as read_plans
from hydra_gce.watch import wishes
from hydra_gce.watch.reopen import reopen

_AT_ONCE = 8
Marks = Mapping[str, str]
"""What a job is: ``config``, ``code`` and ``data``, each as a hash.

Of one that was begun again there is more: results of attempts up to ``stale`` are of another code, and do not count;
of attempts up to ``fresh`` nothing is restored.
"""


def marks_of(point: Point, sent: Sent) -> Marks:
    """The same for two launches of a point with the same overrides, config, code and data.

    Not its environment: the same requirements may be met by newer packages on another day.
    """
    config = OmegaConf.to_container(point.config)
    assert isinstance(config, dict)
    config.pop("hydra", None)  # it tells the time of the launch
    return {
        "config": _hash([point.overrides, config]),
        "code": sent.code.object,
        "data": _hash([placement.object for placement in sent.data]),
    }


@dataclass(frozen=True)
class Earlier:
    """The sweep that is gone on with, and what its launches have settled. ``used``: numbers of jobs that have begun."""

    identity: Identity
    plans: list[Plan]
    used: frozenset[int] = frozenset()

    @property
    def marks(self) -> dict[int, Marks]:
        return {num: marks for plan in self.plans for num, marks in plan.marks.items()}


def earlier(wanted: str | None, sweep_dir: Path, backend: Backend, bucket: Bucket) -> Earlier | None:
    """:param wanted: ``hydra.launcher.resume``.
    :raises ConfigError: a sweep is named, and there is none; or what its launches have settled cannot be read.
    """
    if wanted == "never":
        return None
    if wanted is None:
        record = left_in(sweep_dir, backend, bucket)
        if record is None:
            return None
        identity = taken_up(record)
    else:
        identity = named(wanted, backend, bucket)
    try:
        plans = read_plans(bucket, identity.names, identity.key)
    except (ConfigError, SealBroken) as error:
        raise ConfigError(f"{error}. Or begin a new sweep: hydra.launcher.resume=never") from error
    if not plans:
        return None
    # Where somebody has deleted a plan, the jobs that it told of must not be taken for others.
    statuses = (JobStatus.from_metadata(one.metadata) for one in bucket.list(identity.names.statuses))
    return Earlier(identity, plans, frozenset(one.num for one in statuses if one.attempt))


def is_completed(one: Earlier, bucket: Bucket) -> bool:
    """Whether there is nothing left to run."""
    names, key = one.identity.names, one.identity.key
    nums = {point.num for plan in one.plans for point in plan.points}
    return all(ended_as(bucket, names, key, num) is JobState.COMPLETED for num in nums)


def named(sweep: str, backend: Backend, bucket: Bucket) -> Identity:
    """The sweep of that name, or the last one of this laptop in the bucket.

    :raises ConfigError: there is none.
    """
    if sweep == "last":
        here = (backend.kind, backend.project, bucket.name)
        records = [one for one in sweep_records() if (one.backend, one.project, one.bucket) == here]
        if not records:
            raise ConfigError(
                "hydra.launcher.resume=last: this laptop has launched no sweep into this bucket"
            )
        return taken_up(records[0])
    _, identity = known(backend, bucket, sweep)
    return identity


@dataclass(frozen=True)
class Job:
    """A point, with the number that it has in the sweep.

    ``before`` are its marks when it was sent last, None where no launch has sent it. ``changed`` is what of it is
    another than it was then. ``state`` is how it has ended, None where it has not; ``attempt`` the last at it.
    ``stale``: that attempt is of another code still: the launch that changed it was killed before it could say so.
    """

    point: Point
    marks: Marks
    before: Marks | None = None
    changed: tuple[str, ...] = ()
    state: JobState | None = None
    attempt: int = 0
    stale: bool = False

    @property
    def is_new(self) -> bool:
        return self.before is None


@dataclass
class Matching:
    """``known`` has the marks of the jobs that the sweep has, by their numbers. Each is matched once: a sweeper may
    ask for the same point again. ``used`` are numbers that no new job gets.
    """

    known: Mapping[int, Marks]
    used: frozenset[int] = frozenset()
    _taken: set[int] = field(default_factory=set)

    def match(self, points: Sequence[Point], sent: Sent) -> list[Job]:
        """Those with the config of a job that is there have its number, the others one that nobody has."""
        marks = {id(point): marks_of(point, sent) for point in points}
        found = {id(point): self._find(point.num, marks[id(point)]["config"]) for point in points}
        jobs = []
        for point in points:
            num, mine = found[id(point)], marks[id(point)]
            if num is None:
                jobs.append(Job(point.numbered(self._free(point.num)), mine))
                continue
            before = self.known[num]
            changed = tuple(what for what in ("code", "data") if before[what] != mine[what])
            jobs.append(Job(point.numbered(num), mine, before, changed))
        return jobs

    def _find(self, num: int, config: str) -> int | None:
        same = [
            one for one, marks in self.known.items() if marks["config"] == config and one not in self._taken
        ]
        if not same:
            return None
        chosen = num if num in same else same[0]
        self._taken.add(chosen)
        return chosen

    def _free(self, num: int) -> int:
        used = self._taken | self.known.keys() | self.used
        chosen = num if num not in used else max(used) + 1
        self._taken.add(chosen)
        return chosen


def looked_up(bucket: Bucket, identity: Identity, jobs: Sequence[Job]) -> list[Job]:
    """What has become of those that are not new."""

    def look(job: Job) -> Job:
        if job.is_new:
            return job
        num = job.point.num
        claim = claims.read(bucket, identity.names, num)
        attempt = claim.attempt if claim else 0
        if claim is not None and claim.state != "released" and attempt <= _number(job.before, "stale"):
            return replace(job, attempt=attempt, stale=True)
        state = ended_as(bucket, identity.names, identity.key, num)
        return replace(job, state=state, attempt=attempt)

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(pool.map(look, jobs))


@dataclass(frozen=True)
class Decision:
    """``fresh``: begins from nothing; else from what the attempts before it have saved."""

    job: Job
    runs: bool
    anew: bool = False
    fresh: bool = False

    @property
    def fresh_after(self) -> int:
        """Of the attempts up to this one nothing is restored."""
        return self.job.attempt if self.fresh else _number(self.job.before, "fresh")

    @property
    def marks(self) -> Marks:
        """What the job's result is of, or will be."""
        before = self.job.before
        if before is None:
            return self.job.marks
        if not self.runs:
            return before
        stale = self.job.attempt if self.anew else _number(before, "stale")
        return {**self.job.marks, "stale": str(stale), "fresh": str(self.fresh_after)}


def decide(jobs: Sequence[Job], rerun_changed: Callable[[Sequence[Job]], bool]) -> list[Decision]:
    """:param rerun_changed: whether completed jobs whose code or data is another now are to run again; asked only if
    there are any.
    """
    stale = [job for job in jobs if job.state is JobState.COMPLETED and job.changed]
    again = bool(stale) and rerun_changed(stale)
    return [_decision(job, again) for job in jobs]


def _decision(job: Job, again: bool) -> Decision:
    if job.is_new:
        return Decision(job, runs=True)
    if job.state is JobState.COMPLETED:
        runs = bool(job.changed) and again
        return Decision(job, runs, anew=runs, fresh=runs)
    anew = bool(job.changed) or job.stale or job.state is not None
    return Decision(job, runs=True, anew=anew, fresh="data" in job.changed)


def rerun(on_changed: str, stale: Sequence[Job], jobs: Sequence[Job]) -> bool:
    """Whether completed points run again whose code or data is another now; asks where somebody can answer."""
    if on_changed != "ask":
        return on_changed == "rerun"
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return True
    what = " and ".join(sorted({one for job in stale for one in job.changed}))
    question = (
        f"The {what} changed since {len(stale)} of {len(jobs)} points were completed:"
        " [r]un them again, or [k]eep their results? "
    )
    while True:
        answer = input(question).strip().lower()[:1]
        if answer in ("r", "k"):
            return answer == "r"


def begin_again(bucket: Bucket, identity: Identity, decisions: Sequence[Decision]) -> None:
    """Gives back what runs anew, whether it has ended or an attempt is at work on what it was. Nobody wants the end of
    what runs any more.
    """
    runs = {one.job.point.num for one in decisions if one.runs}
    for num in runs & wishes.cancelled(bucket, identity.names).keys():
        wishes.forget_cancel(bucket, identity.names, num)
    anew = [one.job.point.num for one in decisions if one.anew]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        list(pool.map(lambda num: _give_back(bucket, identity, num), anew))


def _give_back(bucket: Bucket, identity: Identity, num: int) -> None:
    if not reopen(bucket, identity.names, num):
        claim = claims.read(bucket, identity.names, num)
        if claim is not None and claim.state == "held":
            claims.release(bucket, identity.names, claim)


def said(decisions: Sequence[Decision], sweep: str) -> list[str]:
    """In words, what is taken, what runs, and why."""
    kept = [one for one in decisions if not one.runs]
    lines = [f"goes on with sweep {sweep}: {len(kept)} of {len(decisions)} points are completed"]
    reasons: dict[str, list[int]] = {}
    for one in decisions:
        if one.runs and not one.job.is_new and (why := _why(one)):
            reasons.setdefault(why, []).append(one.job.point.num)
    lines += [f"{jobs_said(nums)} again: {why}" for why, nums in reasons.items()]
    new = [one.job.point.num for one in decisions if one.job.is_new]
    if new:
        lines.append(f"{jobs_said(new)} for the first time: no point before had this config")
    stale = [one.job.point.num for one in kept if one.job.changed]
    if stale:
        lines.append(
            f"{jobs_said(stale, 'keeps its', 'keep their')} result, though the code or data is another now"
        )
    return lines


def _why(one: Decision) -> str:
    changed = " and ".join(one.job.changed)
    if one.job.stale and not changed:
        return "the launch that changed it ended before it had begun"
    if one.job.state is JobState.COMPLETED:
        return f"the {changed} changed since; from nothing"
    ends = {JobState.FAILED: "failed before", JobState.CANCELLED: "cancelled before"}
    parts = [ends[one.job.state]] if one.job.state in ends else []
    if changed:
        parts.append(f"the {changed} changed")
    return ", and ".join(parts)


def jobs_said(nums: Sequence[int], one: str = "runs", many: str = "run") -> str:
    """``job 3 runs``, ``jobs 0, 1 run``."""
    listed = ", ".join(map(str, nums))
    return f"job {listed} {one}" if len(nums) == 1 else f"jobs {listed} {many}"


def left_over(
    batches: Sequence[Plan], jobs: Sequence[Job], bucket: Bucket, identity: Identity
) -> list[Point]:
    """Jobs of the sweep that are no points of this launch and have not ended: they are followed all the same."""
    mine = {job.point.num for job in jobs}
    others = {point.num: point for plan in batches for point in plan.points if point.num not in mine}
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        states = pool.map(lambda num: ended_as(bucket, identity.names, identity.key, num), others)
        return [point for point, state in zip(others.values(), states, strict=True) if state is None]


def _number(marks: Marks | None, name: str) -> int:
    return int((marks or {}).get(name, "0"))


def _hash(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()
