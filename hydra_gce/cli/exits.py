"""Exit codes that a script can use, and the line that goes with each error."""

from __future__ import annotations

import sys

from hydra_gce.errors import (
    CredentialsError,
    CredentialsExpired,
    HydraGCEError,
    JobFailed,
    UnknownName,
    Unreachable,
)

DONE = 0
ERROR = 1
USAGE = 2
UNKNOWN = 3
JOB_FAILED = 4
GOES_ON = 5
CREDENTIALS = 6
UNREACHABLE = 7
INTERRUPTED = 130

MEANINGS = {
    DONE: "done",
    ERROR: "an error, which the last line of stderr names",
    USAGE: "wrong usage",
    UNKNOWN: "there is no sweep, job, attempt or file of that name",
    JOB_FAILED: "a job failed",
    GOES_ON: "`show --exit-code`: the sweep has not ended",
    CREDENTIALS: "the credentials have run out, or may not do that",
    UNREACHABLE: "Google Cloud does not answer; later it may",
    INTERRUPTED: "Ctrl-C",
}

_OF = (
    (UnknownName, UNKNOWN),
    (CredentialsError, CREDENTIALS),
    (CredentialsExpired, CREDENTIALS),
    (Unreachable, UNREACHABLE),
    (JobFailed, JOB_FAILED),
)


def of(error: BaseException) -> tuple[int, str] | None:
    """The exit code and the line for an error that a person can do something about; None for all others."""
    if isinstance(error, HydraGCEError):
        return next((code for kind, code in _OF if isinstance(error, kind)), ERROR), str(error)
    return _of_google(error)


def _of_google(error: BaseException) -> tuple[int, str] | None:
    """Errors of Google's clients, which come as they are where nobody knows more of them."""
    if "google.auth" not in sys.modules and "google.api_core" not in sys.modules:
        return None
    from google.api_core.exceptions import Forbidden, NotFound, Unauthorized
    from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError, RefreshError

    from hydra_gce.cloud.unreachable import UNREACHABLE as NO_ANSWER

    said = " ".join(str(error).split())
    if isinstance(error, NO_ANSWER):
        return UNREACHABLE, f"Google Cloud cannot be reached, or does not answer ({said})"
    if isinstance(error, (RefreshError, DefaultCredentialsError, Unauthorized)):
        login = "gcloud auth application-default login"
        return CREDENTIALS, f"the credentials here do not work, or have run out ({said}). Run: {login}"
    if isinstance(error, (Forbidden, GoogleAuthError)):
        return CREDENTIALS, f"this account may not do that ({said})"
    if isinstance(error, NotFound):
        return ERROR, f"what was asked for is gone ({said})"
    return None
