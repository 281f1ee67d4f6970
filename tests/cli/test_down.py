"""hydra-gce down: nothing is left, and who would be hurt by that is asked first."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from hydra_gce.cli import exits
from hydra_gce.cloud.backend import Backend
from hydra_gce.compute import HereCompute
from hydra_gce.home import SweepRecord
from tests.cli.conftest import NOBODY, PLACE, Command
from tests.patience import wait_until


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def in_a_terminal(monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
    asked = Terminal(answer + "\n")
    monkeypatch.setattr(sys, "stdin", asked)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)


def running(backend: Backend, sweep: str) -> list[str]:
    return [one.name for one in HereCompute(backend).instances(sweep)]


def test_a_sweeps_vms_are_listed_with_their_price_and_deleted(
    command: Command, record: SweepRecord, vm: str, embedded: Backend
) -> None:
    code, out, _ = command("down", record.sweep)
    lines = out.splitlines()
    assert code == 0
    assert lines[0] == f"VM {vm} in us-central1-a, RUNNING, e2-micro, $0.020/h"
    assert lines[1].startswith(f"1 VM in project {embedded.project}, $0.020 an hour in all")
    assert lines[2].endswith("  deleting 1 VM")
    assert lines[-1] == "nothing is left"
    assert running(embedded, record.sweep) == []


def test_a_sweep_that_this_machine_has_forgotten_is_deleted_all_the_same(
    command: Command, record: SweepRecord, vm: str, embedded: Backend, hydra_gce_home: os.PathLike[str]
) -> None:
    os.unlink(os.path.join(hydra_gce_home, "sweeps", f"{record.sweep}.json"))
    code, out, _ = command("down", record.sweep, "--backend", "local")
    assert (code, out.splitlines()[-1]) == (0, "nothing is left")
    assert f"{record.sweep} was begun on another machine: where its launcher is still at work" in out
    assert running(embedded, record.sweep) == []


def test_deletion_protection_is_taken_off_and_said(
    command: Command, record: SweepRecord, vm: str, embedded: Backend
) -> None:
    from google.cloud import compute_v1

    request = compute_v1.SetDeletionProtectionInstanceRequest(
        project=embedded.project, zone=PLACE.zone, resource=vm, deletion_protection=True
    )
    embedded.instances.set_deletion_protection_unary(request=request)
    code, out, _ = command("down", record.sweep)
    assert (code, out.splitlines()[-1]) == (0, "nothing is left")
    assert "its deletion protection is taken off" in out


@pytest.mark.parametrize("words", [["SWEEP"], ["--all"]])
def test_under_a_launcher_that_is_alive_nothing_is_deleted(
    command: Command, record: SweepRecord, vm: str, embedded: Backend, words: list[str]
) -> None:
    replace(record, pid=os.getpid()).save()
    named = [record.sweep if word == "SWEEP" else word for word in words]
    code, out, err = command("down", *named, "--backend", "local", "--yes")
    assert (code, out) == (1, "")
    assert f"the launcher of {record.sweep} is at work (process {os.getpid()}, /home/me/multirun)" in err
    assert "Press Ctrl-C there" in err
    assert running(embedded, record.sweep) == [vm]


def test_force_deletes_under_a_launcher_and_says_what_may_follow(
    command: Command, record: SweepRecord, vm: str, embedded: Backend
) -> None:
    replace(record, pid=os.getpid()).save()
    code, _, err = command("down", record.sweep, "--force")
    assert code == 0
    assert "it may start other VMs" in err
    assert running(embedded, record.sweep) == []


def test_a_person_at_a_terminal_is_asked(
    command: Command, record: SweepRecord, vm: str, embedded: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_a_terminal(monkeypatch, "n")
    code, out, _ = command("down", record.sweep)
    assert (code, out.splitlines()[-1]) == (1, "Delete all of this? [y/N] nothing was deleted")
    assert running(embedded, record.sweep) == [vm]
    in_a_terminal(monkeypatch, "y")
    code, out, _ = command("down", record.sweep)
    assert (code, out.splitlines()[-1]) == (0, "nothing is left")


def test_yes_asks_no_question(
    command: Command, record: SweepRecord, vm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_a_terminal(monkeypatch, "n")
    code, out, _ = command("down", record.sweep, "--yes")
    assert code == 0
    assert "[y/N]" not in out


def test_a_slip_in_the_name_is_not_told_that_nothing_is_left(
    command: Command, record: SweepRecord, vm: str
) -> None:
    code, out, err = command("down", record.sweep[:-1], "--backend", "local")
    assert (code, out) == (exits.UNKNOWN, "")
    assert f"Did you mean {record.sweep}" in err


def test_a_sweep_that_has_nothing_any_more_is_done(command: Command, record: SweepRecord) -> None:
    assert command("down", record.sweep) == (0, "nothing is left\n", "")


def test_a_down_that_was_killed_is_taken_up_by_the_next(
    command: Command, record: SweepRecord, vm: str, embedded: Backend
) -> None:
    assert record.pid == NOBODY
    words = [sys.executable, "-m", "hydra_gce.cli", "down", record.sweep]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as down:
        assert down.stdout is not None
        down.stdout.readline()
        down.send_signal(signal.SIGKILL)
    code, out, _ = command("down", record.sweep)
    assert (code, out.splitlines()[-1]) == (0, "nothing is left")
    wait_until(lambda: not running(embedded, record.sweep), "no VM is left")


@pytest.mark.parametrize("words", [["down"], ["down", "calm-otter", "--all"]])
def test_down_wants_to_know_exactly_what(command: Command, words: list[str]) -> None:
    code, _, err = command(*words)
    assert code == 1
    assert "name one sweep" in err


def test_a_launcher_that_was_killed_does_not_stand_in_the_way(
    command: Command, record: SweepRecord, vm: str
) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as launcher:
        replace(record, pid=launcher.pid, started=time.time()).save()
        assert command("down", record.sweep)[0] == 1
        launcher.kill()
        launcher.wait()
    assert command("down", record.sweep)[0] == 0
