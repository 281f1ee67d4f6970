"""What a sweep waits out, and what it says of that."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from google.api_core.exceptions import BadRequest, ServiceUnavailable, Unauthorized
from google.auth.exceptions import RefreshError, TransportError
from requests.exceptions import ConnectionError as NoConnection

from hydra_gce.errors import ConfigError, CredentialsExpired, NoPlace, Unreachable
from hydra_gce.follow.follower import Follower
from hydra_gce.settings import Settings

AWAY: list[Any] = [
    Unreachable("away"),
    NoConnection("reset by peer"),
    ServiceUnavailable("busy"),  # type: ignore[no-untyped-call, unused-ignore]
    TransportError("no name server"),  # type: ignore[no-untyped-call, unused-ignore]
]
EXPIRED: list[Any] = [
    CredentialsExpired.of(Unauthorized("Invalid Credentials")),  # type: ignore[no-untyped-call, unused-ignore]
    Unauthorized("Invalid Credentials"),  # type: ignore[no-untyped-call, unused-ignore]
    RefreshError("invalid_rapt"),  # type: ignore[no-untyped-call, unused-ignore]
]


@dataclass
class Heard:
    follower: Follower = field(default_factory=lambda: Follower(Settings(), {}))

    @property
    def lines(self) -> list[str]:
        return [text for _, text in self.follower.news]

    def tries(self, *errors: Exception | None) -> list[bool]:
        return [self.follower.reached(_step(error)) for error in errors]


def test_a_process_in_the_background_does_not_wait_for_ever_for_a_cloud_that_is_gone() -> None:
    now = [0.0]
    for in_background in (True, False):
        heard = Heard(Follower(Settings(), {}, in_background=in_background, clock=lambda: now[0]))
        heard.tries(Unreachable("away"))
        now[0] += 23 * 3600
        heard.tries(Unreachable("away"))
        assert not heard.follower.is_forlorn
        now[0] += 3600
        assert heard.follower.is_forlorn is in_background
        heard.tries(None)
        assert not heard.follower.is_forlorn


def _step(error: Exception | None) -> Callable[[], None]:
    def step() -> None:
        if error is not None:
            raise error

    return step


@pytest.mark.parametrize("error", AWAY, ids=lambda error: type(error).__name__)
def test_a_network_that_is_away_is_said_once_and_so_is_its_return(error: Exception) -> None:
    heard = Heard()
    assert heard.tries(None, error, error, None, None) == [True, False, False, True, True]
    gone, back = heard.lines
    assert gone.startswith("Google Cloud cannot be reached (") and back == "Google Cloud answers again"


@pytest.mark.parametrize("error", EXPIRED, ids=lambda error: type(error).__name__)
def test_of_credentials_that_expired_it_is_said_what_to_do(error: Exception) -> None:
    heard = Heard()
    assert heard.tries(error, error, None) == [False, False, True]
    expired, back = heard.lines
    assert "run gcloud auth application-default login in another terminal" in expired
    assert back == "Google Cloud answers again"


@pytest.mark.parametrize("error", [NoPlace("full"), ConfigError("wrong"), BadRequest("wrong")])  # type: ignore[no-untyped-call, unused-ignore]
def test_what_nobody_need_wait_for_ends_the_sweep(error: Exception) -> None:
    heard = Heard()
    with pytest.raises(type(error)):
        heard.tries(error)
    assert heard.lines == []
