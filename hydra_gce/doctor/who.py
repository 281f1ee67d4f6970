"""Whose credentials these are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hydra_gce.cloud.backend import Backend


def kind_of(credentials: Any) -> str:
    """ "user account", "service account trainer@…", as a person says it."""
    from google.auth.credentials import AnonymousCredentials
    from google.oauth2.credentials import Credentials as PersonsCredentials

    if isinstance(credentials, AnonymousCredentials):
        return "no account is needed here"
    if isinstance(credentials, PersonsCredentials):
        return "user account"
    email = getattr(credentials, "service_account_email", None)
    if email == "default":
        return "service account of this VM"
    return (
        f"service account {email}"
        if email
        else type(credentials).__module__.rpartition(".")[2].replace("_", " ")
    )


def refresh(credentials: Any) -> None:
    """A fresh token, where there is one to be had.

    :raises GoogleAuthError: Google gives none.
    """
    from google.auth.credentials import AnonymousCredentials
    from google.auth.transport.requests import Request

    if not isinstance(credentials, AnonymousCredentials):
        credentials.refresh(Request())


def member_of(backend: Backend) -> str | None:
    """Who asks, as IAM names him; None where Google does not say."""
    from google.api_core.exceptions import GoogleAPIError
    from google.auth.exceptions import GoogleAuthError
    from requests.exceptions import RequestException

    credentials = backend.credentials
    email = getattr(credentials, "service_account_email", None)
    if email and email != "default":
        return f"serviceAccount:{email}"
    try:
        if not getattr(credentials, "token", None):
            refresh(credentials)
        token = getattr(credentials, "token", None)
        said = backend.rest("oauth2").get("tokeninfo", **({"access_token": token} if token else {}))
    except (GoogleAPIError, GoogleAuthError, RequestException):
        return None
    email = str(said.get("email", ""))
    kind = "serviceAccount" if email.endswith("gserviceaccount.com") else "user"
    return f"{kind}:{email}" if email else None
