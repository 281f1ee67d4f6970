"""The guest's root of files: its disk, with the system and the image's Python shown read-only in it."""

from __future__ import annotations

import json
import os
import stat

from hydra_gce.local.vm import kernel, layout

_OWN_DIRECTORIES = (
    "etc",
    "home",
    "media",
    "mnt",
    "opt",
    "srv",
    "usr/local/bin",
    "usr/local/sbin",
    "var/log",
    "var/lib",
    "var/cache",
)
_SYSTEM = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_ETC_SHOWN = (
    "alternatives",
    "ca-certificates",
    "crypto-policies",
    "debian_version",
    "fonts",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "magic",
    "mime.types",
    "os-release",
    "perl",
    "pki/ca-trust/extracted",
    "pki/tls",
    "protocols",
    "python3",
    "python3.10",
    "python3.11",
    "python3.12",
    "python3.13",
    "python3.14",
    "rpc",
    "services",
    "shells",
    "ssl/certs",
    "ssl/openssl.cnf",
    "terminfo",
)
_DEVICES = ("full", "null", "random", "tty", "urandom", "zero")
_COMMANDS = {"shutdown": "poweroff", "poweroff": "poweroff", "halt": "poweroff", "reboot": "reboot"}
_COMMAND = """#!/bin/sh
request={request}
for argument; do
  case $argument in -r|--reboot) request=reboot ;; -c) exit 0 ;; esac
done
echo $request > '{initctl}'
"""
_HOST = "/.host"
_FILL_ATTEMPTS = 100


def furnish(disk: str, hostname: str, python: str | None) -> None:
    """Makes the disk of a new VM: the directories, the accounts, and the mark of a baked image."""
    for name in _OWN_DIRECTORIES:
        os.makedirs(f"{disk}/{name}", exist_ok=True)
    os.makedirs(f"{disk}/root", mode=0o700, exist_ok=True)
    for name in ("tmp", "var/tmp"):
        os.makedirs(f"{disk}/{name}", exist_ok=True)
        os.chmod(f"{disk}/{name}", 0o1777)
    if not os.path.lexists(f"{disk}/var/run"):
        os.symlink("/run", f"{disk}/var/run")
    _write(f"{disk}/etc/hostname", f"{hostname}\n")
    _write(
        f"{disk}/etc/hosts",
        f"127.0.0.1 localhost\n::1 localhost\n127.0.1.1 {hostname}\n"
        f"{layout.METADATA_ADDRESS} metadata.google.internal metadata\n",
    )
    _write(f"{disk}/etc/resolv.conf", f"nameserver {layout.METADATA_ADDRESS}\n")
    _write(f"{disk}/etc/nsswitch.conf", "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\n")
    _write(f"{disk}/etc/passwd", _system_accounts("/etc/passwd") or "root:x:0:0:root:/root:/bin/bash\n")
    _write(f"{disk}/etc/group", _system_accounts("/etc/group") or "root:x:0:\n")
    if python is not None:
        os.makedirs(f"{disk}/opt/hydra-gce", exist_ok=True)
        _write(f"{disk}/opt/hydra-gce/environment.json", json.dumps({"python": python}) + "\n")


def prepare_boot(disk: str, initctl: str) -> None:
    """Empties /run, as a boot does, and puts the commands there that end the VM; initctl: the pipe as the
    guest sees it."""
    _remove(f"{disk}/run")
    os.makedirs(f"{disk}/run")
    os.mkfifo(f"{disk}/run/initctl", 0o600)
    for command, request in _COMMANDS.items():
        path = f"{disk}/usr/local/sbin/{command}"
        _remove(path)
        _write(path, _COMMAND.format(request=request, initctl=initctl))
        os.chmod(path, 0o755)


def hold_in_memory(disk: str, most_bytes: int) -> None:
    """Lays a copy of the disk in memory over it, in the calling process's mount namespace."""
    import shutil  # only here: it takes longer to import than a boot lasts

    kernel.mount("none", "/", None, kernel.MS_REC | kernel.MS_PRIVATE)
    below = os.open(disk, os.O_PATH | os.O_DIRECTORY)
    kernel.mount("tmpfs", disk, "tmpfs", 0, f"size={most_bytes},mode=755")
    old = f"/proc/self/fd/{below}"

    def copy(source: str, target: str) -> None:
        if stat.S_ISREG(os.lstat(source).st_mode):  # pipes and sockets are nothing without their processes
            shutil.copy2(source, target)

    shutil.copytree(old, disk, symlinks=True, dirs_exist_ok=True, copy_function=copy)
    os.close(below)


def fill() -> None:
    """Takes all the room that is left from a root that is held in memory: each write then ends with ENOSPC, until
    something is deleted. Raises OSError for any other root."""
    refused: OSError | None = None
    for _ in range(_FILL_ATTEMPTS):
        now = os.statvfs("/")
        used = max((now.f_blocks - now.f_bfree) * now.f_frsize, now.f_frsize)  # 0 would be no limit at all
        try:
            kernel.mount("none", "/", None, kernel.MS_REMOUNT, f"size={used}")
        except OSError as error:  # somebody wrote since we looked
            refused = error
        else:
            return
    assert refused is not None
    raise refused


