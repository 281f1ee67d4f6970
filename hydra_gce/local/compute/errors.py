"""Errors in the two shapes that Compute Engine has: an HTTP answer, and the end of an operation.

Wording follows what the real API says; clients (SkyPilot, Terraform, gcloud) tell errors apart by `reason`, `code` and
sometimes by the sentence.
"""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

_REASON_STATUS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    405: "METHOD_NOT_ALLOWED",
    409: "ALREADY_EXISTS",
    412: "FAILED_PRECONDITION",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
}


class ApiError(Exception):
    """An HTTP answer other than 200, as `{"error": {"code", "message", "errors": [...]}}`."""

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        *,
        domain: str = "global",
        location: tuple[str, str] | None = None,
        status: bool = False,
        details: list[Json] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.domain = domain
        self.location = location
        self.status = status
        self.details = details

    def body(self) -> Json:
        """The answer's JSON."""
        entry: Json = {"message": self.message, "domain": self.domain, "reason": self.reason}
        if self.location is not None:
            entry["location"], entry["locationType"] = self.location
        error: Json = {"code": self.code, "message": self.message, "errors": [entry]}
        if self.status:
            error["status"] = _REASON_STATUS.get(self.code, "UNKNOWN")
        if self.details:
            error["details"] = self.details
        return {"error": error}


def invalid_value(field: str, value: object, rule: str) -> ApiError:
    """400 `invalid`: a field whose value breaks a rule. `field` is a path such as `resource.name`."""
    shown = value if isinstance(value, str) else _shown(value)
    return ApiError(400, "invalid", f"Invalid value for field '{field}': '{shown}'. {rule}")


def invalid(message: str) -> ApiError:
    """400 `invalid` in a sentence of its own."""
    return ApiError(400, "invalid", message)


def required(field: str) -> ApiError:
    """400 `required`: a field that must be there and is not."""
    return ApiError(400, "required", f"Required field '{field}' not specified")


def not_found(resource: str) -> ApiError:
    """404 `notFound`. `resource` is the path from `projects/` on."""
    return ApiError(404, "notFound", f"The resource '{resource}' was not found")


def already_exists(resource: str) -> ApiError:
    """409 `alreadyExists`."""
    return ApiError(409, "alreadyExists", f"The resource '{resource}' already exists")


def condition_not_met(message: str) -> ApiError:
    """412 `conditionNotMet`: somebody else changed labels, metadata or tags since the fingerprint was read."""
    return ApiError(412, "conditionNotMet", message, location=("If-Match", "header"))


def in_use(resource: str, user: str) -> ApiError:
    """400 `resourceInUseByAnotherResource`."""
    return ApiError(
        400,
        "resourceInUseByAnotherResource",
        f"The {_kind(resource)} resource '{resource}' is already being used by '{user}'",
    )


def not_ready(resource: str) -> ApiError:
    """400 `resourceNotReady`."""
    return ApiError(400, "resourceNotReady", f"The resource '{resource}' is not ready")


class OperationError(Exception):
    """The end of an operation that could not be done: `operation.error.errors[0]`."""

    def __init__(
        self, code: str, message: str, *, http: tuple[int, str], details: list[Json] | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.http = http
        self.details = details

    def entry(self) -> Json:
        """The one entry of `operation.error.errors`."""
        entry: Json = {"code": self.code, "message": self.message}
        if self.details:
            entry["errorDetails"] = self.details
        return entry


def quota_exceeded(metric: str, limit: float, region: str | None) -> OperationError:
    """QUOTA_EXCEEDED with `quotaInfo`, as an operation ends with it (HTTP 403)."""
    limit_name = f"{metric.replace('_', '-')}-per-project" + ("-region" if region else "")
    info: Json = {
        "metricName": f"compute.googleapis.com/{metric.lower()}",
        "limitName": limit_name,
        "limit": float(limit),
        "dimensions": {"region": region} if region else {"global": "global"},
    }
    where = f"in region {region}" if region else "globally"
    return OperationError(
        "QUOTA_EXCEEDED",
        f"Quota '{metric}' exceeded.  Limit: {float(limit)} {where}.",
        http=(403, "FORBIDDEN"),
        details=[{"quotaInfo": info}],
    )


def zone_exhausted(project: str, zone: str, machine_type: str, attachment: str) -> OperationError:
    """ZONE_RESOURCE_POOL_EXHAUSTED with the details that Google adds (HTTP 503)."""
    return zone_stockout(project, zone, machine_type, attachment, [], with_details=False)


def zone_stockout(
    project: str, zone: str, machine_type: str, attachment: str, available: list[str], *, with_details: bool
) -> OperationError:
    """A zone that is sold out, in one of the two codes that Google has for it (HTTP 503).

    Plain for a standard VM without GPUs (GoogleCloudPlatform/ai-on-gke, issue 849); `with_details` for spot and for
    GPUs (kubernetes/k8s.io, issue 9834). `attachment` is `<accelerator type>:<count>`; `available` are zones to try.
    """
    return OperationError(
        "ZONE_RESOURCE_POOL_EXHAUSTED" + ("_WITH_DETAILS" if with_details else ""),
        stockout_sentence(f"projects/{project}/zones/{zone}", with_details=with_details),
        http=(503, "SERVICE UNAVAILABLE"),
        details=[
            {
                "help": {
                    "links": [
                        {
                            "description": "Troubleshooting documentation",
                            "url": "https://cloud.google.com/compute/docs/resource-error",
                        }
                    ]
                }
            },
            {
                "localizedMessage": {
                    "locale": "en-US",
                    "message": _unavailable(zone, machine_type, attachment, available),
                }
            },
            {
                "errorInfo": {
                    "domain": "compute.googleapis.com",
                    "reason": "resource_availability",
                    "metadatas": {
                        "attachment": attachment,
                        "vmType": machine_type,
                        "zone": zone,
                        "zonesAvailable": ",".join(available),
                    },
                }
            },
        ],
    )


def stockout_sentence(zone: str, *, with_details: bool) -> str:
    """What is said of a zone (`projects/<project>/zones/<zone>`) that is sold out, in either of the two codes."""
    why = (
        "'NULL:0/NULL:0/NULL:0 (state:STOCKOUT, sub-state:STOCKOUT, resource type:compute)'."
        if with_details
        else "Try a different zone, or try again later."
    )
    return f"The zone '{zone}' does not have enough resources available to fulfill the request.  {why}"


def _unavailable(zone: str, machine_type: str, attachment: str, available: list[str]) -> str:
    gpu, _, count = attachment.partition(":")
    with_gpu = f" with {count} {gpu} accelerator(s)" if attachment else ""
    elsewhere = (
        f" Consider trying your request in the {', '.join(available)} zone(s), which currently has capacity to"
        " accommodate your request."
        if available
        else ""
    )
    return (
        f"A {machine_type} VM instance{with_gpu} is currently unavailable in the {zone} zone.{elsewhere}"
        " Alternatively, you can try your request again with a different VM hardware configuration or at a"
        " later time. For more information, see the troubleshooting documentation."
    )


def _kind(resource: str) -> str:
    return resource.rsplit("/", 2)[-2].rstrip("s")


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
