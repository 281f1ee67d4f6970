"""What a bad day has in store for one operation. Written down with it, so that a restart changes nothing."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from http import HTTPStatus
from typing import Any

from hydra_gce.local.chaos.scenario import OperationEnd
from hydra_gce.local.compute.errors import OperationError, stockout_sentence

Json = dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """`rule` made it: the operation is `slow_s` longer RUNNING, for ever if `stuck`, and then fails with `end`."""

    rule: str
    slow_s: float = 0.0
    stuck: bool = False
    end: OperationEnd | None = None

    @property
    def undone(self) -> bool:
        """Whether the work is not to be done."""
        return self.end is not None and not self.end.made

    def failure(self, project: str, scope: str) -> OperationError | None:
        """How the operation, which is at `scope` (`zones/<zone>`), ends if it is to fail."""
        if self.end is None:
            return None
        status = self.end.http
        phrase = HTTPStatus(status).phrase.upper() if status in set(HTTPStatus) else "BAD REQUEST"
        return OperationError(
            self.end.code,
            self.end.message or _sentence(self.end.code, f"projects/{project}/{scope}"),
            http=(status, phrase),
            details=list(self.end.details),
        )

    def as_json(self) -> Json:
        """For the store."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: Json | None) -> Plan | None:
        """What `as_json` gave; None for None."""
        if stored is None:
            return None
        end = stored["end"]
        return cls(
            stored["rule"],
            stored["slow_s"],
            stored["stuck"],
            None if end is None else OperationEnd(**{**end, "details": tuple(end["details"])}),
        )


def _sentence(code: str, place: str) -> str:
    if code in ("ZONE_RESOURCE_POOL_EXHAUSTED", "ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS"):
        return stockout_sentence(place, with_details=code.endswith("_WITH_DETAILS"))
    return f"The operation failed with {code}."


def canceled() -> OperationError:
    """How an operation that hangs ends when its target is deleted."""
    return OperationError(
        "OPERATION_CANCELED_BY_USER", "Operation was canceled by user ''.", http=(409, "CONFLICT")
    )
