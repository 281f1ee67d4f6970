"""What travels between the laptop and a VM: a job's spec, its status while it runs, its result.

Pure data, read on both sides. A spec and a result are sealed with the sweep's key (``seal``, ``unseal``); the header of
an envelope is JSON, its body is a pickle that nobody opens before the seal holds.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from enum import Enum
from typing import Any, TypeVar

from hydra_gce.errors import SealBroken
from hydra_gce.secrecy import decrypt, encrypt

T = TypeVar("T")

_MAGIC = b"hydra-gce/1\n"
_LEAST_HEARTBEAT_S = 3.0
_HEARTBEATS_PER_S = 300


class JobState(str, Enum):
    """PENDING → PROVISIONING → BOOTING → RUNNING → COMPLETED | FAILED | CANCELLED; PREEMPTED → PROVISIONING again."""

    PENDING = "PENDING"
    PROVISIONING = "PROVISIONING"
    BOOTING = "BOOTING"
    RUNNING = "RUNNING"
    PREEMPTED = "PREEMPTED"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"

    @property
    def final(self) -> bool:
        return self in (JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED)


@dataclass(frozen=True)
class Placement:
    """A content-addressed archive and the absolute path that it has on the laptop, and so on the VM."""

    object: str
    path: str


@dataclass(frozen=True)
class JobSpec:
    """All that an agent needs to know before it opens the pickle.

    Paths are absolute and the laptop's; ``sweep_dir`` holds ``output_dir``. ``variables`` is the program's own
    environment (pass-through variables, MLflow's names), ``script`` the file that was started, null in a notebook.
    ``tracking`` is ``relay``, ``direct``, ``durable`` or ``none``: see ``tracking.mode``. ``tracked`` is what a VM that
    plays its own journal has to know of the sweep: see ``tracking.relay.runs.TrackedSweep``.
    ``heartbeat_s``: seconds from one status to the next. ``fresh_after``: of the attempts up to this one nothing is
    restored: they were at something else.
    """

    sweep: str
    num: int
    overrides: list[str]
    code: Placement
    cwd: str
    script: str | None
    data: list[Placement]
    sweep_dir: str
    output_dir: str
    variables: dict[str, str]
    preempt_grace_s: float
    tracking: str
    experiment: str | None
    sys_path: list[str]
    heartbeat_s: float = 3.0
    tracked: dict[str, Any] | None = None
    fresh_after: int = 0


def heartbeat_s(vms: int) -> float:
    """How often each of so many VMs says how its job is: every three seconds, less often where they are very many.

    A bucket takes a thousand writes a second from the start, and logs, journals and outputs are written as well:
    https://cloud.google.com/storage/docs/request-rate
    """
    return max(_LEAST_HEARTBEAT_S, vms / _HEARTBEATS_PER_S)


class Failure(str, Enum):
    """Why a job has no return value."""

    RAISED = "raised"  # the program raised: its exception is in the body
    EXITED = "exited"  # os._exit, sys.exit: no exception to show
    KILLED = "killed"  # a signal that nobody of ours sent, a segmentation fault among them
    OUT_OF_MEMORY = "out of memory"
    DISK_FULL = "disk full"
    LOST_VM = "lost VM"
    BUDGET = "budget"  # it would have gone past hydra.launcher.budget_usd
    DEADLINE = "deadline"  # it was not through after hydra.launcher.vm.max_run_hours
    ENVIRONMENT = "environment"  # the VM could not make the Python environment or unpack the code


OWN_FAILURES = (
    Failure.RAISED,
    Failure.EXITED,
    Failure.KILLED,
    Failure.OUT_OF_MEMORY,
    Failure.DISK_FULL,
)
"""Those of the program itself."""


@dataclass(frozen=True)
class JobResult:
    """How an attempt ended. The body of its envelope is the pickled ``JobReturn``, or empty where there is none.

    ``returned`` is the return value where it is a number, ``metric`` the metric that was logged with this value.
    ``working_dir_files`` were written beside the output directory and rescued into it; ``translate`` holds pairs of a
    laptop path and what it was on the VM, where that was another.
    """

    sweep: str
    num: int
    attempt: int
    state: JobState
    started: float
    ended: float
    failure: Failure | None = None
    message: str = ""
    exit_code: int | None = None
    signal: str | None = None
    log_tail: list[str] = field(default_factory=list)
    returned: float | None = None
    metric: str = ""
    working_dir_files: list[str] = field(default_factory=list)
    translate: list[list[str]] = field(default_factory=list)


@dataclass(frozen=True)
class JobStatus:
    """A job's line as its agent last wrote it; it lies in ``status/<num>``'s metadata: one listing shows all.

    ``message`` is what goes on in a few words; ``warning`` a sentence for the person, which is said once. ``usage`` is
    how busy the VM is: see ``usage``. ``first_step`` to ``history`` are as ``tracking.progress.Progress`` has them, of
    this attempt.
    """

    num: int
    state: JobState = JobState.PENDING
    attempt: int = 0
    instance: str = ""
    zone: str = ""
    heartbeat: float = 0.0
    started: float = 0.0
    step: int | None = None
    metric_name: str = ""
    metric: float | None = None
    log_parts: int = 0
    journal_parts: int = 0
    artifact_syncs: int = 0
    message: str = ""
    warning: str = ""
    first_step: int | None = None
    total_steps: int | None = None
    steps_per_s: float | None = None
    speed: float | None = None
    speed_unit: str = ""
    best: float | None = None
    history: tuple[float, ...] = ()
    usage: str = ""

    def to_metadata(self) -> dict[str, str]:
        return {name: _to_text(value) for name, value in asdict(self).items()}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str]) -> JobStatus:
        return cls(
            num=int(metadata["num"]),
            state=JobState(metadata["state"]),
            attempt=int(metadata["attempt"]),
            instance=metadata["instance"],
            zone=metadata["zone"],
            heartbeat=float(metadata["heartbeat"]),
            started=float(metadata["started"]),
            step=int(metadata["step"]) if metadata["step"] else None,
            metric_name=metadata["metric_name"],
            metric=float(metadata["metric"]) if metadata["metric"] else None,
            log_parts=int(metadata["log_parts"]),
            journal_parts=int(metadata["journal_parts"]),
            artifact_syncs=int(metadata["artifact_syncs"]),
            message=metadata["message"],
            warning=metadata.get("warning", ""),
            # An agent of an older version does not say the following.
            first_step=_optional(int, metadata, "first_step"),
            total_steps=_optional(int, metadata, "total_steps"),
            steps_per_s=_optional(float, metadata, "steps_per_s"),
            speed=_optional(float, metadata, "speed"),
            speed_unit=metadata.get("speed_unit", ""),
            best=_optional(float, metadata, "best"),
            history=tuple(float(value) for value in metadata.get("history", "").split()),
            usage=metadata.get("usage", ""),
        )


def _optional(kind: Callable[[str], T], metadata: Mapping[str, str], name: str) -> T | None:
    return kind(text) if (text := metadata.get(name, "")) else None


def _to_text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, tuple):
        return " ".join(map(str, value))
    return str(value.value) if isinstance(value, Enum) else str(value)


def seal(key: bytes, purpose: str, header: Mapping[str, Any], body: bytes = b"") -> bytes:
    """An envelope that only ``key`` could have made, for ``purpose`` only (such as ``calm-otter/3/spec``)."""
    head = json.dumps(header, sort_keys=True).encode()
    content = len(head).to_bytes(8, "big") + head + body
    return _MAGIC + _mac(key, purpose, content) + content


def unseal(key: bytes, purpose: str, envelope: bytes) -> tuple[dict[str, Any], bytes]:
    """Header and body of an envelope.

    :raises SealBroken: it is no envelope, was cut short or changed, was made with another key or for another purpose.
    """
    start = len(_MAGIC)
    mac, content = envelope[start : start + 32], envelope[start + 32 :]
    if envelope[:start] != _MAGIC or not hmac.compare_digest(mac, _mac(key, purpose, content)):
        raise SealBroken(
            f"{purpose}: its signature is wrong (cut short, changed in the bucket, or another sweep's);"
            " it was not opened"
        )
    size = int.from_bytes(content[:8], "big")
    header: dict[str, Any] = json.loads(content[8 : 8 + size])
    return header, content[8 + size :]


def _mac(key: bytes, purpose: str, content: bytes) -> bytes:
    return hmac.new(key, purpose.encode() + b"\0" + content, hashlib.sha256).digest()


def seal_spec(key: bytes, spec: JobSpec, program: bytes) -> bytes:
    """Its variables may be secrets: they are encrypted, too."""
    purpose = f"{spec.sweep}/{spec.num}/spec"
    header = {**asdict(spec), "variables": encrypt(key, purpose, spec.variables)}
    return seal(key, purpose, header, program)


def unseal_spec(key: bytes, sweep: str, num: int, envelope: bytes) -> tuple[JobSpec, bytes]:
    purpose = f"{sweep}/{num}/spec"
    header, program = unseal(key, purpose, envelope)
    header["variables"] = decrypt(key, purpose, header["variables"])
    header["code"] = Placement(**header["code"])
    header["data"] = [Placement(**placement) for placement in header["data"]]
    return JobSpec(**header), program


def seal_result(key: bytes, result: JobResult, job_return: bytes) -> bytes:
    return seal(key, f"{result.sweep}/{result.num}/result", asdict(result), job_return)


def unseal_result(key: bytes, sweep: str, num: int, envelope: bytes) -> tuple[JobResult, bytes]:
    header, job_return = unseal(key, f"{sweep}/{num}/result", envelope)
    header["state"] = JobState(header["state"])
    header["failure"] = Failure(header["failure"]) if header["failure"] else None
    return JobResult(**header), job_return
