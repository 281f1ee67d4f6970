"""What a job leaves in its output directory comes back as it was at one moment, whoever else is at work."""

from __future__ import annotations

import json
import math
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hydra_gce import claims, mirror
from hydra_gce.bucket import Bucket, SweepNames
from hydra_gce.errors import BucketError, CollectError, ObjectMissing, SealBroken
from hydra_gce.jobs import seal
from hydra_gce.mirror import Mirror, read_manifest, restore, restore_newest

KEY = b"k" * 32
NAMES = SweepNames("calm-otter")


def tree(directory: Path) -> dict[str, Any]:
    """Everything that is to come back: contents, modes, times, links, empty directories."""
    seen: dict[str, Any] = {}
    for folder, folders, files in os.walk(directory):
        for name in (*folders, *files):
            path = Path(folder, name)
            state = path.lstat()
            if path.is_symlink():
                what: Any = ("link", os.readlink(path))
            elif path.is_dir():
                what = "directory"
            else:
                what = (path.read_bytes(), state.st_mtime_ns, state.st_mode)
            seen[os.fsdecode(path.relative_to(directory))] = what
    return seen


def sends(bucket: Bucket, directory: Path, attempt: int = 1, **start: Any) -> Mirror:
    return Mirror(bucket, NAMES, KEY, 0, attempt, directory, **start)


def restored(bucket: Bucket, target: Path, attempt: int = 1) -> dict[str, Any]:
    manifest = read_manifest(bucket, NAMES, KEY, 0, attempt)
    assert manifest is not None
    target.mkdir(parents=True)
    restore(bucket, manifest, target)
    return tree(target)


def objects(bucket: Bucket, attempt: int = 1) -> list[str]:
    found = [entry.name for entry in bucket.list(NAMES.output(0, attempt))]
    return [name for name in found if not name.endswith("/manifest")]


names = st.sampled_from(
    [
        "a",
        "b",
        "ckpt",
        "ünï ✓",
        "with space",
        "line\nend",
        "100%?#[]",
        b"\xff\xfe".decode(errors="surrogateescape"),
        "n" * 255,
    ]
)
paths = st.lists(names, min_size=1, max_size=3).map(lambda parts: Path(*parts))
operations = st.one_of(
    st.tuples(st.just("write"), paths, st.binary(max_size=20)),
    st.tuples(st.just("delete"), paths, st.none()),
    st.tuples(st.just("rename"), paths, paths),
    st.tuples(st.just("link"), paths, paths),
    st.tuples(st.just("mkdir"), paths, st.none()),
    st.tuples(st.just("chmod"), paths, st.sampled_from([0o600, 0o755, 0o444])),
    st.tuples(st.just("sync"), st.none(), st.none()),
)


def carry_out(directory: Path, what: str, where: Path, with_: Any) -> None:
    """What a program may do; where it cannot be done (a file where a directory would have to be) nothing happens."""
    path = directory / where
    try:
        if what == "write":
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(with_)
        elif what == "delete":
            path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
        elif what == "rename":
            path.rename(directory / with_)
        elif what == "link":
            path.symlink_to(with_)
        elif what == "mkdir":
            path.mkdir(parents=True)
        elif path.is_file():
            path.chmod(with_)
    except OSError:
        return


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(operations, max_size=14))
def test_whatever_a_program_does_to_its_files_comes_back(
    bucket: Bucket, tmp_path_factory: pytest.TempPathFactory, script: list[tuple[str, Path, Any]]
) -> None:
    there = tmp_path_factory.mktemp("vm")
    for entry in list(bucket.list("")):
        bucket.delete(entry.name)
    assert claims.take(bucket, NAMES, 0, "vm")
    sending = sends(bucket, there)
    for what, where, with_ in script:
        if what == "sync":
            sending.sync()
        else:
            carry_out(there, what, where, with_)
    sending.sync()
    assert restored(bucket, tmp_path_factory.mktemp("laptop") / "here") == tree(there)
    in_use = {name for name, what in tree(there).items() if isinstance(what, tuple) and what[0] != "link"}
    assert len(objects(bucket)) == len(in_use)  # what is in no manifest any more does not cost for ever


