"""Google APIs that no client library of ours knows, by plain REST; errors are those that the clients raise."""

from __future__ import annotations

import re
from functools import cached_property
from typing import Any

DEADLINE_S = 30.0
_ADDRESS = re.compile(r"^(?:\d{3} )?[A-Z]+ https?://\S+: ")


class Rest:
    """One API, at ``base``; ``project`` is what a person's requests are counted on, None what his login has."""

    def __init__(self, base: str, credentials: Any, project: str | None) -> None:
        self._base = base
        self._credentials = credentials
        self._project = project

    def get(self, path: str, **query: Any) -> dict[str, Any]:
        """:raises GoogleAPICallError: it was refused; RequestException, GoogleAuthError: it did not come to that."""
        return self._call("GET", path, query, None)

    def post(self, path: str, body: dict[str, Any] | None = None, **query: Any) -> dict[str, Any]:
        """Raises as ``get``."""
        return self._call("POST", path, query, body or {})

    def patch(self, path: str, body: dict[str, Any], **query: Any) -> dict[str, Any]:
        """Raises as ``get``."""
        return self._call("PATCH", path, query, body)

    def delete(self, path: str, **query: Any) -> dict[str, Any]:
        """Raises as ``get``."""
        return self._call("DELETE", path, query, None)

    def _call(self, verb: str, path: str, query: dict[str, Any], body: Any) -> dict[str, Any]:
        from google.api_core.exceptions import from_http_response

        answer = self._session.request(
            verb, f"{self._base}/{path}", params=query, json=body, timeout=DEADLINE_S
        )
        if answer.status_code >= 400:
            raise from_http_response(answer)
        content: dict[str, Any] = answer.json() if answer.content else {}
        return content

    @cached_property
    def _session(self) -> Any:
        from google.auth.transport.requests import AuthorizedSession
        from google.oauth2.credentials import Credentials as PersonsCredentials

        credentials = self._credentials
        persons = isinstance(credentials, PersonsCredentials) and not credentials.quota_project_id
        if persons and self._project is not None:
            # They belong to no project, and these APIs want one to count the requests on.
            credentials = credentials.with_quota_project(self._project)
        return AuthorizedSession(credentials)


def sentence(error: BaseException) -> str:
    """The first line of what an error says, without the address that was asked."""
    said = str(getattr(error, "message", None) or error).strip()
    first = (said.splitlines() or [""])[0] or type(error).__name__
    return _ADDRESS.sub("", first)[:300]
