"""The VM that the agent is on: what its metadata server says, and its own deletion."""

from __future__ import annotations

import http.client
import json
import logging
import os
import random
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

COMPUTE = "https://compute.googleapis.com/compute/v1/"

log = logging.getLogger(__name__)

_DIRECT = urllib.request.build_opener(
    urllib.request.ProxyHandler({})
)  # no proxy leads to the metadata server
_TIMEOUT_S = 30.0
_TRY_FOR_S = 600.0
_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 30.0

Pause = Callable[[float], object]


class CannotDelete(Exception):
    """Compute Engine did not take this VM's wish to be deleted; the message says why."""


class _Answered(OSError):
    """An HTTP status that is no success."""

    def __init__(self, code: int, said: str) -> None:
        super().__init__(f"HTTP {code} {said}")
        self.code = code
        self.said = said


def metadata(path: str) -> str:
    """The value at ``path`` below ``/computeMetadata/v1/``."""
    return _ask(path, _TIMEOUT_S)[0]


def watch_metadata(path: str, etag: str, hold_s: int, timeout_s: float) -> tuple[str, str]:
    """The value and its etag as soon as it is another than ``etag``'s, or after ``hold_s`` seconds as it is then."""
    return _ask(f"{path}?wait_for_change=true&timeout_sec={hold_s}&last_etag={etag}", timeout_s)


def _ask(path: str, timeout_s: float) -> tuple[str, str]:
    host = os.environ.get("GCE_METADATA_HOST", "metadata.google.internal")
    request = urllib.request.Request(
        f"http://{host}/computeMetadata/v1/{path}", headers={"Metadata-Flavor": "Google"}
    )
    return _answer(_DIRECT.open, request, timeout_s)


def _answer(opener: Callable[..., Any], request: urllib.request.Request, timeout_s: float) -> tuple[str, str]:
    """What was answered, and its etag."""
    try:
        with opener(request, timeout=timeout_s) as answer:
            content: bytes = answer.read()
            return content.decode(), answer.headers.get("ETag") or "0"
    except urllib.error.HTTPError as error:
        said = " ".join(error.read(2000).decode(errors="replace").split())
        raise _Answered(error.code, said[:500]) from error


@dataclass(frozen=True)
class Instance:
    """The VM by the names that Compute Engine has for it. ``attributes`` is the metadata that it was made with."""

    name: str
    zone: str
    project: str
    machine_type: str
    attributes: dict[str, str]
    spot: bool = False

    @classmethod
    def here(cls, pause: Pause = time.sleep) -> Instance:
        """As the metadata server describes it; asked again while it does not answer.

        :raises OSError: it has not answered for ten minutes.
        """
        tree: dict[str, Any] = json.loads(_persistently(lambda: metadata("?recursive=true&alt=json"), pause))
        instance = tree["instance"]
        return cls(
            name=instance["name"],
            zone=instance["zone"].rpartition("/")[2],
            project=tree["project"]["projectId"],
            machine_type=instance["machineType"].rpartition("/")[2],
            attributes=instance.get("attributes", {}),
            spot=str(instance.get("scheduling", {}).get("preemptible", "")).upper() == "TRUE",
        )

    def delete(self, pause: Pause = time.sleep) -> None:
        """Asks Compute Engine to delete this VM, again and again for ten minutes while that fails for a moment.

        One plain request: importing ``google.cloud.compute_v1`` for it would cost seconds of a paid machine.

        :raises CannotDelete: it is refused, or nobody answers.
        """
        try:
            _persistently(self._ask_for_deletion, pause)
        except (OSError, http.client.HTTPException) as error:
            raise CannotDelete(str(error)) from error

    def _ask_for_deletion(self) -> None:
        root = os.environ.get("CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE", COMPUTE)
        request = urllib.request.Request(
            f"{root}projects/{self.project}/zones/{self.zone}/instances/{urllib.parse.quote(self.name)}",
            method="DELETE",
            headers={"Authorization": f"Bearer {access_token()}"},
        )
        try:
            _answer(urllib.request.urlopen, request, _TIMEOUT_S)
        except _Answered as error:
            # Somebody else has asked for it already.
            if error.code not in (HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT):
                raise


def access_token() -> str:
    """A token of the VM's service account."""
    token: str = json.loads(metadata("instance/service-accounts/default/token"))["access_token"]
    return token


def _persistently(ask: Callable[[], Any], pause: Pause) -> Any:
    """The answer, asked for again for ten minutes while there is none, or one that says to come again."""
    end, longest = time.monotonic() + _TRY_FOR_S, _FIRST_PAUSE_S
    while True:
        try:
            return ask()
        except (OSError, http.client.HTTPException) as error:
            if _is_refused(error) or time.monotonic() > end:
                raise
            log.warning("%s; trying again", error)
        pause(random.uniform(0.5, 1.0) * longest)
        longest = min(longest * 2, _LONGEST_PAUSE_S)


def _is_refused(error: Exception) -> bool:
    """Whether it was heard and answered with no. A token that has just run out gets 401: the next one is good."""
    if not isinstance(error, _Answered):
        return False
    if error.code == HTTPStatus.FORBIDDEN:  # Compute Engine's word for too many requests, too
        return "ateLimitExceeded" not in error.said
    again = (HTTPStatus.UNAUTHORIZED, HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS)
    return error.code < HTTPStatus.INTERNAL_SERVER_ERROR and error.code not in again