def test_the_same_bytes_are_sent_once(bucket: Bucket, tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(b"x")
    sending = sends(bucket, tmp_path)
    sending.sync()
    first = {entry.name: entry.generation for entry in bucket.list("")}
    sending.sync()
    assert {entry.name: entry.generation for entry in bucket.list("")} == first


def test_an_empty_directory_is_a_result_too(bucket: Bucket, tmp_path: Path) -> None:
    (tmp_path / "vm").mkdir()
    sends(bucket, tmp_path / "vm").sync()
    assert restored(bucket, tmp_path / "laptop") == {}


def test_what_is_here_already_is_not_fetched_again(bucket: Bucket, tmp_path: Path) -> None:
    there, here = tmp_path / "vm", tmp_path / "laptop"
    there.mkdir()
    (there / "big").write_bytes(b"12345")
    sends(bucket, there).sync()
    manifest = read_manifest(bucket, NAMES, KEY, 0, 1)
    assert manifest
    here.mkdir()
    assert restore(bucket, manifest, here) == 5
    assert restore(bucket, manifest, here) == 0
    (here / "big").write_bytes(b"54321")
    os.utime(here / "big", ns=(1, 1))
    assert restore(bucket, manifest, here) == 5
    assert (here / "big").read_bytes() == b"12345"


def test_files_of_the_laptop_that_no_manifest_names_are_left(bucket: Bucket, tmp_path: Path) -> None:
    there, here = tmp_path / "vm", tmp_path / "laptop"
    there.mkdir()
    (there / "a").write_text("vm")
    sends(bucket, there).sync()
    here.mkdir()
    (here / "notes").write_text("mine")
    manifest = read_manifest(bucket, NAMES, KEY, 0, 1)
    assert manifest
    restore(bucket, manifest, here)
    assert sorted(path.name for path in here.iterdir()) == ["a", "notes"]


def test_the_next_attempt_goes_on_without_sending_anything_twice(bucket: Bucket, tmp_path: Path) -> None:
    first, second = tmp_path / "1", tmp_path / "2"
    first.mkdir()
    (first / "ckpt").write_bytes(b"weights")
    (first / "old").write_bytes(b"old")
    sends(bucket, first).sync()
    manifest = read_manifest(bucket, NAMES, KEY, 0, 1)
    assert manifest
    second.mkdir()
    restore(bucket, manifest, second)
    (second / "old").unlink()
    (second / "new").write_bytes(b"new")
    sends(bucket, second, 2, start=manifest).sync()
    assert len(objects(bucket, 2)) == 1
    assert restored(bucket, tmp_path / "laptop", attempt=2) == tree(second)
    assert restored(bucket, tmp_path / "before", attempt=1) == tree(first)


def test_an_attempt_that_changed_nothing_has_a_manifest_of_its_own(bucket: Bucket, tmp_path: Path) -> None:
    """Else the outputs of a late writer of the attempt before would count as its own."""
    first, second = tmp_path / "1", tmp_path / "2"
    first.mkdir()
    (first / "a").write_bytes(b"1")
    late = sends(bucket, first)
    late.sync()
    manifest = read_manifest(bucket, NAMES, KEY, 0, 1)
    assert manifest
    second.mkdir()
    restore(bucket, manifest, second)
    expected = tree(second)
    sends(bucket, second, 2, start=manifest).sync()
    (first / "a").write_bytes(b"late")
    late.sync()
    assert restored(bucket, tmp_path / "laptop", attempt=2) == expected


def test_a_late_writer_takes_nothing_from_the_attempt_that_took_over(bucket: Bucket, tmp_path: Path) -> None:
    first, second = tmp_path / "1", tmp_path / "2"
    first.mkdir()
    (first / "ckpt").write_bytes(b"weights 1")
    held = claims.take(bucket, NAMES, 0, "vm-1")
    assert held
    late = sends(bucket, first)
    late.sync()
    assert claims.release(bucket, NAMES, held)  # the laptop gave the VM up; the VM does not know
    manifest = read_manifest(bucket, NAMES, KEY, 0, 1)
    assert manifest
    (first / "ckpt").write_bytes(b"weights 2")
    late.sync()
    second.mkdir()
    restore(bucket, manifest, second)
    assert claims.take(bucket, NAMES, 0, "vm-2")
    expected = tree(second)
    sends(bucket, second, 2, start=manifest).sync()
    (first / "ckpt").unlink()
    late.sync()
    assert restored(bucket, tmp_path / "laptop", attempt=2) == expected


def test_a_file_that_changes_while_it_is_sent_is_sent_whole(bucket: Bucket, tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    path.write_bytes(b"1" * 1000)
    writes = iter([b"2" * 2000])

    class Busy(Bucket):
        def upload(self, name: str, path: Path, metadata: dict[str, str] | None = None) -> int:
            generation = super().upload(name, path, metadata)
            for content in writes:
                path.write_bytes(content)
            return generation

    sends(Busy(bucket._bucket), tmp_path).sync()
    assert restored(bucket, tmp_path / "laptop")["state.json"][0] == b"2" * 2000
    assert len(objects(bucket)) == 1


def test_a_file_that_vanishes_while_it_is_sent_is_left_out(bucket: Bucket, tmp_path: Path) -> None:
    there = tmp_path / "vm"
    there.mkdir()
    (there / "a").write_bytes(b"a")
    (there / "b").write_bytes(b"b")

    class Busy(Bucket):
        def upload(self, name: str, path: Path, metadata: dict[str, str] | None = None) -> int:
            if path.name == "a":
                path.unlink()
            return super().upload(name, path, metadata)

    sends(Busy(bucket._bucket), there).sync()
    assert list(restored(bucket, tmp_path / "laptop")) == ["b"]


def test_a_restore_during_a_sync_sees_the_directory_of_one_moment(bucket: Bucket, tmp_path: Path) -> None:
    """The program keeps two files equal; whoever looks finds them equal, old or new."""
    there = tmp_path / "vm"
    there.mkdir()
    held = claims.take(bucket, NAMES, 0, "vm")
    assert held
    sending = sends(bucket, there)
    versions = 12
    ended = threading.Event()

    def step(version: int) -> None:
        for name in ("weights", "optimizer"):
            (there / name).write_text(f"{version:04d}")
        (there / f"epoch-{version}").write_text("")
        (there / f"epoch-{version - 1}").unlink(missing_ok=True)
        sending.sync()

    def program() -> None:
        for version in range(1, versions):
            step(version)
        ended.set()

    step(0)
    thread = threading.Thread(target=program)
    thread.start()
    seen = set()
    number = 0
    try:
        while True:
            last = ended.is_set()
            number += 1
            here = tmp_path / f"laptop-{number}"
            assert restore_newest(bucket, NAMES, KEY, 0, 1, here) is not None
            found = tree(here)
            version = found["weights"][0]
            assert found["optimizer"][0] == version
            assert set(found) == {"weights", "optimizer", f"epoch-{int(version)}"}
            seen.add(version)
            if last:
                break
    finally:
        thread.join()
    assert f"{versions - 1:04d}".encode() in seen


def test_an_object_that_is_missing_for_good_is_an_error(bucket: Bucket, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a")
    sends(bucket, tmp_path).sync()
    for name in objects(bucket):
        bucket.delete(name)
    with pytest.raises(ObjectMissing):
        restore_newest(bucket, NAMES, KEY, 0, 1, tmp_path / "laptop")


def test_a_job_that_never_synced_has_no_manifest(bucket: Bucket, tmp_path: Path) -> None:
    assert read_manifest(bucket, NAMES, KEY, 0, 3) is None
    assert restore_newest(bucket, NAMES, KEY, 0, 3, tmp_path) is None


def test_a_manifest_that_somebody_changed_is_not_opened(bucket: Bucket, tmp_path: Path) -> None:
    sends(bucket, tmp_path).sync()
    name = NAMES.output(0, 1) + "manifest"
    bucket.write(name, bucket.read(name)[:-1] + b"]")
    with pytest.raises(SealBroken):
        read_manifest(bucket, NAMES, KEY, 0, 1)


def test_a_manifest_of_another_attempt_is_not_taken_for_this_ones(bucket: Bucket, tmp_path: Path) -> None:
    sends(bucket, tmp_path).sync()
    bucket.write(NAMES.output(0, 2) + "manifest", bucket.read(NAMES.output(0, 1) + "manifest"))
    with pytest.raises(SealBroken):
        read_manifest(bucket, NAMES, KEY, 0, 2)


def entry(**fields: Any) -> dict[str, Any]:
    return {"object": "payload", "size": 4, "mtime_ns": 1, "mode": 0o644, "link": None, **fields}


@pytest.mark.parametrize(
    "files, directories",
    [
        ({"../evil": entry()}, []),
        ({"a/../../evil": entry()}, []),
        ({"{outside}/evil": entry()}, []),
        ({}, ["../evil"]),
        ({}, ["{outside}/evil"]),
        ({"way": entry(link="{outside}"), "way/evil": entry()}, []),
        ({"way": entry(link="{outside}"), "way/more/evil": entry()}, []),
        ({"way": entry(link="{outside}")}, ["way/evil"]),
    ],
)
def test_a_manifest_that_leads_out_of_its_directory_is_refused(
    bucket: Bucket, tmp_path: Path, files: dict[str, Any], directories: list[str]
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    here = tmp_path / "outputs" / "0"
    here.mkdir(parents=True)
    bucket.write("payload", b"evil")
    header = json.loads(
        json.dumps({"files": {"fine": entry(), **files}, "directories": directories}).replace(
            "{outside}", str(outside)
        )
    )
    bucket.write(NAMES.output(0, 1) + "manifest", seal(KEY, f"{NAMES.sweep}/0/1/output", header))
    manifest = read_manifest(bucket, NAMES, KEY, 0, 1)
    assert manifest
    with pytest.raises(BucketError, match="nothing was written"):
        restore(bucket, manifest, here)
    assert tree(tmp_path) == {"outside": "directory", "outputs": "directory", "outputs/0": "directory"}


def test_a_link_that_is_here_already_is_no_way_out(bucket: Bucket, tmp_path: Path) -> None:
    there, here, outside = tmp_path / "vm", tmp_path / "laptop", tmp_path / "outside"
    (there / "way").mkdir(parents=True)
    (there / "way" / "evil").write_text("evil")
    sends(bucket, there).sync()
    here.mkdir()
    outside.mkdir()
    (here / "way").symlink_to(outside)
    manifest = read_manifest(bucket, NAMES, KEY, 0, 1)
    assert manifest
    with pytest.raises(CollectError, match="remove the link"):
        restore(bucket, manifest, here)
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize("in_the_way", [Path.mkdir, Path.touch])
def test_what_is_in_the_way_on_the_laptop_is_left_there_and_said(
    bucket: Bucket, tmp_path: Path, in_the_way: Callable[[Path], None]
) -> None:
    there, here = tmp_path / "vm", tmp_path / "laptop"
    (there / "sub").mkdir(parents=True)
    (there / "file").write_text("vm")
    (there / "sub" / "file").write_text("vm")
    sends(bucket, there).sync()
    here.mkdir()
    in_the_way(here / ("file" if in_the_way is Path.mkdir else "sub"))
    before = tree(here)
    manifest = read_manifest(bucket, NAMES, KEY, 0, 1)
    assert manifest
    with pytest.raises(CollectError, match="cannot be written"):
        restore(bucket, manifest, here)
    assert before.items() <= tree(here).items()


def test_a_full_disk_is_said_and_nothing_is_lost(bucket: Bucket, tmp_path: Path) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full here")
    manifest = mirror.Manifest({"a": mirror.MirroredFile("payload", 4, 1, 0o644)}, [])
    bucket.write("payload", b"1234")

    class Full(Bucket):
        def download(self, name: str, path: Path, generation: int | None = None) -> None:
            with full.open("wb", buffering=0) as file:
                file.write(b"1234")

    with pytest.raises(CollectError, match="No space left on device"):
        restore(Full(bucket._bucket), manifest, tmp_path)
    assert bucket.read("payload") == b"1234"


def test_what_no_manifest_names_any_more_does_not_cost_for_ever(bucket: Bucket, tmp_path: Path) -> None:
    there = tmp_path / "vm"
    there.mkdir()
    assert claims.take(bucket, NAMES, 0, "vm")
    sending = sends(bucket, there)
    for step in range(3):
        (there / "ckpt").write_bytes(b"weights" * (step + 1))
        (there / f"epoch-{step}").write_bytes(b"x")
        (there / f"epoch-{step - 1}").unlink(missing_ok=True)
        sending.sync()
    assert len(objects(bucket)) == 2
    assert restored(bucket, tmp_path / "laptop") == tree(there)


def test_a_link_that_became_an_empty_file_of_the_same_time_is_one(bucket: Bucket, tmp_path: Path) -> None:
    there = tmp_path / "vm"
    there.mkdir()
    (there / "a").symlink_to("nowhere")
    os.utime(there / "a", ns=(5, 5), follow_symlinks=False)
    sending = sends(bucket, there)
    sending.sync()
    (there / "a").unlink()
    (there / "a").touch()
    os.utime(there / "a", ns=(5, 5))
    sending.sync()
    assert restored(bucket, tmp_path / "laptop") == tree(there)


def test_a_file_that_may_be_run_now_may_be_run_here_too(bucket: Bucket, tmp_path: Path) -> None:
    there, here = tmp_path / "vm", tmp_path / "laptop"
    there.mkdir()
    (there / "run.sh").write_text("#!/bin/sh\n")
    sending = sends(bucket, there)
    sending.sync()
    restored(bucket, here)
    (there / "run.sh").chmod(0o755)
    sending.sync()
    assert len(objects(bucket)) == 1
    manifest = read_manifest(bucket, NAMES, KEY, 0, 1)
    assert manifest
    assert restore(bucket, manifest, here) == 0
    assert tree(here) == tree(there)


class Slow(Bucket):
    """Holds the uploads of files whose name has ``held`` in it."""

    def __init__(self, bucket: Bucket, held: str) -> None:
        super().__init__(bucket._bucket)
        self.held = held
        self.go = threading.Event()
        self.begun: list[str] = []
        self.sent: dict[str, float] = {}

    def upload(self, name: str, path: Path, metadata: dict[str, str] | None = None) -> int:
        self.begun.append(path.name)
        if self.held in path.name:
            assert self.go.wait(100)
        generation = super().upload(name, path, metadata)
        self.sent[path.name] = time.monotonic()
        return generation


def write(path: Path, content: str, at: int) -> None:
    """A file that was written at this second."""
    path.write_text(content)
    os.utime(path, (at, at))


def test_where_time_runs_out_the_bucket_has_the_directory_as_it_was_a_moment_ago(
    bucket: Bucket, tmp_path: Path
) -> None:
    there = tmp_path / "vm"
    there.mkdir()
    assert claims.take(bucket, NAMES, 0, "vm")
    slow = Slow(bucket, "weights-2")
    sending = sends(slow, there)
    write(there / "weights-1", "1", at=1)
    write(there / "pointer", "weights-1", at=2)
    assert sending.sync()
    (there / "weights-1").unlink()
    write(there / "metrics", "early", at=3)
    write(there / "weights-2", "2", at=4)
    write(there / "pointer", "weights-2", at=5)

    def left_s() -> float:
        """Until half a second after all have been sent but the one that takes long."""
        last = max(slow.sent.get(name, math.inf) for name in ("metrics", "pointer"))
        return 10.0 if time.monotonic() < last + 0.5 else 0.0

    slow.sent.clear()
    assert not sending.sync(left_s)
    now = restored(bucket, tmp_path / "cut")
    assert {name: what[0] for name, what in now.items()} == {
        "weights-1": b"1",
        "pointer": b"weights-1",
        "metrics": b"early",
    }
    slow.go.set()
    assert sending.sync()
    assert restored(bucket, tmp_path / "whole") == tree(there)
    assert len(objects(bucket)) == 3


def test_what_is_on_its_way_when_time_runs_out_is_not_sent_again(bucket: Bucket, tmp_path: Path) -> None:
    slow = Slow(bucket, "weights")
    sending = sends(slow, tmp_path)
    write(tmp_path / "weights", "1", at=1)
    left = iter([10.0, 10.0])
    assert not sending.sync(lambda: next(left, 0.0))
    write(tmp_path / "late", "late", at=2)
    slow.go.set()
    assert sending.sync()
    assert sorted(slow.begun) == ["late", "weights"]


def test_a_file_that_becomes_shorter_while_it_is_sent_comes_with_the_next_look(
    bucket: Bucket, tmp_path: Path
) -> None:
    path = tmp_path / "log"

    class Shortens(Bucket):
        def upload(self, name: str, path: Path, metadata: dict[str, str] | None = None) -> int:
            if path.stat().st_size > 1:
                path.write_bytes(b"x")
                raise ValueError(
                    "Size 1000 was specified but the file-like object only had 1 bytes remaining."
                )
            return super().upload(name, path, metadata)

    path.write_bytes(b"x" * 1000)
    sends(Shortens(bucket._bucket), tmp_path).sync()
    assert restored(bucket, tmp_path.parent / "here")["log"][0] == b"x"
