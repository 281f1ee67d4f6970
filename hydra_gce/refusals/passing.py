"""What passes by itself: too many requests at once, trouble on Google's side. The same request again, after a pause."""

from __future__ import annotations

from hydra_gce.refusals.quota import RATE
from hydra_gce.refusals.refusal import Reach
from hydra_gce.refusals.row import Row
from hydra_gce.refusals.sources import BULK, CORE_ERRORS, GLOBAL_ERRORS, SKYPILOT, TERRAFORM

# Requests are counted by the minute: https://cloud.google.com/compute/api-quota
_RATE_PAUSE_S = 5.0
_BUSY, _TROUBLE, _LATE = (
    "takes too many requests just now",
    "has trouble on Google's side",
    "takes too long to answer",
)

ROWS = (
    Row(TERRAFORM, Reach.ATTEMPT, _BUSY, says=RATE, passes=True, pause_s=_RATE_PAUSE_S),
    Row(BULK, Reach.ATTEMPT, _BUSY, codes=("rateLimitExceeded",), passes=True, pause_s=_RATE_PAUSE_S),
    Row(
        GLOBAL_ERRORS,
        Reach.ATTEMPT,
        _BUSY,
        codes=("userRateLimitExceeded",),
        passes=True,
        pause_s=_RATE_PAUSE_S,
    ),
    Row(
        "https://cloud.google.com/compute/api-quota",
        Reach.ATTEMPT,
        _BUSY,
        codes=(
            "RATE_LIMIT_EXCEEDED",
            "RESOURCE_EXHAUSTED",
            "TOO_MANY_REQUESTS",
            "CONCURRENT_OPERATIONS_QUOTA_EXCEEDED",
        ),
        passes=True,
        pause_s=_RATE_PAUSE_S,
    ),
    Row(
        SKYPILOT,
        Reach.ATTEMPT,
        _BUSY,
        codes=("RESOURCE_OPERATION_RATE_EXCEEDED",),
        passes=True,
        pause_s=_RATE_PAUSE_S,
    ),
    Row(
        "https://github.com/hashicorp/terraform-provider-google/issues/316",
        Reach.ATTEMPT,
        _TROUBLE,
        codes=("backendError",),
        passes=True,
    ),
    Row(
        "https://github.com/F5Networks/f5-google-gdm-templates/issues/10",
        Reach.ATTEMPT,
        _TROUBLE,
        codes=("INTERNAL_ERROR", "internalError", "INTERNAL"),
        passes=True,
    ),
    # A plain 503 to an insert also comes where a zone is full: https://github.com/dstackai/dstack/issues/488
    Row(
        CORE_ERRORS,
        Reach.ATTEMPT,
        _TROUBLE,
        codes=("UNAVAILABLE", "serviceUnavailable", "ABORTED", "conflict"),
        passes=True,
    ),
    Row(
        CORE_ERRORS,
        Reach.ATTEMPT,
        _LATE,
        codes=(
            "deadlineExceeded",
            "DEADLINE_EXCEEDED",
            "gatewayTimeout",
            "OPERATION_TIMEOUT",
            "requestTimeout",
        ),
        passes=True,
    ),
    Row(
        "https://github.com/hashicorp/terraform-provider-google/issues/8358",
        Reach.ATTEMPT,
        _LATE,
        says=r"\b[Oo]peration timed out|[Dd]eadline exceeded|timed out waiting for",
        passes=True,
    ),
    # The client gave up waiting for its operation: another place is sooner than the end of this one.
    Row(
        "hydra_gce/compute/",
        Reach.ZONE,
        "has not made it in the time that it takes elsewhere",
        codes=("OPERATION_STUCK",),
        passes=True,
    ),
    Row(
        f"{TERRAFORM}; {SKYPILOT}",
        Reach.ATTEMPT,
        "is not ready for it yet",
        codes=("RESOURCE_NOT_READY", "resourceNotReady"),
        passes=True,
    ),
    # A VM of this attempt's name that is on its way out still holds the name.
    Row(
        CORE_ERRORS,
        Reach.ATTEMPT,
        "still has a VM of this name",
        codes=("alreadyExists", "ALREADY_EXISTS", "RESOURCE_ALREADY_EXISTS"),
        passes=True,
    ),
)
