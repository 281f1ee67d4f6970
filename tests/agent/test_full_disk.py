"""A VM whose disk gets full: the person is told while the job runs, and what was saved is safe."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hydra_gce.agent.courier import Tree
from hydra_gce.agent.room import Room, archives_in
from hydra_gce.bucket import REMOVED, Bucket, SweepNames
from hydra_gce.jobs import Failure, JobState, JobStatus
from hydra_gce.tracking.journal import Record, read
from tests.agent.lab import Lab
from tests.patience import wait_until
from tests.small_disk import fill, small_disk

NAMES = SweepNames("calm-otter")
MB = 1 << 20


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", megabytes=48) as mounted:
        yield mounted


def test_it_says_once_when_little_is_left_and_once_when_nothing_is(disk: Path) -> None:
    room = Room("vm-1", [disk])
    assert not room.look() and room.warning == ""
    fill(disk / "a", leave=2 * MB)
    assert room.look()
    low = room.warning
    assert low.startswith("the disk of VM vm-1 is nearly full: 2.1 MB of 50.3 MB are left.")
    assert "hydra.launcher.vm.disk_gb" in low
    fill(disk / "a", leave=MB)
    assert room.look() and room.warning == low  # the same sentence
    fill(disk / "a")
    assert room.look()
    assert "is full: 0.0 MB" in room.warning
    (disk / "a").unlink()
    fill(disk / "a", leave=3 * MB)
    assert room.look() and room.warning  # a little more is not well again
    (disk / "a").unlink()
    assert not room.look() and room.warning == ""


def test_what_the_bucket_has_makes_room_and_no_more_than_is_needed(bucket: Bucket, disk: Path) -> None:
    artifacts = disk / "artifacts"
    artifacts.mkdir()
    tree = Tree(bucket, NAMES.artifacts(0), artifacts)
    (disk / "code-0a.tar.gz").write_bytes(b"x" * MB)
    for number in range(3):
        (artifacts / str(number)).write_bytes(b"x" * (4 * MB))
    tree.sync()
    (artifacts / "new").write_bytes(b"not in the bucket")
    (artifacts / "2").write_bytes(b"changed since")
    room = Room("vm-1", [disk])
    room.ways += [archives_in(disk), tree.free]
    room.make()
    assert (disk / "code-0a.tar.gz").exists()  # there is enough
    fill(disk / "output", leave=MB)
    room.make()
    assert not (disk / "code-0a.tar.gz").exists()
    assert sorted(path.name for path in artifacts.iterdir()) == ["1", "2", "new"]
    tree.sync()
    there = {entry.name.rpartition("/")[2]: entry for entry in bucket.list(NAMES.artifacts(0))}
    assert sorted(there) == ["0", "1", "2", "new"]
    assert not any(REMOVED in entry.metadata for entry in there.values())  # the program has removed nothing
    assert there["0"].size == 4 * MB


def test_a_job_that_fills_its_disk_goes_on_recording_and_its_newest_whole_checkpoint_is_safe(
    bucket: Bucket, disk: Path
) -> None:
    def train(config: Any) -> None:
        import os
        import time
        from pathlib import Path

        import mlflow
        from hydra.core.hydra_config import HydraConfig

        out = Path(HydraConfig.get().runtime.output_dir)

        def save(name: str, size: int) -> None:
            part = out / f".{name}.part"
            try:
                with part.open("wb") as file:
                    for _ in range(size >> 20):
                        file.write(os.urandom(1 << 20))
                part.replace(out / name)
            except OSError:
                part.unlink()
                raise

        with mlflow.start_run():
            Path("predictions.bin").write_bytes(os.urandom(8 << 20))
            mlflow.log_artifact("predictions.bin")
            Path("predictions.bin").unlink()
            save("ckpt-1", 4 << 20)
            with Path("cache.bin").open("wb", buffering=0) as cache:
                try:
                    while True:
                        cache.write(b"x" * 65536)
                except OSError:
                    pass
            logged = time.monotonic()
            for step in range(300):
                mlflow.set_tag(f"note-{step}", "x" * 4000)
                mlflow.log_metric("loss", 1 / (1 + step), step)
            Path(out, "waited").write_text(str(time.monotonic() - logged))
            save("ckpt-2", 40 << 20)

    lab = Lab(bucket, disk)
    lab.send(train, tracking="relay", heartbeat_s=0.5)
    agent = lab.agent()
    worker = threading.Thread(target=agent.work)
    worker.start()
    running: list[JobStatus] = []

    def is_warned() -> bool:
        running.append(lab.status())
        return bool(running[-1].warning)

    wait_until(is_warned, "the person is told")
    assert running[-1].state is JobState.RUNNING
    assert running[-1].warning.startswith("the disk of VM hg-calm-otter-0 is ")
    worker.join(200)
    assert not worker.is_alive()

    status = lab.status()
    assert status.state is JobState.FAILED
    parts = [bucket.read(NAMES.journal(0, 1, part)) for part in range(status.journal_parts)]
    records = [record for record in read(b"".join(parts), "") if isinstance(record, Record)]
    assert [record.seq for record in records] == list(range(1, len(records) + 1))
    steps = [row[3] for record in records if record.op == "batch" for row in record.args["metrics"]]
    assert steps == list(range(300))
    (artifact,) = bucket.list(NAMES.artifacts(0))
    assert artifact.size == 8 * MB and REMOVED not in artifact.metadata

    (disk / "project" / "cache.bin").unlink(missing_ok=True)
    collected = lab.collect()
    assert collected.result.failure is Failure.DISK_FULL
    assert (disk / "home" / "0" / "ckpt-1").stat().st_size == 4 * MB
    assert not (disk / "home" / "0" / "ckpt-2").exists()
