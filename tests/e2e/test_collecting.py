"""Bringing results home where something is in the way: a full disk here, or somebody's hand in the bucket."""

from __future__ import annotations

import os
import pickle
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from hydra_gce.bucket import Bucket, SweepNames
from hydra_gce.cloud.backend import Backend
from hydra_gce.collect import Collected, collect
from hydra_gce.errors import SealBroken
from hydra_gce.home import SweepRecord, sweep_records
from hydra_gce.jobs import JobResult, JobState, seal_result
from hydra_gce.launch.compose import Point
from tests.e2e.project import Ended, Project, hydra_gce

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")

LARGE = """
    (out / "model.ckpt").write_bytes(b"w" * 3_000_000)
    return 0.5
"""


class Bomb:
    """Goes off when it is unpickled."""

    def __init__(self, fuse: Path) -> None:
        self.fuse = fuse

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (self.fuse,)  # type: ignore[return-value]


@dataclass(frozen=True)
class Full:
    """A sweep whose outputs did not find room on the laptop."""

    ended: Ended
    bucket: Bucket
    record: SweepRecord
    point: Point

    @property
    def names(self) -> SweepNames:
        return SweepNames(self.record.sweep)

    def collect(self, to: Path) -> Collected:
        point = Point(0, [], self.point.config, to, to / "0")
        found = collect(self.bucket, self.names, bytes.fromhex(self.record.key), point)
        assert found is not None
        return found


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory, engine: Backend) -> Iterator[Full]:
    project = Project(tmp_path_factory.mktemp("full") / "project")
    project.program(LARGE)
    project.sweep_dir.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", project.sweep_dir], check=True)
    try:
        ended = project.launch()
        record = next(record for record in sweep_records() if record.sweep == ended.sweep)
        config = OmegaConf.create({"hydra": {"job": {"name": "app"}}})
        point = Point(0, [], config, project.sweep_dir, project.sweep_dir / "0")
        yield Full(ended, engine.bucket(None), record, point)
    finally:
        project.close()
        subprocess.run(["umount", project.sweep_dir], check=True)


@pytest.fixture
def restored(full: Full) -> Iterator[Full]:
    """Puts back into the bucket what a test changes there."""
    before = {entry.name: full.bucket.read(entry.name) for entry in full.bucket.list(full.names.job(0))}
    yield full
    for name, content in before.items():
        if full.bucket.read(name) != content:  # an output that is written anew is another, whatever is in it
            full.bucket.write(name, content)


def test_a_full_disk_is_one_clear_error_and_names_the_way_out(full: Full) -> None:
    assert full.ended.code != 0
    assert "Traceback" not in full.ended.said
    assert "No space left" in full.ended.err
    assert "Nothing is lost: the outputs of job 0 stay in gs://" in full.ended.err
    assert f"hydra-gce collect {full.ended.sweep}" in full.ended.err
    assert not list(full.point.output_dir.glob("*model*")), "half a file"


def test_the_outputs_can_be_brought_elsewhere(full: Full, tmp_path: Path) -> None:
    done = hydra_gce("collect", full.ended.sweep, "--to", str(tmp_path / "elsewhere"))

    assert done.code == 0, done.said
    assert (tmp_path / "elsewhere/0/model.ckpt").stat().st_size == 3_000_000
    assert (tmp_path / "elsewhere/0/.hydra/config.yaml").exists()


def test_the_result_is_there_once_there_is_room(full: Full, tmp_path: Path) -> None:
    found = full.collect(tmp_path)

    assert found.uncollected is None
    assert found.job_return.return_value == 0.5
    assert (tmp_path / "0/model.ckpt").exists()


def test_a_result_with_another_key_is_not_opened(restored: Full, tmp_path: Path) -> None:
    forged = JobResult(restored.record.sweep, 0, 1, JobState.COMPLETED, 0.0, 1.0)
    bomb = pickle.dumps(Bomb(tmp_path / "fuse"))
    restored.bucket.write(restored.names.result(0, 1), seal_result(b"another" * 5, forged, bomb))

    found = restored.collect(tmp_path)

    assert not (tmp_path / "fuse").exists()
    with pytest.raises(SealBroken, match="its signature is wrong"):
        _ = found.job_return.return_value


@pytest.mark.parametrize("damage", ["cut", "flipped", "emptied"])
def test_a_corrupt_result_is_not_opened(restored: Full, tmp_path: Path, damage: str) -> None:
    name = restored.names.result(0, 1)
    content = bytearray(restored.bucket.read(name))
    content[-1] ^= 1
    damaged = {"cut": bytes(content[:-20]), "flipped": bytes(content), "emptied": b""}[damage]
    restored.bucket.write(name, damaged)

    found = restored.collect(tmp_path)

    with pytest.raises(SealBroken, match="its signature is wrong"):
        _ = found.job_return.return_value


def test_a_changed_manifest_writes_nothing_and_loses_nothing(restored: Full, tmp_path: Path) -> None:
    name = f"{restored.names.output(0, 1)}manifest"
    manifest = restored.bucket.read(name)
    restored.bucket.write(name, manifest.replace(b"model.ckpt", b"../../pwnd"))

    found = restored.collect(tmp_path)
    refused = hydra_gce("collect", restored.ended.sweep, "--to", str(tmp_path / "elsewhere"))

    assert found.uncollected is not None
    assert found.job_return.return_value == 0.5
    assert refused.code != 0
    assert "its signature is wrong" in refused.err
    assert "Traceback" not in refused.err
    assert not list(tmp_path.rglob("*pwnd*"))


def test_an_output_changed_in_the_bucket_is_noticed(restored: Full, tmp_path: Path) -> None:
    [name] = [
        entry.name
        for entry in restored.bucket.list(restored.names.output(0, 1))
        if entry.name.endswith("/model.ckpt")
    ]
    assert restored.collect(tmp_path / "before").uncollected is None
    restored.bucket.write(name, b"x" * 3_000_000)

    found = restored.collect(tmp_path)

    assert "was written over" in str(found.uncollected)
    assert not (tmp_path / "0/model.ckpt").exists()
