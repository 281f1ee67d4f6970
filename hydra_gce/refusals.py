"""What it means when Compute Engine does not give a VM: how far the refusal reaches, so what to do next.

Codes come from an operation's ``error.errors[].code`` or from an HTTP error's ``reason``. The reach of each was learnt
by others: SkyPilot's ``_gcp_handler``, dstack's issue 488. What is not known is judged by its HTTP status.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any


class Reach(Enum):
    """How far a refusal reaches."""

    ATTEMPT = "attempt"  # the very same request may succeed: try again after a pause
    ZONE = "zone"
    REGION = "region"
    EVERYWHERE = "everywhere"  # a limit of the whole project
    REQUEST = "request"  # what was asked for is wrong: no other place will take it


@dataclass(frozen=True)
class Refusal:
    code: str
    message: str
    reach: Reach
    quota: bool = False

    @property
    def may_pass(self) -> bool:
        """Whether waiting helps: the place is full at the moment, or the quota is in use and not just nothing."""
        return self.reach in (Reach.ATTEMPT, Reach.ZONE) or (self.quota and self.limit != 0)

    @property
    def limit(self) -> float | None:
        """The quota's limit, where the message tells it."""
        found = re.search(r"Limit: ([\d.]+)", self.message)
        return float(found.group(1)) if found else None


_REACH = {
    "ZONE_RESOURCE_POOL_EXHAUSTED": Reach.ZONE,
    "ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS": Reach.ZONE,
    "insufficientCapacity": Reach.ZONE,
    "UNSUPPORTED_OPERATION": Reach.ZONE,  # seen when a spot VM is taken back while it is being made
    "RESOURCE_NOT_READY": Reach.ZONE,
    "RESOURCE_NOT_FOUND": Reach.ZONE,
    "RESOURCE_OPERATION_RATE_EXCEEDED": Reach.ATTEMPT,
    "rateLimitExceeded": Reach.ATTEMPT,
    "userRateLimitExceeded": Reach.ATTEMPT,
    "backendError": Reach.ATTEMPT,
    "internalError": Reach.ATTEMPT,
    "INTERNAL_ERROR": Reach.ATTEMPT,
    "QUOTA_EXCEEDED": Reach.REGION,
    "quotaExceeded": Reach.REGION,
    "VPC_NOT_FOUND": Reach.EVERYWHERE,
    "IAM_PERMISSION_DENIED": Reach.EVERYWHERE,
    "forbidden": Reach.EVERYWHERE,
}
# A machine that is not sold there (any more), though the price list has it.
_NOT_IN_ZONE = re.compile(r"does not exist in zone|/zones/[^/']+(/\w+/[^/']+)?' was not found")
_GLOBAL_QUOTA = re.compile(r"ALL_REGIONS|\bglobally\b")


def judge(
    code: str, message: str, status: int | None = None, details: Sequence[Mapping[str, Any]] = ()
) -> Refusal:
    """:param status: the HTTP status, where the request itself was refused."""
    if code in ("QUOTA_EXCEEDED", "quotaExceeded"):
        reach = Reach.EVERYWHERE if _GLOBAL_QUOTA.search(message) else Reach.REGION
        return Refusal(code, message, reach, quota=True)
    known = _REACH.get(code)
    if known is not None:
        return Refusal(code, message, known)
    if _NOT_IN_ZONE.search(message):
        return Refusal(code, message, Reach.ZONE)
    if status is None or status in (408, 429) or status == 500:
        return Refusal(code, message, Reach.ZONE if status is None else Reach.ATTEMPT)
    return Refusal(code, message, Reach.ZONE if status >= 500 else Reach.REQUEST)
