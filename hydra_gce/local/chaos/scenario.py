"""What a bad day may hold: the rules of a scenario file, read with every mistake told at once.

Wildcards are those of shells (`us-central1-*`, `[ab]`). Times are seconds, shares lie in [0, 1].
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from fnmatch import fnmatchcase
from typing import Any

from hydra_gce.local.chaos.fields import Fields, ScenarioError

__all__ = [
    "Answer",
    "ErrorRule",
    "Event",
    "OperationEnd",
    "QuotaRule",
    "Scenario",
    "ScenarioError",
    "StockRule",
    "VmRule",
    "read",
]

Json = dict[str, Any]
_MODELS = ("STANDARD", "SPOT", "FLEX_START", "RESERVATION_BOUND")
ANY = ("*",)


class Event(str, Enum):
    """What may happen to a VM."""

    PREEMPT = "preempt"
    MAINTAIN = "maintain"
    HANG = "hang"
    HOST_ERROR = "host_error"
    BOOT_FAILURE = "boot_failure"
    DISK_FULL = "disk_full"
    SLOW_METADATA = "slow_metadata"
    DELETE = "delete"


@dataclass(frozen=True)
class StockRule:
    """How many VMs (`vms`) each zone that fits has at once, from `from_s` until `until_s` of the scenario."""

    zones: tuple[str, ...] = ANY
    machines: tuple[str, ...] = ANY
    models: tuple[str, ...] = ANY
    vms: int = 0
    from_s: float = 0.0
    until_s: float = math.inf

    def holds(self, elapsed_s: float) -> bool:
        """Whether the entry counts so long after the scenario began."""
        return self.from_s <= elapsed_s < self.until_s

    def fits(self, zone: str, machines: Iterable[str], model: str) -> bool:
        """`machines`: the names of the machine type and of its accelerator type, where it has one."""
        return (
            matches(self.zones, zone)
            and any(matches(self.machines, one) for one in machines)
            and matches(self.models, model)
        )


@dataclass(frozen=True)
class QuotaRule:
    """A quota's limit; `region` is `global` for a project's quotas."""

    region: str
    metric: str
    limit: float


@dataclass(frozen=True)
class Answer:
    """An answer in place of the one asked for: Google's error JSON, nothing carried out."""

    status: int
    reason: str
    message: str
    domain: str | None = None
    details: tuple[Json, ...] = ()


@dataclass(frozen=True)
class OperationEnd:
    """How an operation ends. `http` is its httpErrorStatusCode; `made`: the work is done although it fails."""

    code: str
    message: str
    details: tuple[Json, ...] = ()
    http: int = 400
    made: bool = False


@dataclass(frozen=True)
class ErrorRule:
    """What requests meet. Exactly one of the fields from `answer` on is set."""

    methods: tuple[str, ...]
    zones: tuple[str, ...] = ANY
    share: float = 1.0
    times: int | None = None
    skip: int = 0
    answer: Answer | None = None
    operation: OperationEnd | None = None
    lost: bool = False
    cut: bool = False
    slow_s: float | None = None
    operation_slow_s: float | None = None
    stuck: bool = False
    cut_after_bytes: int | None = None

    def fits(self, method: str, zone: str | None) -> bool:
        """`zone` is None for a request to no zone; only a rule for all zones fits it."""
        return matches(self.methods, method) and matches(self.zones, zone or "")

    @property
    def on_operation(self) -> bool:
        """Whether the rule is about the operation that a request begins, and not about its answer."""
        return self.operation is not None or self.operation_slow_s is not None or self.stuck


@dataclass(frozen=True)
class VmRule:
    """What happens to VMs. Each draws once per rule when it comes to RUNNING; `after_s` is least and most seconds."""

    event: Event
    zones: tuple[str, ...] = ANY
    machines: tuple[str, ...] = ANY
    names: tuple[str, ...] = ANY
    share: float = 1.0
    times: int | None = None
    after_s: tuple[float, float] = (0.0, 0.0)
    delay_s: float = 0.0

    def fits(self, zone: str, machines: Iterable[str], name: str) -> bool:
        """`machines`: the names of the machine type and of its accelerator type, where it has one."""
        return (
            matches(self.zones, zone)
            and any(matches(self.machines, one) for one in machines)
            and matches(self.names, name)
        )


@dataclass(frozen=True)
class Scenario:
    """A whole bad day. `given` is the mapping that it was read from.

    `clock_s`: by how many seconds this machine's clock is ahead of Google's; negative: behind.
    """

    seed: int = 0
    clock_s: float = 0.0
    stock: tuple[StockRule, ...] = ()
    quotas: tuple[QuotaRule, ...] = ()
    errors: tuple[ErrorRule, ...] = ()
    vms: tuple[VmRule, ...] = ()
    given: Json = field(default_factory=dict, compare=False)


