"""hydra-gce logs as a person and a script use it: prefixes, JSON, a reader that goes away, a code at the end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from hydra_gce.bucket import Bucket
from hydra_gce.cli import exits
from hydra_gce.cli.logs import seconds
from hydra_gce.coming_back.going import Going
from hydra_gce.found import FoundSweep
from hydra_gce.home import SweepRecord
from hydra_gce.jobs import JobState
from hydra_gce.lease import SILENCE_S
from tests.cli.conftest import NOBODY, Command
from tests.cli.stored import Stored
from tests.patience import wait_until


@contextmanager
def following(*words: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "hydra_gce.cli", "logs", "-f", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_lines_of_several_jobs_say_whose_they_are(command: Command, stored: Stored) -> None:
    for num in (0, 1, 10):
        stored.prints(num, b"a\nb\n", attempt=2 if num == 10 else 1)
        stored.status(num, JobState.COMPLETED, attempt=2 if num == 10 else 1)
    every = ["0 | a", "0 | b", "1 | a", "1 | b", "10.2 | a", "10.2 | b"]
    assert command("logs", stored.sweep)[1].splitlines() == every
    assert command("logs", stored.sweep, "--job", "1")[1].splitlines() == ["a", "b"]
    assert command("logs", stored.sweep, "--job", "1", "0")[1].splitlines() == every[:4]
    assert command("logs", stored.sweep, "--job", "1", "--job", "0")[1].splitlines() == every[:4]


def test_programs_get_an_object_for_each_line(command: Command, stored: Stored) -> None:
    stored.prints(3, "schön\t\x1b[1m\n".encode())
    stored.status(3, JobState.COMPLETED)
    (line,) = command("logs", stored.sweep, "--json")[1].splitlines()
    assert json.loads(line) == {"job": 3, "attempt": 1, "line": "schön\t\x1b[1m"}


def test_an_attempt_that_never_was_is_a_clear_error(command: Command, stored: Stored) -> None:
    stored.status(0, JobState.COMPLETED, attempt=2)
    code, _, err = command("logs", stored.sweep, "--attempt", "5")
    assert code == exits.UNKNOWN
    assert f"sweep {stored.sweep} has no attempt 5; the newest is 2" in err


@pytest.mark.parametrize(("state", "code"), [(JobState.COMPLETED, 0), (JobState.FAILED, exits.JOB_FAILED)])
def test_who_follows_to_the_end_hears_whether_a_job_failed(
    command: Command, stored: Stored, state: JobState, code: int
) -> None:
    stored.status(0, state)
    assert command("logs", "-f", stored.sweep)[0] == code
    assert command("logs", stored.sweep)[0] == 0


def test_a_line_is_shown_as_soon_as_it_is_there(stored: Stored) -> None:
    stored.status(0)
    with following(stored.sweep) as process:
        assert process.stdout is not None
        for number in range(3):
            stored.bucket.write(stored.names.log(0, 1, number), f"line {number}\n".encode())
            assert process.stdout.readline() == f"line {number}\n"
        stored.status(0, JobState.COMPLETED)
        assert process.wait(60) == 0


def test_a_new_attempt_is_told_beside_the_lines(stored: Stored) -> None:
    stored.prints(0, b"one\n")
    stored.status(0)
    with following(stored.sweep) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline() == "one\n"
        stored.prints(0, b"two\n", attempt=2)
        stored.status(0, JobState.COMPLETED, attempt=2, instance="hg-x-0-a2", zone="us-east1-c")
        assert process.stdout.readline() == "two\n"
        assert process.wait(60) == 0
        assert process.stderr.read() == "hydra-gce: job 0: attempt 2 begins on hg-x-0-a2 in us-east1-c\n"


def test_it_ends_when_its_reader_has_gone_though_nothing_is_printed(stored: Stored) -> None:
    stored.status(0)
    stored.prints(0, b"the only line\n")
    with following(stored.sweep) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(60) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_a_bucket_that_is_away_is_waited_for_and_told_once(
    command: Command, stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    from google.api_core.exceptions import ServiceUnavailable

    from hydra_gce.cli import logs as verb

    stored.prints(0, b"one\n", b"two\n")
    stored.status(0, JobState.COMPLETED)
    failures = iter([True, True, True, False])
    monkeypatch.setattr(verb, "reader_has_gone", lambda seconds: False)
    ask = Bucket.read

    def away(self: Bucket, name: str, start: int = 0) -> bytes:
        if "/log/" in name and next(failures, False):
            raise ServiceUnavailable("away")
        return ask(self, name, start)

    monkeypatch.setattr(Bucket, "read", away)
    code, out, err = command("logs", "-f", stored.sweep)
    assert (code, out) == (0, "one\ntwo\n")
    assert err.count("cannot be reached") == 1


def test_who_logs_in_again_goes_on(command: Command, stored: Stored, monkeypatch: pytest.MonkeyPatch) -> None:
    from google.auth.exceptions import RefreshError

    from hydra_gce.cli import logs as verb

    stored.prints(0, b"one\n")
    stored.status(0, JobState.COMPLETED)
    monkeypatch.setattr(verb, "reader_has_gone", lambda seconds: False)
    with_expired: set[int] = set()
    ask = Bucket.list

    def expired(self: Bucket, prefix: str) -> Any:
        with_expired.add(id(self))
        if len(with_expired) < 2:  # the first bucket's credentials never come back
            raise RefreshError("Reauthentication is needed")
        return ask(self, prefix)

    monkeypatch.setattr(Bucket, "list", expired)
    code, out, err = command("logs", "-f", stored.sweep)
    assert (code, out) == (0, "one\n")
    assert "Run: gcloud auth application-default login. This goes on by itself" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "wanted"), [("90", 90), ("90s", 90), ("10m", 600), ("1.5h", 5400), ("2d", 172800)]
)
def test_times_as_people_write_them(text: str, wanted: float) -> None:
    assert seconds(text) == wanted


def test_what_is_no_time_is_wrong_usage(command: Command) -> None:
    with pytest.raises(SystemExit) as ended:
        command("logs", "--since", "yesterday")
    assert ended.value.code == exits.USAGE


def found_of(stored: Stored, record: SweepRecord | None) -> FoundSweep:
    return FoundSweep(stored.sweep, None, stored.bucket, record)  # type: ignore[arg-type]


def test_between_two_batches_a_sweep_goes_on_while_its_launcher_is_alive(
    stored: Stored, record: SweepRecord
) -> None:
    import time

    alive = replace(record, pid=os.getpid())
    alive.save()
    assert Going(found_of(stored, alive))()
    replace(alive, ended=time.time()).save()
    assert Going(found_of(stored, alive))()
    replace(alive, ended=time.time() - 1000).save()  # a notebook that is open still
    assert not Going(found_of(stored, alive))()
    replace(alive, pid=NOBODY).save()
    assert not Going(found_of(stored, alive))()


def test_a_sweep_of_elsewhere_goes_on_while_somebody_holds_its_lease(stored: Stored) -> None:
    now = 0.0
    going = Going(found_of(stored, None), clock=lambda: now)
    assert not going()
    stored.bucket.write(stored.names.watcher, b"{}")
    assert going()
    now = SILENCE_S + 1
    assert not going()  # who holds it has not renewed it
    stored.bucket.write(stored.names.watcher, b"{}")
    assert going()
    stored.bucket.write(stored.names.watcher, b"")
    assert not going()


def test_the_end_of_a_pipe_is_noticed_at_once() -> None:
    """Not only when the next line is printed."""
    program = (
        "import sys; from hydra_gce.cli.logs import reader_has_gone as gone; sys.stderr.write(str(gone(60)))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    wait_until(lambda: process.poll() is not None, "it has noticed", 50)
    assert process.stderr.read() == "True"
    process.stderr.close()
