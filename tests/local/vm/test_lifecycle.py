"""A VM lives by its own hypervisor, ends when and how it is told to, and leaves no process behind."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from hydra_gce.local.vm import ExitReason, Isolation, Machine, MachineError

DAEMON = """
(setsid sh -c 'trap "" TERM HUP; while :; do sleep 30; done' > /dev/null 2>&1 &)
setsid sh -c 'exec sleep 1000' < /dev/null > /dev/null 2>&1 &
echo running
"""


def processes_of(machine: Machine) -> list[int]:
    """The hypervisor, the guest's processes (by their root or working directory) and those that bear its mark."""
    directory = os.fsencode(machine.directory)
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            words = (entry / "environ").read_bytes() + (entry / "cmdline").read_bytes()
            mounts = (entry / "mountinfo").read_bytes()
        except OSError:
            continue
        if directory in words or directory + b"/disk / " in mounts:
            found.append(int(entry.name))
    return found


def hypervisor_of(machine: Machine) -> int:
    state: dict[str, Any] = json.loads((machine.directory / "state.json").read_text())
    return int(state["hypervisor"])


def gone(guests: Any, machine: Machine) -> None:
    guests.wait_until(lambda: processes_of(machine) == [], f"the end of {processes_of(machine)}")


def test_power_on_and_off(guests: Any, isolation: Isolation) -> None:
    machine = guests.create(DAEMON)
    assert not machine.running()
    assert machine.exit() is None
    machine.power_on()
    assert machine.running()
    assert machine.exit() is None
    guests.says(machine, "startup-script: running")
    assert len(processes_of(machine)) >= 3
    before = time.time()
    machine.power_off()
    assert not machine.running()
    assert processes_of(machine) == []
    end = machine.exit()
    assert end is not None
    assert end.reason is ExitReason.POWER_OFF
    assert before - 1 <= end.at <= time.time() + 1


def test_powering_on_what_is_on_changes_nothing(guests: Any, isolation: Isolation) -> None:
    machine = guests.boot("echo one boot; sleep 1000")
    first = hypervisor_of(machine)
    machine.power_on()
    assert hypervisor_of(machine) == first


def test_delete_leaves_no_process_and_no_file(guests: Any, isolation: Isolation) -> None:
    machine = guests.boot(DAEMON)
    guests.says(machine, "startup-script: running")
    machine.delete()
    assert processes_of(machine) == []
    assert not machine.directory.exists()
    machine.delete()


def test_a_killed_hypervisor_takes_the_guest_with_it(guests: Any, isolation: Isolation) -> None:
    machine = guests.boot(DAEMON)
    guests.says(machine, "startup-script: running")
    os.kill(hypervisor_of(machine), signal.SIGKILL)
    guests.wait_until(lambda: not machine.running())
    gone(guests, machine)
    end = machine.exit()
    assert end is not None
    assert end.reason is ExitReason.CRASHED
    machine.power_on()
    assert machine.running()


def test_the_run_duration_ends_a_vm_by_its_own_hypervisor(guests: Any, isolation: Isolation) -> None:
    machine = guests.boot(DAEMON, max_run_s=0.5, shutdown_grace_s=0.2)
    guests.wait_until(lambda: not machine.running())
    assert processes_of(machine) == []
    end = machine.exit()
    assert end is not None
    assert end.reason is ExitReason.MAX_RUN_DURATION


def test_a_reset_does_not_prolong_the_run_duration(guests: Any, isolation: Isolation) -> None:
    machine = guests.boot("sleep 1000", max_run_s=3.0, shutdown_grace_s=0.2)
    started = time.monotonic()
    guests.wait_until(lambda: time.monotonic() - started > 1.5)
    machine.reset()
    guests.wait_until(lambda: not machine.running())
    assert time.monotonic() - started < 4.4


def test_shut_down_gives_processes_time_to_save(guests: Any, isolation: Isolation) -> None:
    script = "trap 'echo saving; echo saved; exit 0' TERM; echo ready; while :; do sleep 0.05; done"
    machine = guests.boot(script, attributes={"shutdown-script": "echo closing"})
    guests.says(machine, "startup-script: ready")
    machine.shut_down(grace_s=30)
    console = machine.serial_output().decode()
    assert "startup-script: saved" in console
    assert "shutdown-script: closing" in console
    end = machine.exit()
    assert end is not None
    assert end.reason is ExitReason.SHUT_DOWN
    assert processes_of(machine) == []


def test_after_the_grace_everything_is_killed(guests: Any, isolation: Isolation) -> None:
    machine = guests.boot("trap '' TERM; echo deaf; while :; do sleep 0.05; done")
    guests.says(machine, "startup-script: deaf")
    started = time.monotonic()
    machine.shut_down(grace_s=0.5)
    assert time.monotonic() - started < 10
    assert processes_of(machine) == []
    end = machine.exit()
    assert end is not None
    assert end.reason is ExitReason.SHUT_DOWN


@pytest.mark.parametrize("command", ["poweroff", "shutdown -h now", "halt"])
def test_the_guest_powers_itself_off(guests: Any, isolation: Isolation, command: str) -> None:
    machine = guests.boot(command)
    guests.wait_until(lambda: not machine.running())
    end = machine.exit()
    assert end is not None
    assert end.reason is ExitReason.GUEST_SHUTDOWN
    assert processes_of(machine) == []


