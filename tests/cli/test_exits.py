"""Exit codes that a script can use, whatever went wrong."""

from __future__ import annotations

import pytest
import requests
from google.api_core import exceptions as google
from google.auth.exceptions import DefaultCredentialsError, RefreshError, TransportError

from hydra_gce import errors
from hydra_gce.cli import exits
from hydra_gce.home import SweepRecord
from tests.cli.conftest import Command


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.ConfigError("x"), exits.ERROR),
        (errors.SealBroken("x"), exits.ERROR),
        (errors.UnknownName("x"), exits.UNKNOWN),
        (errors.JobFailed("x"), exits.JOB_FAILED),
        (errors.CredentialsError("x"), exits.CREDENTIALS),
        (errors.CredentialsExpired("x"), exits.CREDENTIALS),
        (errors.Unreachable("x"), exits.UNREACHABLE),
        (RefreshError("Reauthentication is needed"), exits.CREDENTIALS),
        (DefaultCredentialsError("none"), exits.CREDENTIALS),
        (google.Unauthorized("x"), exits.CREDENTIALS),
        (google.Forbidden("x"), exits.CREDENTIALS),
        (google.NotFound("x"), exits.ERROR),
        (google.ServiceUnavailable("x"), exits.UNREACHABLE),
        (google.TooManyRequests("x"), exits.UNREACHABLE),
        (TransportError("x"), exits.UNREACHABLE),
        (requests.ConnectionError("x"), exits.UNREACHABLE),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_each_error_has_its_code(
    command: Command,
    record: SweepRecord,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    code: int,
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("hydra_gce.coming_back.seen.see", fail)
    ended, out, err = command("show", record.sweep)
    assert (ended, out) == (code, "")
    assert err.startswith("hydra-gce: ")
    assert err.count("\n") == 1


def test_expired_credentials_are_said_with_what_mends_them(
    command: Command, record: SweepRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RefreshError("Reauthentication is needed.\nPlease run something")

    monkeypatch.setattr("hydra_gce.coming_back.seen.see", fail)
    _, _, err = command("show", record.sweep)
    assert "the credentials here do not work, or have run out" in err
    assert "gcloud auth application-default login" in err


def test_a_mistake_of_ours_is_not_dressed_up(
    command: Command, record: SweepRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("hydra_gce.coming_back.seen.see", fail)
    with pytest.raises(ZeroDivisionError):
        command("show", record.sweep)