def matches(wildcards: Iterable[str], name: str) -> bool:
    """Whether any of the wildcards is for the name."""
    return any(fnmatchcase(name, wildcard) for wildcard in wildcards)


def read(given: object) -> Scenario:
    """The scenario of a mapping, as YAML or JSON has it. Raises `ScenarioError` with all mistakes in it."""
    mistakes: list[str] = []
    top = Fields(given, "", mistakes)
    scenario = Scenario(
        seed=int(top.number("seed", 0, low=-math.inf, whole=True)),
        clock_s=top.number("clock_s", 0.0, low=-math.inf),
        stock=tuple(_stock(one) for one in top.entries("stock")),
        quotas=tuple(_quota(one) for one in top.entries("quotas")),
        errors=tuple(_error(one) for one in top.entries("errors")),
        vms=tuple(_vm(one) for one in top.entries("vms")),
        given=top.given,
    )
    top.no_more()
    if mistakes:
        raise ScenarioError(mistakes)
    return scenario


def _stock(entry: Fields) -> StockRule:
    rule = StockRule(
        zones=entry.wildcards("zones"),
        machines=entry.wildcards("machines"),
        models=entry.wildcards("models", among=_MODELS),
        vms=int(entry.number("vms", 0, whole=True)),
        from_s=entry.number("from_s", 0.0),
        until_s=entry.number("until_s", math.inf),
    )
    if rule.until_s <= rule.from_s:
        entry.mistake("until_s", rule.until_s, f"it must be later than from_s ({rule.from_s:g})")
    entry.no_more()
    return rule


def _quota(entry: Fields) -> QuotaRule:
    rule = QuotaRule(entry.text("region"), entry.text("metric"), entry.number("limit"))
    entry.no_more()
    return rule


_EFFECTS = (
    "answer", "operation", "lost", "cut", "slow_s", "operation_slow_s", "stuck", "cut_after_bytes",
)  # fmt: skip


def _error(entry: Fields) -> ErrorRule:
    entry.exactly_one(_EFFECTS)
    answer, operation = entry.part("answer"), entry.part("operation")
    rule = ErrorRule(
        methods=entry.wildcards("methods", required=True),
        zones=entry.wildcards("zones"),
        share=entry.share("share"),
        times=entry.count("times"),
        skip=entry.count("skip") or 0,
        answer=None if answer is None else _answer(answer),
        operation=None if operation is None else _operation_end(operation),
        lost=entry.flag("lost"),
        cut=entry.flag("cut"),
        slow_s=entry.optional_number("slow_s"),
        operation_slow_s=entry.optional_number("operation_slow_s"),
        stuck=entry.flag("stuck"),
        cut_after_bytes=entry.count("cut_after_bytes"),
    )
    entry.no_more()
    return rule


def _answer(part: Fields) -> Answer:
    answer = Answer(
        status=int(part.number("status", low=400, high=599, whole=True)),
        reason=part.text("reason"),
        message=part.text("message", ""),
        domain=part.text("domain", "") or None,
        details=part.mappings("details"),
    )
    part.no_more()
    return answer


# What Google's operations say beside these codes.
_HTTP = {
    "INTERNAL_ERROR": 500,
    "QUOTA_EXCEEDED": 403,
    "RESOURCE_NOT_FOUND": 404,
    "ZONE_RESOURCE_POOL_EXHAUSTED": 503,
    "ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS": 503,
}


def _operation_end(part: Fields) -> OperationEnd:
    code = part.text("code")
    end = OperationEnd(
        code=code,
        message=part.text("message", ""),
        details=part.mappings("details"),
        http=int(part.number("http", _HTTP.get(code, 400), low=400, high=599, whole=True)),
        made=part.flag("made"),
    )
    part.no_more()
    return end


def _vm(entry: Fields) -> VmRule:
    rule = VmRule(
        event=Event(entry.choice("event", tuple(one.value for one in Event))),
        zones=entry.wildcards("zones"),
        machines=entry.wildcards("machines"),
        names=entry.wildcards("names"),
        share=entry.share("share"),
        times=entry.count("times"),
        after_s=entry.span("after_s"),
        delay_s=entry.number("delay_s", 0.0),
    )
    delays = rule.event is Event.SLOW_METADATA
    if delays and not rule.delay_s:
        entry.mistake("delay_s", None, "slow_metadata takes the seconds that each request is delayed by")
    if not delays and rule.delay_s:
        entry.mistake("delay_s", rule.delay_s, "only slow_metadata takes it; after_s delays an event")
    entry.no_more()
    return rule
