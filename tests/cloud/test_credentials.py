"""Credentials that expire are replaced by those that a new login has left, and not before there are any."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from typing import Any

import pytest
from google.auth.credentials import Credentials
from google.auth.exceptions import DefaultCredentialsError, RefreshError

from hydra_gce.cloud.credentials import Lasting


@dataclass
class Login:
    """What lies on the disk of the laptop, if anything."""

    left: Any = None

    def __call__(self) -> tuple[Any, str | None]:
        if self.left is None:
            raise DefaultCredentialsError("there are none")  # type: ignore[no-untyped-call, unused-ignore]
        return self.left, None


class Users(Credentials):  # type: ignore[misc, no-untyped-call, unused-ignore]
    def __init__(self, name: str, good: bool = True) -> None:
        super().__init__()  # type: ignore[no-untyped-call, unused-ignore]
        self.name, self.good = name, good
        self._quota_project_id = f"{name}-project"

    def refresh(self, request: object) -> None:
        if not self.good:
            raise RefreshError("invalid_rapt")  # type: ignore[no-untyped-call, unused-ignore]
        self.token = f"token of {self.name}"


def headers(credentials: Lasting) -> dict[str, str]:
    sent: dict[str, str] = {}
    credentials.before_request(None, "GET", "https://compute.googleapis.com", sent)  # type: ignore[no-untyped-call, unused-ignore]
    return {name: sent[name] for name in ("authorization", "x-goog-user-project")}


def test_they_are_what_they_stand_for() -> None:
    lasting = Lasting(Users("ada"), Login())
    expected = {"authorization": "Bearer token of ada", "x-goog-user-project": "ada-project"}
    assert headers(lasting) == expected
    assert (
        headers(pickle.loads(pickle.dumps(lasting))) == expected
    )  # the process beside the launcher has them, too


def test_those_of_a_new_login_count_once_they_are_there() -> None:
    login = Login()
    old = Users("ada", good=False)
    lasting = Lasting(old, login)
    for left in (None, Users("ada", good=False)):
        login.left = left
        with pytest.raises(RefreshError):
            lasting.refresh(None)
    login.left = Users("new")
    assert headers(lasting)["authorization"] == "Bearer token of new"


def test_a_broken_login_is_no_other_error() -> None:
    with pytest.raises(RefreshError, match="there are none"):
        Lasting(Users("ada", good=False), Login()).refresh(None)
