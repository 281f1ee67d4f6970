"""The guest's first process: runs the startup script, adopts and reaps processes, shuts down."""

from __future__ import annotations

import os
import select
import signal
import socket
import time

from hydra_gce.local.vm import processes, root, scripts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

POWERED_OFF = 0
REBOOT = 10

_PANIC = b"""\
[    1.612046] /dev/root: Can't open blockdev\r
[    1.612871] VFS: Cannot open root device "PARTUUID=0e7a0c2f-01" or unknown-block(0,0): error -6\r
[    1.614093] Please append a correct "root=" boot option; here are the available partitions:\r
[    1.615420] Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)\r
[    1.616672] CPU: 0 PID: 1 Comm: swapper/0 Not tainted\r
[    1.617418] Hardware name: Google Google Compute Engine/Google Compute Engine, BIOS Google\r
[    1.618630] Call Trace:\r
[    1.619044]  panic+0x118/0x2ed\r
[    1.619551]  mount_block_root+0x1d4/0x1e3\r
[    1.620177]  prepare_namespace+0x136/0x165\r
[    1.620827]  kernel_init_freeable+0x25c/0x286\r
[    1.622170] ---[ end Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0) ]---\r
"""
"""What Linux says on the serial console where it finds no root file system (init/do_mounts.c, kernel/panic.c)."""


class Guest:
    """What the first process needs to know.

    environment: of every process of the guest. initctl: the pipe that `poweroff` and its like write to.
    namespaced: it is process 1 of its own namespace, and the kernel kills the others when it ends.
    panics: it says a kernel's last words and then does nothing. disk_in_memory: its root can be made full.
    """

    def __init__(
        self,
        *,
        hostname: str,
        environment: dict[str, str],
        tree: dict[str, Any],
        initctl: str,
        temporary: str,
        home: str,
        grace_s: float,
        namespaced: bool,
        panics: bool,
        disk_in_memory: bool,
    ) -> None:
        self.hostname, self.environment = hostname, environment
        self.attributes = tree.get("instance", {}).get("attributes", {})
        self.project_attributes = tree.get("project", {}).get("attributes", {})
        self.initctl, self.temporary, self.home = initctl, temporary, home
        self.grace_s, self.namespaced = grace_s, namespaced
        self.panics, self.disk_in_memory = panics, disk_in_memory

    def script(self, kind: str) -> str:
        """The instance's script of this kind, else the project's, else nothing: the order of Google's guest agent."""
        return str(self.attributes.get(kind) or self.project_attributes.get(kind) or "")


def run(guest: Guest, control: socket.socket) -> int:
    """Lives as long as the guest does; returns POWERED_OFF or REBOOT. The caller exits with it."""
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    os.set_blocking(woken, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    initctl = os.open(guest.initctl, os.O_RDWR | os.O_NONBLOCK)
    control.sendall(b"ready\n")
    if guest.panics:
        os.write(1, _PANIC)
        while True:
            signal.pause()

    scripts.start(guest, "startup-script")
    outcome, deadline = POWERED_OFF, None

    def shut_down(grace_s: float) -> float:
        _signal_all(guest, signal.SIGTERM)
        scripts.start(guest, "shutdown-script")
        return time.monotonic() + grace_s

    while True:
        wait_s = None if deadline is None else max(0.0, deadline - time.monotonic())
        readable, _, _ = select.select([control.fileno(), initctl, woken], [], [], wait_s)
        if woken in readable:
            os.read(woken, 4096)
        if control.fileno() in readable:
            orders = control.recv(4096).decode().splitlines()
            if not orders:
                break  # the hypervisor is gone, and so is the machine
            for order in orders:
                word, _, argument = order.partition(" ")
                if word == "fill-disk":
                    _fill_disk(guest)
                elif deadline is None:
                    deadline = shut_down(float(argument))
        if initctl in readable:
            request = os.read(initctl, 4096).decode("utf-8", "replace").split()
            if deadline is None and request:
                outcome = REBOOT if request[-1] == "reboot" else POWERED_OFF
                deadline = shut_down(guest.grace_s)
        childless = not _reap()
        if deadline is not None and (childless or time.monotonic() >= deadline):
            break
    if not guest.namespaced:
        processes.end_descendants()
    return outcome


def _fill_disk(guest: Guest) -> None:
    try:
        if not guest.disk_in_memory:
            raise OSError("it is a directory of this machine's")
        root.fill()
    except OSError as error:
        os.write(2, f"hydra-gce: the disk of this VM could not be made full: {error}\r\n".encode())


def _reap() -> bool:
    """Takes note of ended children; whether any lives."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return False
    return True


def _signal_all(guest: Guest, number: int) -> None:
    if guest.namespaced:
        try:
            os.kill(-1, number)  # everybody in the namespace but ourselves
        except ProcessLookupError:
            return
    else:
        processes.send_to_descendants(number)
