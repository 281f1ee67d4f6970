"""How Compute Engine is asked: for how long, how often again, and what its errors mean where they are about no VM."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hydra_gce.cloud.unreachable import EXPIRED, UNREACHABLE
from hydra_gce.errors import CredentialsError, CredentialsExpired, Unreachable

ANSWER_S = 60.0
_AGAIN_S = 20.0
_RATE_LIMITS = ("rateLimitExceeded", "userRateLimitExceeded", "RATE_LIMIT_EXCEEDED")


@contextmanager
def asking() -> Iterator[None]:
    """Google's client's errors as ours, where they say nothing about the VM itself."""
    from google.api_core.exceptions import Forbidden

    try:
        yield
    except EXPIRED as error:
        raise CredentialsExpired.of(error) from error
    except Forbidden as error:
        if is_passing(error):
            raise Unreachable(str(error)) from error
        raise CredentialsError(
            f"Compute Engine refuses to be asked: {error}. Who asks needs the role"
            " roles/compute.instanceAdmin.v1 in the project, and valid credentials:"
            " gcloud auth application-default login"
        ) from error
    except UNREACHABLE as error:
        raise Unreachable(str(error)) from error


def patiently() -> dict[str, Any]:
    """Requests that may be repeated at will: how long for an answer, and for how long again."""
    from google.api_core.retry import Retry

    again = Retry(predicate=is_passing, initial=0.5, multiplier=2.0, maximum=8.0, timeout=_AGAIN_S)
    return {"retry": again, "timeout": ANSWER_S}


def is_passing(error: BaseException) -> bool:
    """Whether the same request may do better in a moment. Some rate limits come as 403 Forbidden."""
    return isinstance(error, UNREACHABLE) or reason(error) in _RATE_LIMITS


def reason(error: Any) -> str:
    """Google's short word for an HTTP error: ``error.errors[0].reason``."""
    for detail in getattr(error, "errors", None) or []:
        if isinstance(detail, dict) and detail.get("reason"):
            return str(detail["reason"])
    return str(getattr(error, "reason", None) or type(error).__name__)


def details_of(error: Any) -> list[dict[str, Any]]:
    """``errorDetails`` of an operation's error as JSON has them."""
    from google.cloud import compute_v1

    return [json.loads(compute_v1.ErrorDetails.to_json(detail)) for detail in error.error_details]


def plain(details: Any) -> list[dict[str, Any]]:
    """What an HTTP error says beside its message, as JSON has it."""
    return [detail for detail in details or [] if isinstance(detail, dict)]
