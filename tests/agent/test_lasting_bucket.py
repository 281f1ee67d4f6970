"""What counts gets into the bucket, however long it is away, as long as the VM lives."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.api_core.exceptions import Forbidden, GoogleAPICallError, NotFound, ServiceUnavailable
from google.auth.credentials import AnonymousCredentials
from google.auth.exceptions import RefreshError
from google.cloud.storage import Client
from requests.exceptions import ChunkedEncodingError
from requests.exceptions import ConnectionError as NoConnection

from hydra_gce.agent import lasting_bucket
from hydra_gce.agent.departure import Cause, Departure
from hydra_gce.agent.lasting_bucket import LastingBucket, OutOfTime, may_pass
from hydra_gce.bucket import Bucket
from hydra_gce.errors import Damaged, GenerationMismatch, ObjectMissing
from tests.lossy_proxy import LossyProxy, lossy_proxy


class Patient(Departure):
    """Writes down how long it was waited for, and waits no longer than that takes."""

    def __init__(self) -> None:
        super().__init__()
        self.waited: list[float] = []

    def wait(self, timeout_s: float) -> bool:
        self.waited.append(timeout_s)
        return super().wait(0)


@pytest.fixture
def proxy(storage_url: str) -> Iterator[LossyProxy]:
    with lossy_proxy(storage_url) as made:
        yield made


@pytest.fixture
def departure() -> Patient:
    return Patient()


@pytest.fixture
def lasting(
    bucket: Bucket, proxy: LossyProxy, departure: Patient, monkeypatch: pytest.MonkeyPatch
) -> LastingBucket:
    monkeypatch.setattr(lasting_bucket, "_CLIENT_TRIES_S", 0.0)
    options = {"api_endpoint": proxy.url}
    client = Client(project="p", credentials=AnonymousCredentials(), client_options=options)
    made = LastingBucket(client.bucket(bucket.name), departure)
    made._try_for_s = lambda: 0.0  # Google's client gives up at once; what lasts longer is ours
    return made


@pytest.mark.parametrize("status", [401, 429, 500, 503])
def test_every_verb_outlasts_a_storage_that_is_away(
    bucket: Bucket, lasting: LastingBucket, proxy: LossyProxy, tmp_path: Path, status: int
) -> None:
    (tmp_path / "up").write_bytes(b"x" * 1000)
    refusals: list[int] = []

    def away() -> None:
        refusals[:] = [status] * 3

    proxy.refuse = lambda method, path: refusals.pop() if refusals else None
    away()
    generation = lasting.write("a", b"1", if_generation=0)
    away()
    lasting.upload("b", tmp_path / "up")
    away()
    lasting.download("b", tmp_path / "down")
    assert (tmp_path / "down").read_bytes() == b"x" * 1000
    away()
    assert lasting.read("a") == b"1"
    away()
    found = lasting.find("a")
    assert found and found.generation == generation
    away()
    lasting.delete("a")
    away()
    assert [entry.name for entry in lasting.list("")] == ["b"]
    assert proxy.refused == 21


def test_what_is_a_clear_answer_is_not_asked_again(lasting: LastingBucket, proxy: LossyProxy) -> None:
    with pytest.raises(ObjectMissing):
        lasting.read("gone")
    generation = lasting.write("a", b"1")
    with pytest.raises(GenerationMismatch):
        lasting.write("a", b"2", if_generation=generation + 1)
    proxy.refuse = lambda method, path: 403
    with pytest.raises(Forbidden):
        lasting.write("a", b"2")
    assert proxy.refused == 1


@pytest.mark.parametrize(
    "error",
    [
        RefreshError("the metadata server gives no token"),
        ChunkedEncodingError("cut"),
        NoConnection("away"),
        TimeoutError(),
        ConnectionResetError(),
        Damaged("checksum"),
        ServiceUnavailable("away"),
        type("Unauthorized", (GoogleAPICallError,), {"code": 401})("token"),
    ],
)
def test_what_may_pass_is_waited_for(error: Exception) -> None:
    assert may_pass(error)


@pytest.mark.parametrize(
    "error",
    [NotFound("gone"), Forbidden("no"), ObjectMissing("gone"), FileNotFoundError(), OSError(28, "full")],
)
def test_what_does_not_pass_is_not(error: Exception) -> None:
    assert not may_pass(error)


def test_pauses_grow_and_the_person_is_told_once_a_minute(
    bucket: Bucket, proxy: LossyProxy, caplog: pytest.LogCaptureFixture
) -> None:
    now = 0.0

    class Clocked(Patient):
        def wait(self, timeout_s: float) -> bool:
            nonlocal now
            now += timeout_s
            return super().wait(timeout_s)

    departure = Clocked()
    options = {"api_endpoint": proxy.url}
    client = Client(project="p", credentials=AnonymousCredentials(), client_options=options)
    lasting = LastingBucket(client.bucket(bucket.name), departure, clock=lambda: now)
    lasting._try_for_s = lambda: 0.0
    proxy.refuse = lambda method, path: 503 if now < 600 else None
    with caplog.at_level(logging.WARNING):
        lasting.write("a", b"1")
    assert bucket.read("a") == b"1"
    assert 15 <= max(departure.waited) <= 30
    assert departure.waited[0] <= 0.5
    said = [line for line in caplog.messages if "is out of reach" in line]
    assert 5 <= len(said) <= 10
    assert f"gs://{bucket.name} is out of reach for" not in said[0]
    assert "trying again" in said[0]


def test_a_vm_that_goes_does_not_wait_beyond_its_end(lasting: LastingBucket, proxy: LossyProxy) -> None:
    proxy.refuse = lambda method, path: 503
    lasting._departure.announce(Cause.PREEMPTED, 0.0)
    with pytest.raises(OutOfTime, match="and this VM goes"):
        lasting.write("a", b"1")


def test_a_notice_in_the_middle_of_a_wait_ends_it(bucket: Bucket, proxy: LossyProxy) -> None:
    """The longest pause would be longer than what the VM has left."""

    class Noticed(Departure):
        def wait(self, timeout_s: float) -> bool:
            self.announce(Cause.PREEMPTED, 60.0)
            proxy.refuse = lambda method, path: None
            return super().wait(timeout_s)

    options = {"api_endpoint": proxy.url}
    client = Client(project="p", credentials=AnonymousCredentials(), client_options=options)
    lasting = LastingBucket(client.bucket(bucket.name), Noticed())
    lasting._try_for_s = lambda: 0.0
    proxy.refuse = lambda method, path: 503
    lasting.write("a", b"1")
    assert bucket.read("a") == b"1"
