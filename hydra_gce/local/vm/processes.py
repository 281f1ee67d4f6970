"""Finding and ending process trees, daemons included."""

from __future__ import annotations

import os
import signal
import sys
import time

MARK = "HYDRA_GCE_VM"
"""Environment variable of every process of a VM that has no namespaces of its own; its value is the VM's directory."""


def descendants(ancestor: int) -> list[int]:
    """All processes below this one, nearest first."""
    children: dict[int, list[int]] = {}
    for pid, parent in _parents():
        children.setdefault(parent, []).append(pid)
    found = list(children.get(ancestor, []))
    for pid in found:
        found += children.get(pid, [])
    return found


def marked(directory: str) -> list[int]:
    """Processes of this user that carry the mark of this VM, whoever is their parent now."""
    if sys.platform != "linux":
        return [
            int(line.split(None, 1)[0])
            for line in _ps("-axEww", "pid=,command=")
            if f"{MARK}={directory} " in line + " "
        ]
    mark = f"{MARK}={directory}".encode()
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/environ", "rb") as file:
                    if mark in file.read().split(b"\0"):
                        found.append(int(name))
            except OSError:
                continue  # ended meanwhile, or another user's
    return found


def send(pids: list[int], number: int) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def send_to_descendants(number: int) -> None:
    """Signals all that descends from the calling process, those too that are started while we look."""
    told: set[int] = set()
    for _ in range(10):
        new = [pid for pid in descendants(os.getpid()) if pid not in told]
        if not new:
            return
        send(new, number)
        told.update(new)


def freeze_descendants(within_s: float = 2.0) -> None:
    """Stops all that descends from the calling process, those too that are started while we look; what waits for
    the disk stops when it has it, later than this returns."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        lively = [pid for pid in descendants(os.getpid()) if _state(pid) not in "TtZX"]
        if not lively:
            return
        send(lively, signal.SIGSTOP)
        time.sleep(0.005)


def end_descendants() -> None:
    """Kills all that descends from the calling process, which adopts orphans, and waits until nothing is left."""
    while True:
        send(descendants(os.getpid()), signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def _parents() -> list[tuple[int, int]]:
    if sys.platform != "linux":
        return [
            (int(pid), int(parent)) for pid, parent in (line.split() for line in _ps("-ax", "pid=,ppid="))
        ]
    pairs = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    after_name = file.read().rpartition(b")")[2].split()
            except OSError:
                continue  # ended meanwhile
            pairs.append((int(name), int(after_name[1])))
    return pairs


def _state(pid: int) -> str:
    """The letter that ps shows; X for one that is gone."""
    if sys.platform != "linux":
        return (_ps(f"-p {pid}", "state=") or ["X"])[0][:1]
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0].decode()
    except OSError:
        return "X"


def _ps(selection: str, columns: str) -> list[str]:
    with os.popen(f"ps {selection} -o {columns}") as output:
        return output.read().splitlines()
