"""What holds for all verbs of the hydra-gce command, and its shorter ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from hydra_gce.bucket import Bucket, SweepNames
from hydra_gce.cli import exits, main
from hydra_gce.home import SweepRecord
from hydra_gce.jobs import JobState, JobStatus
from tests.cli.conftest import Command


def test_logs_are_of_the_last_sweep_unless_another_is_named(
    command: Command, record: SweepRecord, store: Bucket
) -> None:
    names = SweepNames(record.sweep)
    store.write(names.status(0), b"", metadata=JobStatus(0, JobState.COMPLETED, 1).to_metadata())
    store.write(names.log(0, 1, 0), b"it is training\n")
    for words in (["logs"], ["logs", "last"], ["logs", record.sweep, "-f"], ["logs", "--job", "0"]):
        code, out, _ = command(*words)
        assert (code, out) == (0, "it is training\n")


def test_a_sweep_that_does_not_exist_is_answered_with_the_nearest(
    command: Command, record: SweepRecord
) -> None:
    for verb in ("logs", "collect"):
        code, _, err = command(verb, record.sweep[:-1])
        assert code == exits.UNKNOWN
        assert f"Did you mean {record.sweep}" in err
        assert err.count("\n") == 1


def test_without_any_sweep_last_is_a_clear_error(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HYDRA_GCE_HOME", str(tmp_path))
    code, _, err = command("logs")
    assert code == exits.UNKNOWN
    assert "there is no sweep" in err


def test_wrong_usage_has_an_exit_code_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["logs", "--job", "three"])
    assert ended.value.code == 2
    assert "--job" in capsys.readouterr().err
