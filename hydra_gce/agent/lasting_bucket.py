"""The bucket for all that counts: what cannot be done now is done later, for as long as the VM lives.

Google's client tries again for two minutes. A job of two days must not be lost to three minutes without a network.
"""

from __future__ import annotations

import http.client
import logging
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import urllib3.exceptions
from google.api_core.exceptions import GoogleAPICallError
from google.auth.exceptions import GoogleAuthError
from google.cloud.storage.exceptions import DataCorruption
from requests.exceptions import RequestException

from hydra_gce.agent.departure import Departure
from hydra_gce.bucket import Bucket, Entry
from hydra_gce.cloud.unreachable import UNREACHABLE
from hydra_gce.errors import Damaged

if TYPE_CHECKING:
    from google.cloud import storage

log = logging.getLogger(__name__)

_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 30.0
_SAY_EVERY_S = 60.0
_CLIENT_TRIES_S = 120.0
_AGAIN = (401, 408, 429)  # 401: a token that has just run out

_T = TypeVar("_T")


class OutOfTime(Exception):
    """The VM goes before the bucket is back; the cause is the last answer."""


def may_pass(error: Exception) -> bool:
    """Whether the same request may succeed later."""
    if isinstance(error, GoogleAPICallError) and error.code is not None:
        return error.code in _AGAIN or error.code >= 500
    network = (RequestException, urllib3.exceptions.HTTPError, http.client.HTTPException, ConnectionError)
    # A token comes from the metadata server, which may be away as well.
    return isinstance(error, (*UNREACHABLE, *network, TimeoutError, GoogleAuthError, DataCorruption, Damaged))


class LastingBucket(Bucket):
    """A bucket whose every verb lasts until it is done; ``departure`` bounds it.

    All verbs may be carried out twice: names are written by one only, or with ``if_generation``.
    """

    def __init__(
        self,
        bucket: storage.Bucket,
        departure: Departure,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(bucket, try_for_s=lambda: max(1.0, min(_CLIENT_TRIES_S, departure.left_s())))
        self._departure = departure
        self._clock = clock

    def read(self, name: str, start: int = 0) -> bytes:
        return self._last(name, lambda: super(LastingBucket, self).read(name, start))

    def read_generation(self, name: str) -> tuple[bytes, int]:
        return self._last(name, lambda: super(LastingBucket, self).read_generation(name))

    def write(
        self,
        name: str,
        content: bytes,
        *,
        metadata: dict[str, str] | None = None,
        if_generation: int | None = None,
    ) -> int:
        return self._last(
            name,
            lambda: super(LastingBucket, self).write(
                name, content, metadata=metadata, if_generation=if_generation
            ),
        )

    def find(self, name: str) -> Entry | None:
        return self._last(name, lambda: super(LastingBucket, self).find(name))

    def upload(self, name: str, path: Path, metadata: dict[str, str] | None = None) -> int:
        return self._last(name, lambda: super(LastingBucket, self).upload(name, path, metadata))

    def download(self, name: str, path: Path, generation: int | None = None) -> None:
        self._last(name, lambda: super(LastingBucket, self).download(name, path, generation))

    def list(self, prefix: str) -> Iterator[Entry]:
        yield from self._last(prefix, lambda: [*super(LastingBucket, self).list(prefix)])

    def delete(self, name: str) -> None:
        self._last(name, lambda: super(LastingBucket, self).delete(name))

    def _last(self, name: str, do: Callable[[], _T]) -> _T:
        """:raises OutOfTime: the VM goes."""
        since, said, longest = self._clock(), -_SAY_EVERY_S, _FIRST_PAUSE_S
        while True:
            try:
                return do()
            except Exception as error:
                if not may_pass(error):
                    raise
                if self._departure.left_s() <= 0:
                    raise OutOfTime(
                        f"gs://{self.name} is out of reach for {name}, and this VM goes"
                    ) from error
                away = self._clock() - since
                if away - said >= _SAY_EVERY_S:
                    log.warning(
                        "gs://%s is out of reach (%s: %s); trying again", self.name, name, _brief(error)
                    )
                    said = away
            longest = min(longest * 2, self._pause(random.uniform(0.5, 1.0) * longest))

    def _pause(self, seconds: float) -> float:
        """Waits, and says how long the next pause may be: in its last seconds a VM does not wait for long."""
        if not self._departure.is_announced():
            return _FIRST_PAUSE_S if self._departure.wait(seconds) else _LONGEST_PAUSE_S
        time.sleep(min(seconds, _FIRST_PAUSE_S))
        return _FIRST_PAUSE_S


def _brief(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
