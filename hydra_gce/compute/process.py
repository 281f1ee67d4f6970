"""Compute Engine's client in a process of its own, beside the launcher.

Importing ``google.cloud.compute_v1`` keeps a core busy for two seconds and holds Python's lock meanwhile. Here it does
so while the launcher composes configs and packs code on another core. The process is told the backend on its standard
input, answers on a connection, and ends when its standard input does: with the launcher, however that ends.
"""

from __future__ import annotations

import os
import pickle
import secrets
import signal
import subprocess
import sys
import threading
from collections.abc import Collection
from dataclasses import replace
from multiprocessing.managers import BaseManager
from types import TracebackType
from typing import TYPE_CHECKING, Any, cast

from hydra_gce.cloud.backend import Backend
from hydra_gce.compute import OPERATION_S, Compute, HereCompute, Instance
from hydra_gce.compute.quotas import Quotas
from hydra_gce.errors import HydraGCEError
from hydra_gce.refusals import Refusal

if TYPE_CHECKING:
    from hydra_gce.compute.leftovers import Found, Leftover

_EXPOSED = (
    "insert",
    "why_not_made",
    "find",
    "instances",
    "delete",
    "leftovers",
    "remove",
    "console",
    "was_preempted",
    "quotas",
    "project_key",
    "use",
)
_SERVED = "served"
_KEY_BYTES = 32


class _Served:
    """What the process serves: ``HereCompute``, once it knows its backend and its import is over."""

    def __init__(self) -> None:
        self._compute: HereCompute | None = None
        self._importing = threading.Thread(target=__import__, args=("google.cloud.compute_v1",))
        self._importing.start()

    def use(self, backend: Backend) -> None:
        self._compute = HereCompute(backend)

    def insert(self, zone: str, body: dict[str, Any], request_id: str, limit_s: float) -> Refusal | None:
        return self._ready().insert(zone, body, request_id, limit_s)

    def why_not_made(self, zone: str, name: str) -> Refusal | None:
        return self._ready().why_not_made(zone, name)

    def find(self, zone: str, name: str) -> Instance | None:
        return self._ready().find(zone, name)

    def instances(self, sweep: str | None, zones: Collection[str] | None) -> list[Instance]:
        return self._ready().instances(sweep, zones)

    def delete(self, zone: str, name: str) -> None:
        self._ready().delete(zone, name)

    def leftovers(self, sweep: str | None) -> Found:
        return self._ready().leftovers(sweep)

    def remove(self, leftover: Leftover) -> str:
        return self._ready().remove(leftover)

    def console(self, zone: str, name: str) -> str:
        return self._ready().console(zone, name)

    def was_preempted(self, zone: str, name: str) -> bool:
        return self._ready().was_preempted(zone, name)

    def quotas(self) -> Quotas:
        return self._ready().quotas()

    def project_key(self) -> bytes | None:
        return self._ready().project_key()

    def _ready(self) -> HereCompute:
        self._importing.join()
        assert self._compute is not None
        return self._compute


class _Manager(BaseManager):
    pass


class ComputeProcess:
    """Starts at once, and can be called when it was told its backend. Threads may call side by side."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(_KEY_BYTES)
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is the launcher's: VMs are deleted through this process
        )
        assert self._process.stdin is not None
        self._process.stdin.write(self._key)
        self._process.stdin.flush()
        self._proxy: Any = None

    def __enter__(self) -> ComputeProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()

    def use(self, backend: Backend) -> Compute:
        """:raises HydraGCEError: the process did not start."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise HydraGCEError("the process with Google's Compute Engine client did not start; see above")
        _Manager.register(_SERVED, exposed=_EXPOSED)
        manager = _Manager(pickle.loads(bytes.fromhex(line.decode())), authkey=self._key)
        manager.connect()
        proxy: Any = getattr(manager, _SERVED)()
        proxy.use(replace(backend))  # a copy without the clients that this process has made from it
        return cast(Compute, _Calls(proxy))


class _Calls:
    """The exposed methods with their defaults."""

    def __init__(self, proxy: Any) -> None:
        self._proxy = proxy

    def insert(
        self, zone: str, body: dict[str, Any], request_id: str, limit_s: float = OPERATION_S
    ) -> Refusal | None:
        return cast("Refusal | None", self._proxy.insert(zone, body, request_id, limit_s))

    def why_not_made(self, zone: str, name: str) -> Refusal | None:
        return cast("Refusal | None", self._proxy.why_not_made(zone, name))

    def find(self, zone: str, name: str) -> Instance | None:
        return cast("Instance | None", self._proxy.find(zone, name))

    def instances(self, sweep: str | None = None, zones: Collection[str] | None = None) -> list[Instance]:
        return cast("list[Instance]", self._proxy.instances(sweep, zones))

    def delete(self, zone: str, name: str) -> None:
        self._proxy.delete(zone, name)

    def leftovers(self, sweep: str | None = None) -> Found:
        return cast("Found", self._proxy.leftovers(sweep))

    def remove(self, leftover: Leftover) -> str:
        return cast(str, self._proxy.remove(leftover))

    def console(self, zone: str, name: str) -> str:
        return cast(str, self._proxy.console(zone, name))

    def was_preempted(self, zone: str, name: str) -> bool:
        return cast(bool, self._proxy.was_preempted(zone, name))

    def quotas(self) -> Quotas:
        return cast(Quotas, self._proxy.quotas())

    def project_key(self) -> bytes | None:
        return cast("bytes | None", self._proxy.project_key())


def main() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    key = sys.stdin.buffer.read(_KEY_BYTES)
    if len(key) < _KEY_BYTES:
        return  # the launcher is gone
    served = _Served()
    _Manager.register(_SERVED, callable=lambda: served, exposed=_EXPOSED)
    server = _Manager(("127.0.0.1", 0), authkey=key).get_server()
    threading.Thread(target=_end_with_launcher, daemon=True).start()
    try:
        print(pickle.dumps(server.address).hex(), flush=True)
    except BrokenPipeError:
        # A mistake in the config ended the launcher before it needed us; its person is to read of that alone.
        os._exit(0)
    server.serve_forever()


def _end_with_launcher() -> None:
    sys.stdin.buffer.read()
    os._exit(0)  # serve_forever has no other end


if __name__ == "__main__":
    main()
