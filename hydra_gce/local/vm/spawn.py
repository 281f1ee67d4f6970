"""Starting a program of the guest, as its root: without `subprocess`, which takes longer to import than a
boot lasts."""

from __future__ import annotations

import os
import signal

from hydra_gce.local.vm import kernel

_CAPABILITIES_KEPT = {0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 13, 14, 15, 18, 19, 23, 24, 26, 29, 31}
"""What root may do in the guest: files, users, signals, its own network, but not this machine's mounts, devices,
modules or clock. Numbers of linux/capability.h."""


def program(argv: list[str], environment: dict[str, str], directory: str, output: int) -> int:
    """Starts a program of the guest, its output and errors going to a descriptor; returns its process id."""
    pid = os.fork()
    if pid:
        return pid
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        signal.set_wakeup_fd(-1)
        os.setsid()
        null = os.open("/dev/null", os.O_RDONLY)
        os.dup2(null, 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.closerange(3, 1024)
        os.chdir(directory)
        os.umask(0o022)
        _drop_capabilities()
        os.execve(argv[0], argv, environment)
    except OSError as error:
        os.write(2, f"{argv[0]}: {error}\n".encode())
    finally:
        os._exit(127)


def _drop_capabilities() -> None:
    for capability in range(64):
        if capability not in _CAPABILITIES_KEPT:
            try:
                kernel.drop_from_bounding_set(capability)
            except OSError:
                return  # past the last one that this kernel knows, or not ours to drop
