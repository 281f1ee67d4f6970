"""What is known of a sweep at one moment: made by ``watch``, shown by ``display`` and the command line."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from decimal import Decimal
from typing import Any

from hydra_gce.jobs import JobState


@dataclass(frozen=True)
class AttemptView:
    """What a job had of one VM: the how-manyth it was, for how long, US dollars."""

    attempt: int
    instance: str
    zone: str
    seconds: float
    cost: Decimal


@dataclass(frozen=True)
class JobView:
    """One job. ``cost`` is that of all its attempts so far, US dollars; ``vm_seconds`` the same in time.

    ``note`` says in a few words what is going on ("environment", "waiting for a place", the cause of a failure).
    ``history`` holds values of the metric over the whole job, evenly thinned, oldest first, for a sparkline; ``best``
    is the best of all so far (``objective.sense_of`` its name tells which; the highest where that is not known).
    ``previous_zone`` is where the attempt before this one ran, if elsewhere. ``speed`` is the program's own figure, in
    ``speed_unit`` ("images/s"). ``by_attempt`` is what each of its VMs came to.
    """

    num: int
    overrides: list[str]
    state: JobState
    attempt: int = 0
    instance: str = ""
    zone: str = ""
    machine: str = ""
    step: int | None = None
    total_steps: int | None = None
    metric_name: str = ""
    metric: float | None = None
    history: list[float] = field(default_factory=list)
    return_value: object = None
    cost: Decimal = Decimal(0)
    vm_seconds: float = 0.0
    note: str = ""
    mlflow_run: str = ""
    previous_zone: str = ""
    steps_per_s: float | None = None
    speed: float | None = None
    speed_unit: str = ""
    best: float | None = None
    by_attempt: list[AttemptView] = field(default_factory=list)


@dataclass(frozen=True)
class SweepView:
    """A sweep. ``news`` are lines for the person, each with its time (seconds since the epoch), oldest first.

    ``backend`` is "cloud" or "local" (the embedded Compute Engine, where nothing is charged). ``return_name`` names the
    return values where that is known. ``vms_left`` is set at the end, in words: "no VM is left". ``over``: each job has
    its result, and nothing more is to come. ``notes`` are those of the news that are said again when all is over.
    ``mlflow`` is where to see the runs: an address, or the command that opens it. ``mlflow_share`` of the records that
    have piled up is there, None where few have. ``outlook`` is what the sweep will come to, once finished jobs tell
    ("about $0.13 in all"). ``sought`` says which return values are the best ("highest", "lowest"), empty where neither
    the sweeper nor a name tells. ``earlier_cost`` is that of the sweeper's batches before this one, US dollars.
    """

    sweep: str
    project: str
    backend: str
    jobs: list[JobView]
    started: float
    now: float
    machine: str = ""
    estimate: str = ""
    code: str = ""
    news: list[tuple[float, str]] = field(default_factory=list)
    mlflow: str = ""
    mlflow_share: float | None = None
    sweep_dir: str = ""
    return_name: str = ""
    vms_left: str = ""
    over: bool = False
    notes: list[str] = field(default_factory=list)
    outlook: str = ""
    sought: str = ""
    earlier_cost: Decimal = Decimal(0)

    @property
    def cost(self) -> Decimal:
        """Of its jobs."""
        return sum((job.cost for job in self.jobs), Decimal(0))


def to_json(view: SweepView) -> bytes:
    """As the watcher of a sweep writes it down for all others. What a program returned is there if JSON has it."""
    return json.dumps(asdict(view), default=_plain).encode()


def from_json(content: bytes) -> SweepView:
    """Fields that this version does not know are left out: another one may have written them."""
    known = _known(SweepView, json.loads(content))
    known["jobs"] = [_job(one) for one in known["jobs"]]
    known["news"] = [(float(when), str(text)) for when, text in known.get("news", [])]
    known["earlier_cost"] = Decimal(known.get("earlier_cost", "0"))
    return SweepView(**known)


def _job(content: dict[str, Any]) -> JobView:
    known = _known(JobView, content)
    known["state"] = JobState(known["state"])
    known["cost"] = Decimal(known.get("cost", "0"))
    attempts = [_known(AttemptView, one) for one in known.get("by_attempt", [])]
    known["by_attempt"] = [AttemptView(**{**one, "cost": Decimal(one["cost"])}) for one in attempts]
    return JobView(**known)


def _known(kind: type, content: dict[str, Any]) -> dict[str, Any]:
    names = {one.name for one in fields(kind)}
    return {name: value for name, value in content.items() if name in names}


def _plain(value: object) -> object:
    return str(value) if isinstance(value, Decimal) else repr(value)
