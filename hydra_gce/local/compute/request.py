"""One call of one method, read and checked."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hydra_gce.local.chaos.plan import Plan
from hydra_gce.local.compute.errors import Json
from hydra_gce.local.store import Resource

if TYPE_CHECKING:
    from hydra_gce.local.compute.cloud import Cloud


@dataclass(frozen=True)
class Request:
    """`path` holds the path's parameters, `query` and `body` what they say, in the types of Google's schema.

    `plan` is what a bad day has in store for the operation that the request begins.
    """

    method: str
    path: dict[str, str]
    query: Json = field(default_factory=dict)
    body: Json = field(default_factory=dict)
    user: str | None = None
    plan: Plan | None = None

    @property
    def project(self) -> str:
        return self.path["project"]

    @property
    def scope(self) -> str:
        """`zones/<zone>`, `regions/<region>` or `global`, by the method's path."""
        for kind in ("zone", "region"):
            if kind in self.path:
                return f"{kind}s/{self.path[kind]}"
        return "global"

    @property
    def request_id(self) -> str | None:
        value = self.query.get("requestId")
        return value or None

    def digest(self) -> str:
        """What makes two requests the same one."""
        query = {key: value for key, value in self.query.items() if key != "requestId"}
        return json.dumps([self.method, self.path, query, self.body], sort_keys=True)

    def begin(
        self,
        cloud: Cloud,
        scope: str,
        operation_type: str,
        target: Resource,
        work: str,
        arguments: Json | None = None,
    ) -> Json:
        """Start the operation that this request asks for."""
        return cloud.operations.begin(
            self.project,
            scope,
            operation_type,
            target,
            work,
            arguments,
            user=self.user,
            request_id=self.request_id,
            plan=self.plan,
        )


Method = Callable[["Cloud", Request], Any]
