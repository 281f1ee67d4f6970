"""The few verbs on objects, against a real server."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from hydra_gce.bucket import ROOT, Bucket, SweepNames
from hydra_gce.errors import GenerationMismatch, ObjectMissing


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

    def in_small_pages(prefix: str) -> object:
        return listed(prefix=prefix, page_size=5)

    monkeypatch.setattr(bucket._bucket, "list_blobs", in_small_pages)
    assert {entry.name for entry in bucket.list("status/")} == {f"status/{number}" for number in range(12)}


def test_parts_of_a_text_are_listed_in_their_order() -> None:
    names = SweepNames("calm-otter")
    assert names.log(1, 1, 9) < names.log(1, 1, 10) < names.log(1, 2, 0)
    assert names.journal(1, 1, 9) < names.journal(1, 1, 10)
    assert not names.log(11, 1, 0).startswith(names.job(1))
    assert names.output(1, 1) != names.output(1, 11)
