"""Google's default credentials, for as long as a sweep takes: when they expire, those of a new login count."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from google.auth.credentials import Credentials
from google.auth.exceptions import GoogleAuthError, RefreshError

SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)


def found() -> tuple[Any, str | None]:
    """Google's default credentials, and the project that they name.

    :raises google.auth.exceptions.DefaultCredentialsError: there are none.
    """
    import google.auth

    credentials, project = google.auth.default(scopes=list(SCOPES))
    return credentials, project


class Lasting(Credentials):  # type: ignore[no-untyped-call, misc, unused-ignore]
    """Stand for ``inner``, and for whatever stands in their place once those are no good any more."""

    def __init__(self, inner: Any, find: Callable[[], tuple[Any, str | None]] = found) -> None:
        super().__init__()  # type: ignore[no-untyped-call, unused-ignore]
        self._find = find
        self._inner: Any = inner
        self._stand_for(inner)

    @property
    def universe_domain(self) -> str:
        return str(self._inner.universe_domain)

    def refresh(self, request: Any) -> None:
        """:raises google.auth.exceptions.RefreshError: neither the old ones nor new ones are any good."""
        try:
            self._inner.refresh(request)
        except RefreshError:
            try:
                renewed, _ = self._find()
                renewed.refresh(request)
            except RefreshError:
                raise
            except GoogleAuthError as error:
                raise RefreshError(str(error)) from error  # type: ignore[no-untyped-call, unused-ignore]
            self._inner = renewed
        self._stand_for(self._inner)

    def _stand_for(self, inner: Any) -> None:
        self._inner = inner
        self.token, self.expiry = inner.token, inner.expiry
        self._quota_project_id = inner.quota_project_id
