"""Requests to Cloud Storage by name, and how it refuses them.

Names are those of the JSON API (https://cloud.google.com/storage/docs/json_api/v1): an upload is an insert in each of
its parts, a download a get; requests of the XML API count as what they do.
"""

from __future__ import annotations

import json
import re
from enum import Enum
from http import HTTPStatus
from urllib.parse import parse_qs, urlsplit

from hydra_gce.local.chaos.scenario import Answer

_OBJECT = r"/b/[^/]+/o/[^/]+"
_ROUTES: tuple[tuple[str, dict[str, str | None]], ...] = (
    (r"(/resumable)?/upload/.*", {"POST": "objects.insert", "PUT": "objects.insert", "DELETE": None}),
    (r"/download/.*", {"GET": "objects.get"}),
    (rf"/storage/v1{_OBJECT}/compose", {"POST": "objects.compose"}),
    (rf"/storage/v1{_OBJECT}/rewriteTo/.*", {"POST": "objects.rewrite"}),
    (rf"/storage/v1{_OBJECT}/copyTo/.*", {"POST": "objects.copy"}),
    (
        rf"/storage/v1{_OBJECT}",
        {"GET": "objects.get", "DELETE": "objects.delete", "PATCH": "objects.patch", "PUT": "objects.update"},
    ),
    (r"/storage/v1/b/[^/]+/o", {"GET": "objects.list", "POST": "objects.insert"}),
    (
        r"/storage/v1/b/[^/]+",
        {"GET": "buckets.get", "DELETE": "buckets.delete", "PATCH": "buckets.patch", "PUT": "buckets.update"},
    ),
    (r"/storage/v1/b", {"GET": "buckets.list", "POST": "buckets.insert"}),
    (r"/(storage|batch|_internal)/.*", {}),
    (r"/[^/]+/.+", {"GET": "objects.get", "HEAD": "objects.get", "PUT": "objects.insert", "POST": "objects.insert",
                    "DELETE": "objects.delete"}),
    (r"/[^/]+", {"GET": "objects.list", "PUT": "buckets.insert", "DELETE": "buckets.delete"}),
)  # fmt: skip
_COMPILED = tuple((re.compile(path), verbs) for path, verbs in _ROUTES)
METHODS = tuple(sorted({f"storage.{name}" for _, verbs in _ROUTES for name in verbs.values() if name}))
_SENTENCES = {
    # trinodb/trino, issue 19943; grafana/mimir, pull request 12086
    "rateLimitExceeded": "The object exceeded the rate limit for object mutation operations (create, update, and "
    "delete). Please reduce your request rate. See https://cloud.google.com/storage/docs/gcs429.",
    # googleapis/google-api-dotnet-client, issue 1277
    "backendError": "Backend Error",
    "internalError": "We encountered an internal error. Please try again.",
}
_USAGE_LIMITS = ("rateLimitExceeded", "userRateLimitExceeded", "quotaExceeded", "dailyLimitExceeded")
_XML_CODES = {429: "SlowDown", 500: "InternalError", 503: "ServiceUnavailable"}
"""https://cloud.google.com/storage/docs/xml-api/reference-status"""


class Form(Enum):
    """What an answer with an error looks like: it depends on what was asked for."""

    JSON = "application/json; charset=UTF-8"
    MEDIA = "text/html; charset=UTF-8"  # a download: the message alone
    XML = "application/xml; charset=UTF-8"


def name_of(verb: str, target: str) -> str | None:
    """`storage.objects.get` and its like for a request line; None for what no rule is about."""
    path = urlsplit(target).path.rstrip("/")
    for pattern, verbs in _COMPILED:
        if pattern.fullmatch(path):
            name = verbs.get(verb)
            return None if name is None else f"storage.{name}"
    return None


def form_of(target: str) -> Form:
    """What errors of a request look like."""
    parts = urlsplit(target)
    if parts.path.startswith("/download/") or parse_qs(parts.query).get("alt") == ["media"]:
        return Form.MEDIA
    known = ("/storage/", "/upload/", "/resumable/", "/batch/")
    return Form.JSON if parts.path.startswith(known) else Form.XML


def refusal(answer: Answer, target: str) -> tuple[int, str, bytes]:
    """Status, content type and body of an answer in place of the one that was asked for."""
    form = form_of(target)
    message = answer.message or _SENTENCES.get(answer.reason) or _phrase(answer.status)
    if form is Form.MEDIA:
        return answer.status, form.value, message.encode()
    if form is Form.XML:
        code = _XML_CODES.get(answer.status, answer.reason)
        text = f"<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code><Message>{message}</Message></Error>"
        return answer.status, form.value, text.encode()
    domain = answer.domain or ("usageLimits" if answer.reason in _USAGE_LIMITS else "global")
    entry = {"message": message, "domain": domain, "reason": answer.reason}
    error: dict[str, object] = {"code": answer.status, "message": message, "errors": [entry]}
    if answer.details:
        error["details"] = list(answer.details)
    return answer.status, form.value, json.dumps({"error": error}).encode()


def _phrase(status: int) -> str:
    return HTTPStatus(status).phrase if status in set(HTTPStatus) else f"Error {status}"
