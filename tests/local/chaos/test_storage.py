"""Cloud Storage on a bad day, as Google's client sees it; and on a good one, when nothing stands in its way."""

from __future__ import annotations

import http.client
import json
import socket
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from google.api_core import exceptions
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage

from hydra_gce.local.chaos import storage_calls
from tests.local.embedded import PROJECT, Embedded
from tests.local.fake_machine import FakeMachines

_CLIENTS: list[storage.Client] = []
REFUSED = {"status": 429, "reason": "rateLimitExceeded"}


def begin(cloud: Embedded, *rules: dict[str, Any]) -> None:
    call(cloud, "POST", {"errors": list(rules)})


def call(cloud: Embedded, method: str, body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    address = f"{cloud.url}/hydra-gce/chaos"
    request = urllib.request.Request(address, data, {"Content-Type": "application/json"}, method=method)
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def happened(cloud: Embedded) -> list[int]:
    found: list[int] = call(cloud, "GET")["happened"]["errors"]
    return found


def client(cloud: Embedded) -> storage.Client:
    options = {"api_endpoint": cloud.server.running.storage}
    _CLIENTS.append(storage.Client(PROJECT, AnonymousCredentials(), client_options=options))
    return _CLIENTS[-1]


@pytest.fixture(autouse=True)
def closed_clients() -> Iterator[None]:
    """No test leaves connections open."""
    yield
    while _CLIENTS:
        _CLIENTS.pop().close()


@pytest.fixture
def bucket(cloud: Embedded) -> storage.Bucket:
    made: storage.Bucket = client(cloud).create_bucket("bucket")
    return made


def again(cloud: Embedded) -> storage.Bucket:
    """The bucket by a client with new connections, as those of before were cut when the day began."""
    found: storage.Bucket = client(cloud).bucket("bucket")
    return found


def proxied(cloud: Embedded) -> bool:
    """Whether this process, and not Cloud Storage's, has the port."""
    return cloud.server._storage._proxy is not None


@pytest.mark.usefixtures("bucket")
def test_an_upload_is_refused_as_google_refuses_it(cloud: Embedded) -> None:
    begin(cloud, {"methods": "storage.objects.insert", "answer": REFUSED})
    with pytest.raises(exceptions.TooManyRequests) as refused:
        again(cloud).blob("a").upload_from_string("hello", retry=None)
    error = refused.value.response.json()["error"]
    assert error["errors"][0]["reason"] == "rateLimitExceeded"
    assert error["errors"][0]["domain"] == "usageLimits"
    assert not again(cloud).blob("a").exists()


def test_googles_client_gets_through_where_it_may_try_again(cloud: Embedded, bucket: storage.Bucket) -> None:
    bucket.blob("a").upload_from_string("hello")
    unavailable = {"status": 503, "reason": "backendError"}
    begin(
        cloud,
        {"methods": "storage.objects.get", "times": 1, "answer": unavailable},
        {"methods": "storage.objects.list", "times": 1, "answer": unavailable},
    )
    assert again(cloud).blob("a").download_as_bytes() == b"hello"
    assert [one.name for one in again(cloud).list_blobs()] == ["a"]
    assert happened(cloud) == [1, 1]


def test_a_download_is_refused_with_the_message_alone(cloud: Embedded, bucket: storage.Bucket) -> None:
    bucket.blob("a").upload_from_string("hello")
    answer = {"status": 503, "reason": "backendError", "message": "Backend Error"}
    begin(cloud, {"methods": "storage.objects.get", "answer": answer})
    with pytest.raises(exceptions.ServiceUnavailable, match="Backend Error"):
        again(cloud).blob("a").download_as_bytes(retry=None)


@pytest.mark.usefixtures("bucket")
def test_a_lost_answer_is_one_whose_request_was_carried_out(cloud: Embedded) -> None:
    begin(cloud, {"methods": "storage.objects.insert", "lost": True, "times": 1})
    with pytest.raises(requests.ConnectionError):
        again(cloud).blob("a").upload_from_string("hello", retry=None)
    assert again(cloud).blob("a").download_as_bytes() == b"hello"


@pytest.mark.usefixtures("bucket")
def test_a_cut_request_was_not_carried_out(cloud: Embedded) -> None:
    begin(cloud, {"methods": "storage.objects.insert", "cut": True, "times": 1})
    with pytest.raises(requests.ConnectionError):
        again(cloud).blob("a").upload_from_string("hello", retry=None)
    assert not again(cloud).blob("a").exists()


@pytest.mark.parametrize(("size", "after"), [(100_000, 1000), (5, 1000)])
def test_a_body_ends_before_its_end(cloud: Embedded, bucket: storage.Bucket, size: int, after: int) -> None:
    bucket.blob("a").upload_from_string(b"x" * size)
    begin(cloud, {"methods": "storage.objects.get", "cut_after_bytes": after})
    connection = http.client.HTTPConnection("127.0.0.1", cloud.server.running.storage_port)
    connection.request("GET", "/download/storage/v1/b/bucket/o/a?alt=media")
    answer = connection.getresponse()
    with pytest.raises(http.client.IncompleteRead) as cut:
        answer.read()
    assert len(cut.value.partial) == min(after, size - 1)
    connection.close()


@pytest.mark.usefixtures("bucket")
def test_a_slow_answer_was_carried_out_and_comes_later(cloud: Embedded) -> None:
    begin(cloud, {"methods": "storage.objects.insert", "slow_s": 3, "times": 1})
    with pytest.raises(requests.Timeout):
        again(cloud).blob("a").upload_from_string("hello", timeout=0.5, retry=None)
    assert again(cloud).blob("a").download_as_bytes() == b"hello"


@pytest.mark.usefixtures("bucket")
def test_whatever_no_rule_fits_passes_unchanged(cloud: Embedded) -> None:
    begin(cloud, {"methods": "storage.buckets.delete", "answer": REFUSED})
    here = again(cloud)
    large = bytes(range(256)) * 4096 * 4
    blob = here.blob("dir/large", chunk_size=1 << 20)
    blob.metadata = {"state": "RUNNING"}
    with blob.open("wb") as parts:  # a resumable upload
        parts.write(large)
    found = here.get_blob("dir/large")
    assert found is not None
    assert found.download_as_bytes() == large
    assert found.download_as_bytes(start=10, end=19) == large[10:20]
    assert found.metadata == {"state": "RUNNING"}
    with pytest.raises(exceptions.PreconditionFailed):
        here.blob("dir/large").upload_from_string("late", if_generation_match=0)
    here.blob("both").compose([found, found])
    here.blob("both").delete()
    assert [one.name for one in here.list_blobs(prefix="dir/")] == ["dir/large"]


def test_a_request_in_chunks_passes(cloud: Embedded, bucket: storage.Bucket) -> None:
    begin(cloud, {"methods": "storage.buckets.delete", "answer": REFUSED})
    connection = http.client.HTTPConnection("127.0.0.1", cloud.server.running.storage_port)
    pieces = iter([b"hello ", b"world"])
    connection.request(
        "POST", "/upload/storage/v1/b/bucket/o?uploadType=media&name=a", pieces, encode_chunked=True
    )
    assert connection.getresponse().status == 200
    connection.close()
    assert again(cloud).blob("a").download_as_bytes() == b"hello world"


def test_the_address_stays_and_the_proxy_is_there_for_storage_rules_only(
    cloud: Embedded, bucket: storage.Bucket
) -> None:
    bucket.blob("a").upload_from_string("hello")
    begin(cloud, {"methods": "instances.insert", "answer": REFUSED})
    assert not proxied(cloud)
    begin(cloud, {"methods": "storage.*", "share": 0, "answer": REFUSED})
    assert proxied(cloud)
    assert again(cloud).blob("a").download_as_bytes() == b"hello"
    call(cloud, "DELETE")
    assert not proxied(cloud)
    assert again(cloud).blob("a").download_as_bytes() == b"hello"


def test_connections_that_were_open_when_the_day_began_are_made_anew(
    cloud: Embedded, bucket: storage.Bucket
) -> None:
    bucket.blob("before").upload_from_string("hello")
    begin(cloud, {"methods": "storage.*", "share": 0, "answer": REFUSED})
    bucket.blob("on the day").upload_from_string("hello")
    call(cloud, "DELETE")
    bucket.blob("after").upload_from_string("hello")


def test_each_method_of_the_schema_has_its_name() -> None:
    for verb, target, name in (
        ("POST", "/upload/storage/v1/b/x/o?uploadType=multipart", "objects.insert"),
        ("PUT", "/upload/storage/v1/b/x/o?uploadType=resumable&upload_id=1", "objects.insert"),
        ("PUT", "/upload/resumable/1", "objects.insert"),
        ("GET", "/download/storage/v1/b/x/o/a%2Fb?alt=media", "objects.get"),
        ("GET", "/storage/v1/b/x/o/a%2Fb", "objects.get"),
        ("PATCH", "/storage/v1/b/x/o/a", "objects.patch"),
        ("DELETE", "/storage/v1/b/x/o/a?generation=1", "objects.delete"),
        ("POST", "/storage/v1/b/x/o/a%2Fb/compose", "objects.compose"),
        ("GET", "/storage/v1/b/x/o?prefix=a", "objects.list"),
        ("POST", "/storage/v1/b?project=p", "buckets.insert"),
        ("GET", "/storage/v1/b/x", "buckets.get"),
        ("GET", "/x/a/b", "objects.get"),
    ):
        assert storage_calls.name_of(verb, target) == f"storage.{name}"
    assert storage_calls.name_of("GET", "/_internal/healthcheck") is None


def test_a_client_that_leaves_in_the_middle_does_no_harm(cloud: Embedded, bucket: storage.Bucket) -> None:
    begin(cloud, {"methods": "storage.buckets.delete", "answer": REFUSED})
    with socket.create_connection(("127.0.0.1", cloud.server.running.storage_port)) as gone:
        gone.sendall(b"POST /upload/storage/v1/b/bucket/o?name=a HTTP/1.1\r\nContent-Length: 100\r\n\r\nhalf")
    again(cloud).blob("b").upload_from_string("hello")
    assert [one.name for one in again(cloud).list_blobs()] == ["b"]


def test_the_rules_outlive_the_server(tmp_path: Path, machines: FakeMachines) -> None:
    home = tmp_path / "local"
    home.mkdir()
    first = Embedded(home, machines)
    client(first).create_bucket("bucket")
    begin(first, {"methods": "storage.objects.insert", "times": 1, "answer": REFUSED})
    first.close(power_off=False)
    second = Embedded(home, machines)
    try:
        assert second.server.running.storage == first.server.running.storage
        with pytest.raises(exceptions.TooManyRequests):
            again(second).blob("a").upload_from_string("hello", retry=None)
        again(second).blob("a").upload_from_string("hello", retry=None)
    finally:
        second.close()
