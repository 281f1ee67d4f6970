"""A sweep's name is its own, its key stays here, and a launch that did not come to its end is taken up again."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from google.auth.credentials import AnonymousCredentials

from hydra_gce import identity
from hydra_gce.bucket import Bucket
from hydra_gce.cloud.backend import Backend
from hydra_gce.home import sweep_records
from hydra_gce.identity import left_in, note_end, note_watcher, register, taken_up
from hydra_gce.keys import derived
from hydra_gce.settings import Settings

BACKEND = Backend("cloud", "my-project", "http://127.0.0.1:9", None, AnonymousCredentials(), None)


@pytest.fixture(autouse=True)
def _home_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYDRA_GCE_HOME", str(tmp_path / "home"))


@pytest.fixture
def sweep_dir(tmp_path: Path) -> Path:
    return tmp_path / "multirun"


def test_what_was_asked_stands_in_the_bucket_and_the_key_does_not(bucket: Bucket, sweep_dir: Path) -> None:
    made = register(BACKEND, bucket, Settings(max_vms=3), sweep_dir)
    description = bucket.read(made.names.description)
    asked = json.loads(description)
    assert (asked["project"], asked["settings"]["max_vms"], asked["sweep_dir"]) == (
        "my-project",
        3,
        str(sweep_dir),
    )
    assert len(made.key) == 32
    assert made.key.hex().encode() not in description
    (record,) = sweep_records()
    assert (record.sweep, record.key, record.pid, record.ended) == (
        made.names.sweep,
        made.key.hex(),
        os.getpid(),
        None,
    )


def test_a_name_that_a_sweep_has_is_not_given_again(
    bucket: Bucket, sweep_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: Iterator[str] = iter(["calm-otter", "calm-otter", "calm-otter", "brave-fox"])
    monkeypatch.setattr(identity, "sweep_name", lambda rng: next(drawn))
    first = register(BACKEND, bucket, Settings(), sweep_dir)
    second = register(BACKEND, bucket, Settings(), sweep_dir)
    assert (first.names.sweep, second.names.sweep) == ("calm-otter", "brave-fox")
    assert first.key != second.key


def test_a_sweep_is_found_where_it_was_begun_and_followed_by_another_process(
    bucket: Bucket, sweep_dir: Path
) -> None:
    begun = register(BACKEND, bucket, Settings(), sweep_dir)
    assert not begun.taken_up
    (record,) = sweep_records()
    replace(record, pid=1, ended=2000.0).save()  # it was another process
    left = left_in(sweep_dir, BACKEND, bucket)
    assert left is not None and taken_up(left) == replace(begun, taken_up=True)
    assert sweep_records()[0].pid == 1  # so far nobody follows it
    note_watcher(begun.names.sweep)
    (record,) = sweep_records()
    assert (record.pid, record.ended) == (os.getpid(), None) and record.launcher_alive


def test_the_newest_sweep_of_a_directory_counts(bucket: Bucket, sweep_dir: Path) -> None:
    made = []
    for began in (1000.0, 2000.0):
        made.append(register(BACKEND, bucket, Settings(), sweep_dir).names.sweep)
        (record,) = [one for one in sweep_records() if one.sweep == made[-1]]
        replace(record, started=began).save()
    left = left_in(sweep_dir, BACKEND, bucket)
    assert left is not None and left.sweep == made[1]


def test_the_keys_of_sweeps_follow_from_the_projects(bucket: Bucket, sweep_dir: Path) -> None:
    made = register(BACKEND, bucket, Settings(), sweep_dir, project_key=b"p" * 32)
    assert made.key == derived(b"p" * 32, made.names.sweep) != derived(b"q" * 32, made.names.sweep)
    assert len(made.key) == 32


def test_what_is_elsewhere_is_another_sweep(bucket: Bucket, sweep_dir: Path) -> None:
    register(BACKEND, bucket, Settings(), sweep_dir)
    (record,) = sweep_records()
    assert left_in(sweep_dir / "other", BACKEND, bucket) is None
    assert left_in(sweep_dir, replace(BACKEND, kind="local"), bucket) is None
    assert left_in(sweep_dir, replace(BACKEND, project="other-project"), bucket) is None
    replace(record, bucket="other-bucket").save()
    assert left_in(sweep_dir, BACKEND, bucket) is None


def test_the_end_is_noted_of_this_sweep_alone(bucket: Bucket, tmp_path: Path) -> None:
    first = register(BACKEND, bucket, Settings(), tmp_path / "a")
    register(BACKEND, bucket, Settings(), tmp_path / "b")
    note_end(first, 2000.0)
    assert {one.sweep: one.ended for one in sweep_records()}[first.names.sweep] == 2000.0
    assert sum(one.ended is None for one in sweep_records()) == 1
