"""One request to one of the services, and an error as Google's newer APIs answer it (`google.rpc.Status`)."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]

PERSON = "user:you@example.com"
"""Who calls without credentials: the person at this machine, an owner of the project to begin with."""
ADMIN = "user:admin@example.com"
"""Another owner, who calls with `Authorization: Bearer user:admin@example.com`."""

_STATUS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ALREADY_EXISTS",
    412: "FAILED_PRECONDITION",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
}


@dataclass(frozen=True)
class Call:
    """`path` holds the path's parameters; `query` has each parameter's values; `caller` is a member of IAM's."""

    path: Mapping[str, str]
    query: Mapping[str, list[str]]
    body: Json
    caller: str

    def one(self, name: str, default: str = "") -> str:
        """The value of a query parameter."""
        values = self.query.get(name)
        return values[0] if values else default


class RpcError(Exception):
    """An answer other than 200. `legacy`: with `errors`, as Cloud Storage has it."""

    def __init__(
        self,
        code: int,
        message: str,
        *,
        status: str | None = None,
        details: list[Json] | None = None,
        reason: str | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status or _STATUS.get(code, "UNKNOWN")
        self.details = details or []
        self.reason = reason

    def body(self) -> Json:
        """The answer's JSON."""
        error: Json = {"code": self.code, "message": self.message}
        if self.reason is not None:
            error["errors"] = [{"message": self.message, "domain": "global", "reason": self.reason}]
        else:
            error["status"] = self.status
        if self.details:
            error["details"] = self.details
        return {"error": error}


def caller_of(authorization: str | None) -> str:
    """Who sends a request: `Bearer <member>` names one of IAM's members, anything else is the person."""
    token = (authorization or "").removeprefix("Bearer ").strip()
    return token if token.startswith(("user:", "serviceAccount:")) else PERSON


def etag(value: Any) -> str:
    """A few bytes in base64 that change when the value does: such as read the same in both of its alphabets."""
    digest = hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
    return base64.b64encode(digest[:9].encode()).decode()
