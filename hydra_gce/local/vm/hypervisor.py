"""The process behind one VM: starts the guest, serves its metadata and its way out, and outlives the API server.

It holds the lock of the machine's directory as long as the VM is on.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import sys
import threading
import time

from hydra_gce.local.vm import guest, init, isolation, layout, limits, network, processes
from hydra_gce.local.vm.kernel import adopt_orphans
from hydra_gce.local.vm.metadata_server import MetadataServer
from hydra_gce.local.vm.proxy import Proxy
from hydra_gce.local.vm.serial import SerialConsole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_RESET = "reset"
_GONE = "gone"
_LAST_WORDS_S = 2.0
_LOOK_EVERY_S = 1.0


def main(directory: str, *, lock: int, ready: int) -> None:
    """Powers the machine on and returns when it is off. ready: a pipe that gets "ok" or what is wrong; -1
    at a reset."""
    lock = _lowest(lock)
    if ready >= 0:
        ready = _lowest(ready)
        if os.fork():
            os._exit(0)  # the creator need not wait for us
    hypervisor = Hypervisor(directory, lock)
    try:
        hypervisor.boot()
    except (guest.StartError, OSError, ValueError) as error:
        hypervisor.finish("crashed")
        if ready < 0:
            raise
        os.write(ready, f"{error}".encode())
        return
    if ready >= 0:
        os.write(ready, b"ok")
        os.close(ready)
    reason = hypervisor.supervise()
    hypervisor.end()
    if reason == _RESET:
        os.set_inheritable(lock, True)
        os.execv(sys.executable, [sys.executable, "-I", "-S", sys.argv[0], directory, str(lock), "-1"])
    if reason != _GONE:
        hypervisor.finish(reason)


def _lowest(descriptor: int) -> int:
    """The same at the lowest free number, where those who close what they inherited find it, and not inherited."""
    copy = os.dup(descriptor)
    os.close(descriptor)
    return copy


class Hypervisor:
    """One VM from boot() over supervise() to end()."""

    def __init__(self, directory: str, lock: int) -> None:
        self._directory, self._lock = directory, lock
        self._spec: dict[str, Any] = self._read(layout.SPEC)
        self._power: dict[str, Any] = self._read(layout.POWER_ON)
        self._limits = limits.Limits([])
        self._console = SerialConsole(f"{directory}/{layout.SERIAL}")
        self._metadata = MetadataServer(directory)
        self._control = os.open(f"{directory}/{layout.CONTROL}", os.O_RDWR | os.O_NONBLOCK)
        self._pump: threading.Thread | None = None
        self._guest: guest.Started | None = None

    def boot(self) -> None:
        """Starts the guest in the best isolation to be had. Raises StartError if there is none."""
        adopt_orphans()
        spec = self._spec
        self._power.setdefault("powered_on", time.monotonic())
        self._power["boot"] = int(self._power.get("boot", 0)) + 1
        self._write(layout.POWER_ON, self._power)
        self._limits = limits.impose(self._power["group"], spec["cpus"], spec["memory_bytes"])
        plan = guest.Plan(
            self._directory, spec, self._read(layout.IMAGE), self._power["host"], self._metadata.tree()
        )
        reading, writing = os.pipe()
        started, kind = self._start(plan, writing)
        os.close(writing)
        self._guest = started
        self._pump = threading.Thread(target=self._record, args=(reading,), daemon=True)
        self._pump.start()
        network.serve(started.metadata, self._metadata.answer, "metadata")
        if started.proxy is not None:
            network.serve(started.proxy, Proxy(self._power["host"]).answer, "proxy")
        for listener, (host, port) in zip(
            started.services, guest.service_addresses(spec["services"]), strict=bool(started.services)
        ):
            network.serve(listener, lambda client, to=(host, port): network.forward(client, *to), "forward")  # type: ignore[misc]
        self._write(
            layout.STATE,
            {
                "hypervisor": os.getpid(),
                "boot": self._power["boot"],
                "isolation": kind.value,
                "first": started.first,
                "groups": self._limits.groups,
                "environment": started.environment,
                "started": time.time(),
            },
        )

    def _start(self, plan: guest.Plan, console: int) -> tuple[guest.Started, isolation.Isolation]:
        for tree in plan.image["trees"]:
            if not os.path.isdir(tree):
                raise guest.StartError(f"its image's Python needs {tree}, which is gone from this machine")
        refused: list[str] = []
        for kind in [isolation.Isolation(name) for name in self._power["isolation"]]:
            try:
                if kind is isolation.Isolation.NAMESPACES:
                    return guest.start_in_namespaces(plan, self._limits, console), kind
                started = guest.start_by_environment(plan, self._limits, console)
            except (guest.StartError, OSError) as error:
                refused.append(f"{kind.value}: {error}")
                continue
            for reason in refused:
                self._console.write(f"hydra-gce: no namespaces for this VM ({reason})\r\n".encode())
            return started, kind
        raise guest.StartError("; ".join(refused))

    def supervise(self) -> str:
        """Waits for orders, for the end of the guest, and for the end of its time. Returns why it is off."""
        assert self._guest is not None
        control = self._guest.control
        max_run_s = self._spec["max_run_s"]
        end_at = None if max_run_s is None else self._power["powered_on"] + max_run_s
        kill_at: float | None = None
        reason: str | None = None

        def shut_down(why: str, grace_s: float) -> float:
            nonlocal reason
            reason = reason or why
            with contextlib.suppress(OSError):  # the guest ended meanwhile, which we hear of next
                control.sendall(f"shut-down {grace_s}\n".encode())
            end = time.monotonic() + grace_s + 1.0
            return end if kill_at is None else min(end, kill_at)

        while True:
            moments = [moment for moment in (end_at, kill_at) if moment is not None]
            wait_s = max(0.0, min([*(moment - time.monotonic() for moment in moments), _LOOK_EVERY_S]))
            readable, _, _ = select.select([self._control, control.fileno()], [], [], wait_s)
            if control.fileno() in readable and not control.recv(4096):
                return self._reason_of_end(reason)
            if self._control in readable:
                for order in os.read(self._control, 4096).decode().splitlines():
                    word, _, argument = order.partition(" ")
                    if word == "metadata":
                        self._metadata.changed()
                    elif word == "slow-metadata":
                        self._metadata.delay_s = float(argument)
                    elif word == "freeze":
                        processes.freeze_descendants()
                    elif word == "fill-disk":
                        with contextlib.suppress(OSError):  # the guest has ended
                            control.sendall(b"fill-disk\n")
                    elif word == "shut-down":
                        kill_at = shut_down("shut-down", float(argument))
                    elif word in ("power-off", _RESET):
                        return word
            if self._is_gone():
                return _GONE
            now = time.monotonic()
            if end_at is not None and now >= end_at:
                end_at = None
                kill_at = shut_down("max-run-duration", self._spec["shutdown_grace_s"])
            if kill_at is not None and now >= kill_at:
                return reason or "power-off"

    def _is_gone(self) -> bool:
        """Whether somebody removed our directory: then nobody can order us off any more, so we go."""
        try:
            return os.stat(f"{self._directory}/{layout.LOCK}").st_ino != os.fstat(self._lock).st_ino
        except FileNotFoundError:
            return True

    def _reason_of_end(self, asked: str | None) -> str:
        assert self._guest is not None
        _, status = os.waitpid(self._guest.child, 0)
        code = os.waitstatus_to_exitcode(status)
        if asked is not None:
            return asked
        return {init.POWERED_OFF: "guest-shutdown", init.REBOOT: _RESET}.get(code, "crashed")

    def end(self) -> None:
        """Leaves no process of the guest, and hears the last that it said."""
        processes.end_descendants()
        self._end_marked()
        if self._pump is not None:
            self._pump.join(_LAST_WORDS_S)
        self._limits.remove()

    def _end_marked(self) -> None:
        if self._guest is not None and self._guest.proxy is None:
            processes.send(processes.marked(self._directory), 9)

    def finish(self, reason: str) -> None:
        self._write(layout.EXIT, {"reason": reason, "at": time.time()})

    def _record(self, reading: int) -> None:
        while piece := os.read(reading, 1 << 16):
            with contextlib.suppress(
                OSError
            ):  # a full disk loses output, and never stops the guest that writes it
                self._console.write(piece)

    def _read(self, name: str) -> dict[str, Any]:
        with open(f"{self._directory}/{name}", "rb") as file:
            document: dict[str, Any] = json.load(file)
            return document

    def _write(self, name: str, document: dict[str, Any]) -> None:
        layout.replace(f"{self._directory}/{name}", json.dumps(document).encode())
