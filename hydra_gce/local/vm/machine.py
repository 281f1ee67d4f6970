"""A VM as the API server sees it: a directory, and orders to the hypervisor that runs there."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra_gce.local.vm import __file__ as _package_file
from hydra_gce.local.vm import isolation, layout, processes, root, serial
from hydra_gce.local.vm.image import ImageError, image_files
from hydra_gce.local.vm.limits import Limits
from hydra_gce.local.vm.spec import Exit, ExitReason, MachineSpec, SerialOutput

if TYPE_CHECKING:
    from collections.abc import Callable

_START_WITHIN_S = 60.0
_OBEY_WITHIN_S = 30.0
_PROGRAM = str(Path(_package_file).with_name("__main__.py"))
_HOST_SETTINGS = (
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "PIP_CERT",
)


def _remove_tree(path: str) -> None:
    """As shutil.rmtree, also where a guest left directories that even their owner must not write in."""
    try:
        shutil.rmtree(path)
    except PermissionError:
        for directory, _, _ in os.walk(path):
            for entry in os.scandir(directory):
                if entry.is_dir(follow_symlinks=False):
                    os.chmod(entry.path, 0o700)
        shutil.rmtree(path)


class MachineError(Exception):
    """A VM could not be made, started or ended; the sentence says which and why."""


class Machine:
    """The VM in this directory. Any number of processes may hold one; what they see is on disk."""

    def __init__(self, directory: Path) -> None:
        self.directory = Path(os.path.abspath(directory))

    def create(self, spec: MachineSpec) -> None:
        """Makes the directory, with a new disk. The VM is off. Raises MachineError if the image's Python
        does not run."""
        try:
            image = image_files(spec.python)
        except ImageError as error:
            raise MachineError(f"VM {spec.name} cannot be made. {error}") from error
        self.directory.mkdir(parents=True, mode=0o700)
        self._write(layout.IMAGE, image)
        os.mkfifo(self.directory / layout.CONTROL, 0o600)
        root.furnish(str(self.directory / layout.DISK), spec.name, spec.python)
        self.change(spec)

    def change(self, spec: MachineSpec) -> None:
        """Gives a VM another size, run time, services and metadata from its next power_on on. Its name and its
        image stay what they were made as."""
        document = spec.to_json()
        self._write(layout.METADATA, document.pop("metadata"))
        self._write(layout.SPEC, document)

    def spec(self) -> MachineSpec:
        """What the VM was made as, with the metadata of now."""
        return MachineSpec.from_json({**self._read(layout.SPEC), "metadata": self._read(layout.METADATA)})

    def power_on(self) -> None:
        """Boots, and returns when the guest's first process runs. Nothing if the VM is on already."""
        try:
            kinds = isolation.wanted()
        except ValueError as error:
            raise MachineError(f"{self._name()} cannot be started. {error}") from error
        lock = self._take_lock()
        if lock is None:
            return
        try:
            (self.directory / layout.EXIT).unlink(missing_ok=True)
            names = [name for setting in _HOST_SETTINGS for name in (setting, setting.lower())]
            self._write(
                layout.POWER_ON,
                {
                    "host": {name: os.environ[name] for name in names if name in os.environ},
                    "isolation": [kind.value for kind in kinds],
                    "group": f"{self.directory.name}-{zlib.crc32(os.fsencode(self.directory)):08x}",
                },
            )
            self._start_hypervisor(lock)
        finally:
            os.close(lock)

    def shut_down(self, grace_s: float) -> None:
        """As pressing the power button: SIGTERM to all processes and the shutdown script; after grace_s seconds
        everything is killed. Returns when the VM is off."""
        self._order(f"shut-down {grace_s}")
        self._wait_until(lambda: not self.running(), grace_s + _OBEY_WITHIN_S, "shut down")

    def power_off(self) -> None:
        """As pulling the plug. Returns when no process is left."""
        self._order("power-off")
        try:
            self._wait_until(lambda: not self.running(), _OBEY_WITHIN_S, "end")
        except MachineError:
            self._kill()

    def reset(self) -> None:
        """As pressing the reset button: everything is killed, the same disk boots again. Returns when it has."""
        if not self.running():
            raise MachineError(f"{self._name()} is off and cannot be reset. Power it on instead.")
        before = self._state().get("boot")
        self._order("reset")
        self._wait_until(
            lambda: self._state().get("boot") != before or not self.running(), _START_WITHIN_S, "boot again"
        )
        if self._state().get("boot") == before:
            raise MachineError(f"{self._name()} did not boot again; see {self.directory / layout.LOG}")

    def freeze(self) -> None:
        """All processes of the guest stand still: the VM stays on, its console and its metadata can be read, and it
        hears no order to shut down. A reset brings it back."""
        self._order("freeze")

    def fill_disk(self) -> None:
        """No room is left on the disk of a guest that has it in memory; its console says so where it has not."""
        self._order("fill-disk")

    def slow_metadata(self, delay_s: float) -> None:
        """Each answer of the metadata server comes so many seconds late, until the VM is off or reset."""
        self._order(f"slow-metadata {delay_s}")

    def running(self) -> bool:
        """Whether a hypervisor holds this machine, found out by its lock: true right after a restart of the server,
        and never fooled by a process id that is used again."""
        try:
            descriptor = os.open(self.directory / layout.LOCK, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def exit(self) -> Exit | None:
        """How the VM ended; None while it is on, and before it was on for the first time."""
        if self.running() or not (self.directory / layout.POWER_ON).exists():
            return None
        try:
            ended = self._read(layout.EXIT)
        except FileNotFoundError:  # its hypervisor was killed: it died no later than the console's last word
            last = self.directory / layout.SERIAL
            moments = [path.stat().st_mtime for path in [self.directory / layout.POWER_ON, *last.glob("*")]]
            return Exit(ExitReason.CRASHED, max(moments))
        return Exit(ExitReason(ended["reason"]), float(ended["at"]))

    def isolation(self) -> isolation.Isolation | None:
        """How this VM is kept apart; None before its first boot."""
        kind = self._state().get("isolation")
        return None if kind is None else isolation.Isolation(kind)

    def set_metadata(self, tree: dict[str, Any]) -> None:
        """Replaces the metadata tree, also that of a running VM, where it wakes those who wait for a change."""
        self._write(layout.METADATA, tree)
        self._order("metadata")

    def guest_attributes(self) -> dict[str, dict[str, str]]:
        """What the guest has written to its guest attributes: {namespace: {key: value}}."""
        try:
            written: dict[str, dict[str, str]] = self._read(layout.GUEST_ATTRIBUTES)
        except FileNotFoundError:
            return {}
        return written

    def serial_output(self, start: int = 0) -> bytes:
        """What the serial console has printed from this offset on, as far as it is kept (the last MiB)."""
        return self.serial(start).contents

    def serial(self, start: int = 0) -> SerialOutput:
        """The same with its offsets, which count all bytes that were ever printed."""
        first, contents = serial.read(str(self.directory / layout.SERIAL), start)
        return SerialOutput(first, contents, first + len(contents))

    def shell_command(self, variables: dict[str, str] | None = None) -> list[str]:
        """A command that opens a root shell in the running guest; append `-c`, `<command>` to run one there.
        variables: of its environment, beside the guest's own. Raises MachineError if the VM is off."""
        if not self.running():
            raise MachineError(f"{self._name()} is off. Power it on to enter it.")
        state = self._state()
        environment = {**state["environment"], **(variables or {})}
        settings = [f"{name}={value}" for name, value in environment.items()]
        shell = ["/bin/bash" if os.path.exists("/bin/bash") else "/bin/sh"]
        if state["isolation"] == isolation.Isolation.ENVIRONMENT.value:
            return ["env", "-i", "-C", str(self.directory / layout.DISK), *settings, *shell]
        first = str(state["first"])
        user = []
        if os.readlink(f"/proc/{first}/ns/user") != os.readlink("/proc/self/ns/user"):
            user = ["--user", "--preserve-credentials"]
        return [
            "nsenter",
            "--target",
            first,
            *user,
            "--mount",
            "--uts",
            "--ipc",
            "--net",
            "--pid",
            "--root",
            "--wd",
            "env",
            "-i",
            *settings,
            *shell,
        ]

    def delete(self) -> None:
        """Powers off and removes the directory: no process and no file is left."""
        if not self.directory.exists():
            return
        if self.running():
            self.power_off()
        self._remove_leftovers()
        _remove_tree(str(self.directory))

    def _start_hypervisor(self, lock: int) -> None:
        reading, writing = os.pipe()
        command = [sys.executable, "-I", "-S", _PROGRAM, str(self.directory), str(lock), str(writing)]
        with open(self.directory / layout.LOG, "ab") as log:
            process = subprocess.Popen(
                command,
                env={"PATH": os.defpath, "LANG": "C.UTF-8"},
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(lock, writing),
                start_new_session=True,
            )
        os.close(writing)
        with open(reading, "rb") as answers:
            answer = answers.read().decode("utf-8", "replace")
        process.wait()
        if answer != "ok":
            words = answer or (self.directory / layout.LOG).read_text(errors="replace")[-2000:].strip()
            raise MachineError(f"{self._name()} did not start: {words}")

    def _take_lock(self) -> int | None:
        """The machine's lock as a descriptor for the hypervisor to inherit; None if the VM is on."""
        try:
            descriptor = os.open(self.directory / layout.LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            raise MachineError(f"There is no VM in {self.directory}. Create it first.") from None
        deadline = time.monotonic() + 5.0
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return descriptor
            except BlockingIOError:
                # Held by a hypervisor, or for a moment by somebody who asks running(): only the former holds it on.
                if self._held_by_hypervisor(deadline):
                    os.close(descriptor)
                    return None

    def _held_by_hypervisor(self, deadline: float) -> bool:
        time.sleep(0.002)
        return self.running() or time.monotonic() > deadline

    def _order(self, order: str) -> None:
        """Tells the hypervisor; nothing if there is none."""
        try:
            control = os.open(self.directory / layout.CONTROL, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:  # ENXIO: nobody reads, so nobody runs
            return
        try:
            os.write(control, f"{order}\n".encode())
        finally:
            os.close(control)

    def _wait_until(self, condition: Callable[[], bool], within_s: float, what: str) -> None:
        deadline = time.monotonic() + within_s
        while not condition():
            if time.monotonic() > deadline:
                raise MachineError(
                    f"{self._name()} did not {what} within {within_s:.0f} s; see {self.directory / layout.LOG}"
                )
            time.sleep(0.005)

    def _kill(self) -> None:
        """The hypervisor does not obey: kills it, and with it (by the kernel's hand) the guest."""
        processes.send([int(self._state()["hypervisor"])], signal.SIGKILL)
        self._wait_until(lambda: not self.running(), _OBEY_WITHIN_S, "die")

    def _remove_leftovers(self) -> None:
        """What a hypervisor that was killed could not remove itself."""
        state = self._state()
        if state.get("isolation") == isolation.Isolation.ENVIRONMENT.value:
            processes.send(processes.marked(str(self.directory)), signal.SIGKILL)
        limits = Limits(state.get("groups", []))
        deadline = time.monotonic() + _OBEY_WITHIN_S
        limits.remove()
        while limits.exist() and time.monotonic() < deadline:  # a process of the guest is still dying
            time.sleep(0.005)
            limits.remove()

    def _name(self) -> str:
        return f"VM {self._read(layout.SPEC)['name']}"

    def _state(self) -> dict[str, Any]:
        try:
            return self._read(layout.STATE)
        except FileNotFoundError:
            return {}

    def _read(self, name: str) -> dict[str, Any]:
        document: dict[str, Any] = json.loads((self.directory / name).read_bytes())
        return document

    def _write(self, name: str, document: dict[str, Any]) -> None:
        layout.replace(str(self.directory / name), json.dumps(document).encode())
