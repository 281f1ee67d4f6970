"""A journal on a full disk: writers wait for room, lose nothing in silence, and are told where there will be none."""

from __future__ import annotations

import errno
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Metric

from hydra_gce.tracking.environment import variables
from hydra_gce.tracking.journal import FILE_NAME, Journal, NoRoom, verify
from tests.patience import wait_until
from tests.small_disk import fill, small_disk

RECORD = {"run": "r", "metrics": [["loss", 0.5, 0, 1]], "params": [], "tags": [["t", "x" * 20_000]]}


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", megabytes=8) as mounted:
        yield mounted


def test_a_writer_waits_until_there_is_room_and_nothing_is_missing(disk: Path) -> None:
    journal = Journal(disk / FILE_NAME)
    fill(disk / "checkpoint", leave=100_000)
    written: list[int] = []

    def write() -> None:
        for number in range(20):
            journal.append("batch", RECORD, time=1.0)
            written.append(number)

    writer = threading.Thread(target=write)
    writer.start()
    wait_until(lambda: 0 < len(written) < 20 and not _is_growing(written), "the writer waits")
    assert verify(journal.path) == len(written)  # no half of a line lies there meanwhile
    (disk / "checkpoint").unlink()
    writer.join(100)
    assert written == list(range(20))
    assert verify(journal.path) == 20


def _is_growing(written: list[int]) -> bool:
    before = len(written)
    threading.Event().wait(0.5)
    return len(written) > before


def test_where_no_room_comes_the_program_is_told_and_may_go_on_later(disk: Path) -> None:
    journal = Journal(disk / FILE_NAME, patience_s=0.3)
    fill(disk / "checkpoint", leave=100_000)
    with pytest.raises(NoRoom, match=r"no room.*hydra\.launcher\.vm\.disk_gb") as raised:
        for _ in range(20):
            journal.append("batch", RECORD, time=1.0)
    assert raised.value.errno == errno.ENOSPC
    written = verify(journal.path)
    assert written > 0
    (disk / "checkpoint").unlink()
    journal.append("batch", RECORD, time=1.0)
    assert verify(journal.path) == written + 1


def test_the_database_beside_it_is_not_begun_to_be_written_without_room(
    disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables(disk / "tracking", "calm-otter", 0, 1, "membrane").items():
        monkeypatch.setenv(name, value)
    client = MlflowClient(f"hydra-gce://{disk / 'tracking'}")
    experiment = client.create_experiment("membrane")
    fill(disk / "checkpoint", leave=200_000)
    begun, runs = threading.Event(), []

    def start() -> None:
        begun.set()
        run = client.create_run(experiment).info.run_id
        client.log_batch(run, metrics=[Metric("loss", 0.5, 0, step) for step in range(100)])
        runs.append(client.get_run(run))

    program = threading.Thread(target=start)
    program.start()
    assert begun.wait(100)
    threading.Event().wait(1.0)
    assert not runs and program.is_alive()
    (disk / "checkpoint").unlink()
    program.join(100)
    assert runs[0].data.metrics == {"loss": 0.5}
    verify(disk / "tracking" / FILE_NAME)