@pytest.mark.parametrize("command", ["reboot", "shutdown -r now"])
def test_the_guest_reboots_itself_on_the_same_disk(guests: Any, isolation: Isolation, command: str) -> None:
    script = (
        f"cd; [ -e was-here ] && echo second boot && exit; touch was-here; echo first; {command}; sleep 1000"
    )
    machine = guests.boot(script)
    guests.says(machine, "startup-script: second boot")
    assert machine.running()


def test_reset_boots_the_same_disk_with_the_metadata_of_now(guests: Any, isolation: Isolation) -> None:
    machine = guests.boot("cd; echo kept > file; echo written; sleep 1000")
    guests.says(machine, "startup-script: written")
    tree = machine.spec().metadata
    tree["instance"]["attributes"]["startup-script"] = "cd; echo again $(cat file)"
    machine.set_metadata(tree)
    machine.reset()
    guests.says(machine, "startup-script: again kept")
    machine.power_off()
    with pytest.raises(MachineError, match="is off and cannot be reset"):
        machine.reset()


def test_a_vm_that_is_off_can_be_given_another_size_and_run_time(guests: Any, isolation: Isolation) -> None:
    machine = guests.boot("cd; touch kept; echo done; sleep 1000")
    guests.says(machine, "startup-script: done")
    machine.power_off()
    machine.change(dataclasses.replace(machine.spec(), max_run_s=0.3, shutdown_grace_s=0.1))
    machine.power_on()
    guests.wait_until(lambda: not machine.running())
    end = machine.exit()
    assert end is not None
    assert end.reason is ExitReason.MAX_RUN_DURATION
    assert (machine.directory / "disk/root/kept").exists()


def test_a_vm_survives_its_creator_and_is_found_by_another_process(guests: Any, isolation: Isolation) -> None:
    machine = guests.create("echo up; sleep 1000")
    program = (
        "import os, sys; from pathlib import Path; from hydra_gce.local.vm import Machine;"
        "Machine(Path(sys.argv[1])).power_on(); os.kill(os.getpid(), 9)"
    )
    died = subprocess.run([sys.executable, "-c", program, machine.directory], timeout=60)
    assert died.returncode == -signal.SIGKILL
    assert machine.running()
    guests.says(machine, "startup-script: up")
    found = Machine(machine.directory)
    assert found.running()
    found.power_off()
    assert not machine.running()


def test_asking_often_whether_it_runs_never_keeps_it_from_starting(guests: Any) -> None:
    machine = guests.create("")
    asker = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys; from pathlib import Path; from hydra_gce.local.vm import Machine;"
            "m = Machine(Path(sys.argv[1]))\nwhile True: m.running()",
            machine.directory,
        ]
    )
    try:
        for _ in range(3):
            machine.power_on()
            assert machine.running()
            machine.power_off()
            assert not machine.running()
    finally:
        asker.kill()
        asker.wait()


def test_a_guest_whose_first_process_is_killed_has_crashed(guests: Any, isolation: Isolation) -> None:
    machine = guests.boot("echo up; sleep 1000")
    guests.says(machine, "startup-script: up")
    os.kill(json.loads((machine.directory / "state.json").read_text())["first"], signal.SIGKILL)
    guests.wait_until(lambda: not machine.running())
    end = machine.exit()
    assert end is not None
    assert end.reason is ExitReason.CRASHED
    assert processes_of(machine) == []


def test_a_vm_whose_directory_is_removed_ends_by_itself(guests: Any, isolation: Isolation) -> None:
    machine = guests.boot(DAEMON)
    guests.says(machine, "startup-script: running")
    hypervisor = hypervisor_of(machine)
    shutil.rmtree(machine.directory, ignore_errors=True)
    guests.wait_until(lambda: processes_of(machine) == [] and not Path(f"/proc/{hypervisor}").exists())


def test_nothing_is_left_where_hypervisor_and_first_process_die_at_once(
    guests: Any, isolation: Isolation
) -> None:
    machine = guests.boot(DAEMON)
    guests.says(machine, "startup-script: running")
    first = json.loads((machine.directory / "state.json").read_text())["first"]
    hypervisor = hypervisor_of(machine)
    for pid in (hypervisor, first):
        os.kill(pid, signal.SIGSTOP)
    for pid in (first, hypervisor):
        os.kill(pid, signal.SIGKILL)
    guests.wait_until(lambda: not machine.running())
    groups = json.loads((machine.directory / "state.json").read_text())["groups"]
    machine.delete()
    gone(guests, machine)
    assert not any(Path(group).exists() for group in groups)


def test_the_startup_script_speaks_soon_after_power_on(guests: Any, isolation: Isolation) -> None:
    """Within 250 ms; on a machine so busy that Python itself takes long to start, within a few such starts."""
    machine = guests.create("echo first words; sleep 1000")
    taken, bare = [], []
    for _ in range(10):
        started = time.monotonic()
        subprocess.run(
            [sys.executable, "-I", "-S", "-c", "import ctypes, json, socket, threading"], check=True
        )
        bare.append(time.monotonic() - started)
        offset, started = machine.serial().next, time.monotonic()
        machine.power_on()
        guests.wait_until(lambda offset=offset: b"first words" in machine.serial_output(offset))
        taken.append(time.monotonic() - started)
        machine.power_off()
        if taken[-1] < max(0.25, 5 * max(bare)):
            return
    raise AssertionError(f"power_on to first words took {taken} s, a bare start of Python {bare} s")
