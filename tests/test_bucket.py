"""The few verbs on objects, against a real server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud.storage import Client

from hydra_gce.bucket import ROOT, Bucket, SweepNames
from hydra_gce.errors import Damaged, GenerationMismatch, ObjectMissing
from tests.lossy_proxy import LossyProxy, lossy_proxy


def test_an_object_is_read_as_it_was_written(bucket: Bucket) -> None:
    generation = bucket.write("a/b", b"0123456789", metadata={"state": "RUNNING", "leer": "", "ü": "✓\nline"})
    assert bucket.read("a/b") == b"0123456789"
    entry = bucket.find("a/b")
    assert entry is not None
    assert (entry.name, entry.size, entry.generation) == ("a/b", 10, generation)
    assert entry.metadata == {"state": "RUNNING", "leer": "", "ü": "✓\nline"}
    assert list(bucket.list("")) == [entry]
    assert entry.updated > 1_700_000_000


def test_all_names_are_below_one_folder_of_the_bucket(bucket: Bucket) -> None:
    bucket.write("a", b"")
    assert [blob.name for blob in bucket._bucket.list_blobs()] == [f"{ROOT}a"]


def test_reading_goes_on_from_a_byte(bucket: Bucket) -> None:
    bucket.write("log", b"0123456789")
    assert bucket.read("log", start=7) == b"789"
    assert bucket.read("log", start=10) == b""


def test_what_is_not_there_is_said(bucket: Bucket, tmp_path: Path) -> None:
    assert bucket.find("gone") is None
    bucket.delete("gone")
    with pytest.raises(ObjectMissing, match=f"gs://{bucket.name}/hydra-gce/gone does not exist"):
        bucket.read("gone")
    with pytest.raises(ObjectMissing):
        bucket.download("gone", tmp_path / "sub" / "gone")
    assert list((tmp_path / "sub").iterdir()) == []


def test_what_is_shared_and_old_becomes_new_again(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lifecycle that deletes by age leaves alone what a sweep has asked for a moment ago."""
    assert not bucket.holds("code/a.tar.gz")
    written = bucket.write("code/a.tar.gz", b"code")
    assert bucket.holds("code/a.tar.gz")
    entry = bucket.find("code/a.tar.gz")
    assert entry is not None
    assert entry.generation == written
    monkeypatch.setattr("hydra_gce.bucket._NEW_FOR_S", -1.0)
    assert bucket.holds("code/a.tar.gz")
    renewed = bucket.find("code/a.tar.gz")
    assert renewed is not None
    assert renewed.generation != written
    assert bucket.read("code/a.tar.gz") == b"code"


def test_only_the_first_of_two_writers_wins(bucket: Bucket) -> None:
    first = bucket.write("claim", b"1", if_generation=0)
    with pytest.raises(GenerationMismatch):
        bucket.write("claim", b"2", if_generation=0)
    second = bucket.write("claim", b"3", if_generation=first)
    with pytest.raises(GenerationMismatch):
        bucket.write("claim", b"4", if_generation=first)
    assert bucket.read("claim") == b"3"
    assert second != first


def test_a_file_is_downloaded_whole_or_not_at_all(bucket: Bucket, tmp_path: Path) -> None:
    (tmp_path / "up").write_bytes(b"x" * 100_000)
    bucket.upload("big", tmp_path / "up")
    target = tmp_path / "deep" / ("n" * 255)
    bucket.download("big", target)
    assert target.read_bytes() == b"x" * 100_000
    with pytest.raises(ObjectMissing):
        bucket.download("gone", target)
    assert target.read_bytes() == b"x" * 100_000
    assert [path.name for path in target.parent.iterdir()] == [target.name]


def test_a_listing_has_all_pages_of_a_prefix(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(12):
        bucket.write(f"status/{number}", b"")
    bucket.write("other", b"")
    listed: Callable[..., object] = bucket._bucket.list_blobs

    def in_small_pages(**more: object) -> object:
        return listed(page_size=5, **more)

    monkeypatch.setattr(bucket._bucket, "list_blobs", in_small_pages)
    assert {entry.name for entry in bucket.list("status/")} == {f"status/{number}" for number in range(12)}


def test_parts_of_a_text_are_listed_in_their_order() -> None:
    names = SweepNames("calm-otter")
    assert names.log(1, 1, 9) < names.log(1, 1, 10) < names.log(1, 2, 0)
    assert names.journal(1, 1, 9) < names.journal(1, 1, 10)
    assert not names.log(11, 1, 0).startswith(names.job(1))
    assert names.output(1, 1) != names.output(1, 11)


@pytest.fixture
def proxy(storage_url: str) -> Iterator[LossyProxy]:
    with lossy_proxy(storage_url) as made:
        yield made


@pytest.fixture
def far(bucket: Bucket, proxy: LossyProxy) -> Bucket:
    """The same bucket by way of the proxy."""
    options = {"api_endpoint": proxy.url}
    client = Client(project="p", credentials=AnonymousCredentials(), client_options=options)
    return Bucket(client.bucket(bucket.name))


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_storage_that_is_overloaded_for_a_moment_is_asked_again_whatever_the_verb(
    bucket: Bucket, far: Bucket, proxy: LossyProxy, tmp_path: Path, status: int
) -> None:
    refused: set[str] = set()

    def once_for_each(method: str, path: str) -> int | None:
        if f"{method} {path}" in refused:
            return None
        refused.add(f"{method} {path}")
        return status

    proxy.refuse = once_for_each
    (tmp_path / "up").write_bytes(b"x" * 1000)
    far.write("a", b"1", if_generation=0)
    far.upload("b", tmp_path / "up")
    far.download("b", tmp_path / "down")
    assert (far.read("a"), (tmp_path / "down").read_bytes()) == (b"1", b"x" * 1000)
    assert far.find("a")
    far.delete("a")
    assert [entry.name for entry in far.list("")] == ["b"]
    assert proxy.refused >= 6


def test_a_download_that_is_cut_off_goes_on_and_is_whole(
    bucket: Bucket, far: Bucket, proxy: LossyProxy, tmp_path: Path
) -> None:
    content = bytes(range(256)) * 4000
    bucket.write("big", content)
    proxy.cut = lambda method, path: 300_000 if proxy.lost < 2 else None
    far.download("big", tmp_path / "big")
    assert proxy.lost == 2
    assert (tmp_path / "big").read_bytes() == content
    proxy.lost = 0
    assert far.read("big") == content
    assert proxy.lost == 2


def test_a_download_that_came_out_wrong_is_repeated(
    bucket: Bucket, far: Bucket, proxy: LossyProxy, tmp_path: Path
) -> None:
    bucket.write("a", b"as it was written")
    spoilt = iter([True, False, True])
    proxy.spoil = lambda method, path: next(spoilt, False)
    far.download("a", tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == b"as it was written"
    assert far.read("a") == b"as it was written"
    assert len(proxy.seen) >= 4  # on a busy machine the client may ask once more


def test_a_download_that_comes_out_wrong_each_time_is_not_taken(
    bucket: Bucket, far: Bucket, proxy: LossyProxy, tmp_path: Path
) -> None:
    bucket.write("a", b"as it was written")
    proxy.spoil = lambda method, path: True
    with pytest.raises(Damaged, match="checksum"):
        far.download("a", tmp_path / "a")
    with pytest.raises(Damaged, match="checksum"):
        far.read("a")
    assert list(tmp_path.iterdir()) == []
