"""What requests meet on a bad day: refused, lost, cut off, late, or with an operation that does not end well.

Shapes of the answers are Google's; where each was seen stands beside it.
"""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus

from hydra_gce.local.chaos.day import BadDay
from hydra_gce.local.chaos.draws import Rule
from hydra_gce.local.chaos.plan import Plan
from hydra_gce.local.chaos.scenario import Answer, ErrorRule
from hydra_gce.local.compute.errors import ApiError, Json

# Rate limits of Compute Engine come as 403 of this domain (hashicorp/terraform-provider-google, issue 8360, and its
# `error_retry_predicates_test.go`; scylladb/scylla-cluster-tests, issue 7940).
_USAGE_LIMITS = ("rateLimitExceeded", "userRateLimitExceeded", "quotaExceeded", "dailyLimitExceeded")
_RATE_LIMITS = ("rateLimitExceeded", "userRateLimitExceeded")
_HELP = {
    "@type": "type.googleapis.com/google.rpc.Help",
    "links": [
        {
            "description": "Request a higher quota limit.",
            "url": "https://cloud.google.com/docs/quotas/help/request_increase",
        }
    ],
}


class ConnectionCut(ConnectionError):
    """The connection has to be cut, with no answer or in the middle of one."""


class Met:
    """What one request meets: the rule that fired, if any did."""

    def __init__(self, day: BadDay, rule: ErrorRule, name: Rule) -> None:
        self.rule = rule
        self._day = day
        self._name = name

    @property
    def plan(self) -> Plan | None:
        """What is planned for the operation that the request begins."""
        rule = self.rule
        if not rule.on_operation:
            return None
        return Plan(str(self._name), rule.operation_slow_s or 0.0, rule.stuck, rule.operation)

    def before(self, consumer: str) -> None:
        """Raises in place of carrying the request out. `consumer` is the project's number."""
        if self.rule.answer is not None:
            raise refusal(self.rule.answer, consumer)
        if self.rule.cut:
            raise ConnectionCut("cut before the request was carried out")

    def after(self, wait: Callable[[float], object]) -> None:
        """The request was carried out: its answer comes late, or never (raises)."""
        if self.rule.slow_s:
            wait(self.rule.slow_s)
        if self.rule.lost:
            raise ConnectionCut("cut before the answer")

    def take_back(self) -> None:
        """The request began no operation, so nothing happened to one."""
        if self.rule.on_operation:
            self._day.draws.count(self._name, -1)


def meet(day: BadDay, method: str, zone: str | None, *, begins: bool = False) -> Met | None:
    """What a request of that method meets; None if no rule fires.

    `begins`: the request is to begin an operation. Rules about operations fit no other request.
    """
    for index, rule in enumerate(day.scenario.errors):
        if not rule.fits(method, zone) or (rule.on_operation and not begins):
            continue
        name = Rule("errors", index)
        if day.draws.fires(name, share=rule.share, times=rule.times, skip=rule.skip):
            return Met(day, rule, name)
    return None


def refusal(answer: Answer, consumer: str) -> ApiError:
    """Google's error JSON. What the scenario leaves out is as Google has it for that reason."""
    usage = answer.reason in _USAGE_LIMITS
    details: list[Json] = list(answer.details)
    if not details and answer.reason in _RATE_LIMITS:
        details = [_rate_limit(consumer), _HELP]
    return ApiError(
        answer.status,
        answer.reason,
        answer.message or _sentence(answer, consumer),
        domain=answer.domain or ("usageLimits" if usage else "global"),
        status=True,
        details=details,
    )


def _rate_limit(consumer: str) -> Json:
    # GoogleCloudPlatform/marketing-analytics-jumpstart, issue 163 (429); for Compute Engine with 403:
    # https://cloud.google.com/docs/quotas/troubleshoot#exceeding_rate_quotas
    return {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": "RATE_LIMIT_EXCEEDED",
        "domain": "googleapis.com",
        "metadata": {
            "consumer": f"projects/{consumer}",
            "quota_limit": "defaultPerMinutePerProject",
            "quota_limit_value": "1500",
            "quota_location": "global",
            "quota_metric": "compute.googleapis.com/default",
            "service": "compute.googleapis.com",
        },
    }


def _sentence(answer: Answer, consumer: str) -> str:
    if answer.reason in _RATE_LIMITS:
        return (
            "Quota exceeded for quota metric 'Queries' and limit 'Queries per minute' of service "
            f"'compute.googleapis.com' for consumer 'project_number:{consumer}'."
        )
    if answer.reason in ("backendError", "internalError"):
        # ansible/ansible, issue 61515; the code is Google's own reference and different each time
        return "Internal error. Please try again or contact Google Support. (Code: '0.0.0')"
    if answer.status == HTTPStatus.SERVICE_UNAVAILABLE:
        return "The service is currently unavailable."
    return HTTPStatus(answer.status).phrase if answer.status in set(HTTPStatus) else answer.reason
