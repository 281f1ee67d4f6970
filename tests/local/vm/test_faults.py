"""A guest that stands still, panics, has no room left on its disk, or hears late from its metadata server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hydra_gce.local.vm import Isolation, Machine
from tests.local.vm.test_lifecycle import DAEMON, gone, hypervisor_of, processes_of

BEATS = DAEMON + "while :; do echo beat; sleep 0.05; done\n"


def still(machine: Machine) -> bool:
    """Whether each process of the guest is stopped."""
    return all(stopped(pid) for pid in processes_of(machine) if pid != hypervisor_of(machine))


def stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def test_a_frozen_guest_says_nothing_more_and_stays_on(guests: Any, isolation: Isolation) -> None:
    machine = guests.boot(BEATS)
    guests.says(machine, "beat")
    machine.freeze()
    guests.wait_until(lambda: still(machine), "the end of all beats")
    assert machine.running()
    assert "beat" in machine.serial_output().decode()
    assert len(processes_of(machine)) > 3


def test_a_frozen_guest_is_cut_off_at_the_limit_and_leaves_nothing(guests: Any, isolation: Isolation) -> None:
    machine = guests.boot(BEATS)
    guests.says(machine, "beat")
    machine.freeze()
    guests.wait_until(lambda: still(machine), "the end of all beats")
    machine.shut_down(0.1)
    assert not machine.running()
    gone(guests, machine)


def test_a_frozen_guest_is_deleted_without_a_trace(guests: Any, isolation: Isolation) -> None:
    machine = guests.boot(BEATS)
    guests.says(machine, "beat")
    machine.freeze()
    machine.delete()
    assert processes_of(machine) == []
    assert not machine.directory.exists()


def test_a_reset_brings_a_frozen_guest_back(guests: Any, isolation: Isolation) -> None:
    machine = guests.boot("echo boot $(cat /proc/sys/kernel/random/boot_id); sleep 1000")
    guests.says(machine, "boot")
    machine.freeze()
    before = machine.serial().next
    machine.reset()
    guests.wait_until(lambda: "startup-script: boot" in machine.serial_output(before).decode())


def test_a_panicking_kernel_runs_no_startup_script_and_hears_nothing(
    guests: Any, isolation: Isolation
) -> None:
    machine = guests.boot("echo started", panics=True)
    console = guests.says(machine, "---[ end Kernel panic - not syncing")
    machine.shut_down(0.1)
    assert "startup" not in machine.serial_output().decode()
    assert console == machine.serial_output().decode()
    gone(guests, machine)


@pytest.mark.usefixtures("namespaces")
def test_a_full_disk_takes_no_more_until_something_is_deleted(guests: Any) -> None:
    script = """
    head -c 200000 /dev/zero > /var/large
    echo waiting
    while head -c 9000 /dev/zero >> /root/probe; do sleep 0.02; done
    rm /var/large /root/probe
    head -c 100000 /dev/zero > /root/again && echo written again
    """
    machine = guests.boot(script, disk_in_memory=True)
    guests.says(machine, "startup-script: waiting")
    machine.fill_disk()
    console = guests.says(machine, "Finished running startup scripts")
    assert "No space left on device" in console
    assert "startup-script: written again" in console


@pytest.mark.usefixtures("namespaces")
def test_a_disk_in_memory_shows_what_the_image_has_and_leaves_nothing_on_this_machine(guests: Any) -> None:
    script = "cat /etc/hostname; echo kept > /var/mark; echo done"
    machine = guests.boot(script, disk_in_memory=True)
    assert "startup-script: guest" in guests.says(machine, "startup-script: done")
    assert not (machine.directory / "disk/var/mark").exists()


def test_a_disk_that_is_not_in_memory_cannot_be_made_full(guests: Any, isolation: Isolation) -> None:
    machine = guests.boot("echo up; sleep 1000")
    guests.says(machine, "startup-script: up")
    machine.fill_disk()
    guests.says(machine, "could not be made full")


def test_metadata_comes_late(guests: Any, isolation: Isolation) -> None:
    script = """
    url=http://${GCE_METADATA_HOST:-metadata.google.internal}/computeMetadata/v1/instance/name
    ask() { curl -sS -H Metadata-Flavor:Google -w ' %{time_total}\\n' $url; }
    ask
    until [ -e $HOME/slow ]; do sleep 0.02; done
    ask
    """
    machine = guests.boot(script)
    guests.says(machine, "startup-script: guest 0.")
    machine.slow_metadata(0.7)
    (machine.directory / "disk/root/slow").touch()
    console = guests.says(machine, "Finished running startup scripts")
    took = [float(line.split()[-1]) for line in console.splitlines() if "startup-script: guest " in line]
    assert took[0] < 0.7 <= took[1]