def enter(disk: str, image: dict[str, list[str]]) -> None:
    """Makes the disk the root of the calling process's mount namespace and shows the image in it.

    The disk becomes the root first and everything is mounted from the old root, seen at /.host: so a symbolic link
    that a guest left on its disk can lead nowhere but into the disk.
    """
    kernel.mount("none", "/", None, kernel.MS_REC | kernel.MS_PRIVATE)
    kernel.bind(disk, disk, read_only=False)
    os.makedirs(disk + _HOST, exist_ok=True)
    kernel.pivot_root(disk, disk + _HOST)
    os.chdir("/")
    _show_system()
    for tree in image["trees"]:
        _show(tree)
    for link in image["links"]:
        path, target = link.split("\t")
        if not os.path.lexists(path):
            os.makedirs(os.path.dirname(path), exist_ok=True)
            os.symlink(target, path)
    _make_devices()
    _mount_kernel_views()
    kernel.detach(_HOST)
    os.rmdir(_HOST)


def _show_system() -> None:
    os.makedirs("/usr/local", exist_ok=True)
    local = os.open("/usr/local", os.O_PATH | os.O_DIRECTORY)
    _show("/usr")
    if os.path.isdir("/usr/local"):
        kernel.bind(f"{_HOST}/proc/self/fd/{local}", "/usr/local", read_only=False)
    os.close(local)
    for name in _SYSTEM:
        source = f"{_HOST}/{name}"
        if os.path.islink(source):
            if not os.path.lexists(f"/{name}"):
                os.symlink(os.readlink(source), f"/{name}")
        elif os.path.isdir(source):
            _show(f"/{name}")
    for name in _ETC_SHOWN:
        source = f"{_HOST}/etc/{name}"
        if os.path.islink(source):
            if not os.path.lexists(f"/etc/{name}"):
                os.symlink(os.readlink(source), f"/etc/{name}")
        elif os.path.exists(source):
            _show(f"/etc/{name}")
    if os.path.islink(f"{_HOST}/etc/localtime") and not os.path.lexists("/etc/localtime"):
        os.symlink(os.readlink(f"{_HOST}/etc/localtime"), "/etc/localtime")
    for command in _COMMANDS:
        if os.path.isfile(f"/usr/sbin/{command}"):
            kernel.bind(
                f"/usr/local/sbin/{command}", os.path.realpath(f"/usr/sbin/{command}"), read_only=True
            )


def _show(path: str) -> None:
    source = _HOST + path
    if os.path.isdir(source):
        os.makedirs(path, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if not os.path.exists(path):
            _write(path, "")
    kernel.bind(source, path, read_only=True)


def _make_devices() -> None:
    os.makedirs("/dev", exist_ok=True)
    kernel.mount("tmpfs", "/dev", "tmpfs", kernel.MS_NOSUID, "mode=755,size=64k")
    for name in _DEVICES:
        _write(f"/dev/{name}", "")
        kernel.bind(f"{_HOST}/dev/{name}", f"/dev/{name}", read_only=False)
    for name, target in (
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
        ("ptmx", "pts/ptmx"),
        ("console", "/proc/1/fd/1"),
        ("ttyS0", "/proc/1/fd/1"),
    ):
        os.symlink(target, f"/dev/{name}")
    os.makedirs("/dev/pts")
    kernel.mount(
        "devpts",
        "/dev/pts",
        "devpts",
        kernel.MS_NOSUID | kernel.MS_NOEXEC,
        "newinstance,ptmxmode=0666,mode=620",
    )
    os.makedirs("/dev/shm")
    kernel.mount("tmpfs", "/dev/shm", "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, "mode=1777")


def _mount_kernel_views() -> None:
    restricted = kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC
    os.makedirs("/proc", exist_ok=True)
    kernel.mount("proc", "/proc", "proc", restricted)
    os.makedirs("/sys", exist_ok=True)
    kernel.mount("sysfs", "/sys", "sysfs", restricted | kernel.MS_RDONLY)
    if not os.path.lexists("/etc/mtab"):
        os.symlink("/proc/self/mounts", "/etc/mtab")


def _system_accounts(path: str) -> str:
    """The accounts of the distribution, without those of the people who use this machine."""
    with open(path, encoding="utf-8", errors="replace") as file:
        return "".join(line for line in file if _is_system_account(line))


def _is_system_account(line: str) -> bool:
    fields = line.split(":")
    return len(fields) > 2 and fields[2].isdigit() and (int(fields[2]) < 1000 or int(fields[2]) == 65534)


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def _remove(path: str) -> None:
    """Removes what a former boot or the guest left there, without following links."""
    if os.path.islink(path) or os.path.isfile(path):
        os.unlink(path)
    elif os.path.isdir(path):
        for entry in os.listdir(path):
            _remove(f"{path}/{entry}")
        os.rmdir(path)
    elif os.path.lexists(path):
        os.unlink(path)
