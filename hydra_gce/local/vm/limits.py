"""CPU and memory of a VM as cgroup limits, version 1 or 2, where this user may write them; none elsewhere.

No RLIMIT in their place: RLIMIT_AS and RLIMIT_DATA count address space, of which TensorFlow takes far more
than it uses.
"""

from __future__ import annotations

import os

_PERIOD_US = 100_000


class Limits:
    """The control groups of one VM. `groups` may be given back to the constructor by a later process, to
    remove them."""

    def __init__(self, groups: list[str]) -> None:
        self.groups = groups

    def join(self) -> None:
        """Puts the calling process, and so all that it starts, under the limits."""
        for group in self.groups:
            try:
                _write(f"{group}/cgroup.procs", str(os.getpid()))
            except OSError as error:
                os.write(2, f"hydra-gce: this VM runs without the limits of {group}: {error}\n".encode())

    def exist(self) -> bool:
        return any(os.path.isdir(group) for group in self.groups)

    def remove(self) -> None:
        """Removes the groups; those that still hold a dying process stay, and are removed by the next call."""
        for group in self.groups:
            try:
                os.rmdir(group)
            except OSError:
                continue


def impose(name: str, cpus: float, memory_bytes: int) -> Limits:
    """Makes groups with these limits, as many of them as can be had here."""
    quota = max(int(cpus * _PERIOD_US), 1000)
    found: list[str] = []
    for mount, controllers, version in _hierarchies():
        own = mount + _own_group(controllers, version).rstrip("/")
        if version == 2:
            settings = {"memory.max": memory_bytes, "memory.swap.max": 0, "cpu.max": f"{quota} {_PERIOD_US}"}
            needed = "memory.max"
        elif "memory" in controllers:
            settings = {"memory.limit_in_bytes": memory_bytes, "memory.memsw.limit_in_bytes": memory_bytes}
            needed = "memory.limit_in_bytes"
        else:
            settings = {"cpu.cfs_period_us": _PERIOD_US, "cpu.cfs_quota_us": quota}
            needed = "cpu.cfs_quota_us"
        group = _make_group(own if os.path.isdir(own) else mount, mount, name, needed, version)
        if group is not None:
            for file, value in settings.items():
                if os.path.exists(f"{group}/{file}"):
                    _write(f"{group}/{file}", str(value))
            found.append(group)
    return Limits(found)


def _make_group(own: str, mount: str, name: str, needed: str, version: int) -> str | None:
    """A new group below our own, or below the nearest one above that lets us; None where none does."""
    parent = own
    while len(parent) >= len(mount):
        group = f"{parent}/hydra-gce-{name}"
        try:
            if version == 2:
                _pass_down(parent)
            os.makedirs(group, exist_ok=True)
            if os.access(f"{group}/{needed}", os.W_OK) and os.access(f"{parent}/cgroup.procs", os.W_OK):
                return group
            os.rmdir(group)
        except OSError:
            pass  # not ours to write: the one above may be
        parent = os.path.dirname(parent)
    return None


def _pass_down(parent: str) -> None:
    """Lets groups below this one be limited, as far as it is limited itself. Raises OSError if it may not be."""
    had = _read(f"{parent}/cgroup.controllers").split()
    given = _read(f"{parent}/cgroup.subtree_control").split()
    for controller in ("memory", "cpu"):
        if controller in had and controller not in given:
            _write(f"{parent}/cgroup.subtree_control", f"+{controller}")


def _hierarchies() -> list[tuple[str, set[str], int]]:
    """Mount point, controllers, version of each hierarchy with a memory or cpu controller."""
    found: list[tuple[str, set[str], int]] = []
    try:
        with open("/proc/self/mounts", encoding="utf-8") as mounts:
            entries = [line.split() for line in mounts]
    except OSError:
        return []
    for _, mount, kind, options, *_ in entries:
        controllers = {"memory", "cpu"} & set(options.split(","))
        if kind == "cgroup" and controllers and not any(controllers & known for _, known, _ in found):
            found.append((mount, controllers, 1))
        elif kind == "cgroup2" and not found and "memory" in _read(f"{mount}/cgroup.controllers").split():
            found.append((mount, set(), 2))
    return found


def _own_group(controllers: set[str], version: int) -> str:
    for line in _read("/proc/self/cgroup").splitlines():
        number, names, path = line.split(":", 2)
        if (version == 2 and number == "0") or controllers & set(names.split(",")):
            return path
    return "/"


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except OSError:
        return ""


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
