"""The embedded Compute Engine with machines that run nothing themselves: their agents live in one process elsewhere."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from hydra_gce.local.home import Home
from hydra_gce.local.host import Host
from hydra_gce.local.server import Server
from hydra_gce.local.vm import Exit, ExitReason, MachineSpec, SerialOutput

AGENTS = "simulated-agents"
"""What the agents call themselves in their requests, which are not counted."""
# Room for any number of small VMs in one region.
HOST = Host(cores=1 << 14, memory_bytes=1 << 50)


class Machine:
    """A VM whose boot is one line to the process of the agents: its metadata."""

    def __init__(self, directory: Path, boots: Callable[[MachineSpec], None]) -> None:
        self._directory = directory
        self._boots = boots
        self._spec: MachineSpec | None = None
        self._on = False
        self._exit: Exit | None = None

    def create(self, spec: MachineSpec) -> None:
        self._directory.mkdir(parents=True)
        self._spec = spec

    def change(self, spec: MachineSpec) -> None:
        self._spec = spec

    def power_on(self) -> None:
        assert self._spec is not None
        self._on, self._exit = True, None
        self._boots(self._spec)

    def shut_down(self, grace_s: float) -> None:
        self.power_off()

    def power_off(self) -> None:
        if self._on:
            self._on, self._exit = False, Exit(ExitReason.SHUT_DOWN, time.time())

    def reset(self) -> None:
        """Nothing runs that could begin anew."""

    def freeze(self) -> None:
        """Nothing runs that could stand still."""

    def fill_disk(self) -> None:
        """It has none."""

    def slow_metadata(self, delay_s: float) -> None:
        """Nobody asks it."""

    def running(self) -> bool:
        return self._on

    def exit(self) -> Exit | None:
        return self._exit

    def set_metadata(self, tree: dict[str, Any]) -> None:
        """The agent has read it at its start."""

    def serial(self, start: int = 0) -> SerialOutput:
        return SerialOutput(start, b"", 0)

    def delete(self) -> None:
        self._on = False
        shutil.rmtree(self._directory, ignore_errors=True)


class Machines:
    """The machines by directory. ``agents`` takes a line of JSON for each that boots."""

    def __init__(self, agents: IO[str]) -> None:
        self._agents = agents
        self._machines: dict[Path, Machine] = {}
        self._guard = threading.Lock()

    def __call__(self, directory: Path) -> Machine:
        with self._guard:
            return self._machines.setdefault(directory, Machine(directory, self._boots))

    def _boots(self, spec: MachineSpec) -> None:
        line = json.dumps({"name": spec.name, "metadata": spec.metadata, "services": spec.services})
        with self._guard:
            print(line, file=self._agents, flush=True)


class CountingServer(Server):
    """Counts the launcher's requests by verb and collection; ``on_first_insert`` is called before the first VM."""

    on_first_insert: Callable[[], None]

    def __init__(self, home: Home, machines: Machines) -> None:
        super().__init__(home, machine=machines, host=HOST)
        self.requests: Counter[str] = Counter()
        self._counting = threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        path = str(environ.get("PATH_INFO", ""))
        if path.startswith("/compute/v1/") and AGENTS not in environ.get("HTTP_USER_AGENT", ""):
            kind = kind_of(str(environ["REQUEST_METHOD"]), path, str(environ.get("QUERY_STRING", "")))
            with self._counting:
                self.requests[kind] += 1
                is_first = kind == "instances.insert" and self.requests[kind] == 1
            if is_first:
                self.on_first_insert()
        return super().__call__(environ, start_response)


def kind_of(method: str, path: str, query: str) -> str:
    """A request to Compute Engine in a word: "instances.list", "instances.list (next page)", "operations.wait"."""
    parts = re.sub(r"^/compute/v1/projects/[^/]+/?", "", path).split("/")
    if parts == [""]:
        return "projects.get"
    if parts[0] == "aggregated":
        return f"{parts[1]}.aggregatedList{_next(query)}"
    below = parts[2:] if parts[0] in ("zones", "regions") else parts[parts[0] == "global" :]
    collection, names = (below[0], below[1:]) if below else (parts[0], parts[1:])
    if len(names) > 1:
        return f"{collection}.{names[1]}"
    verbs = {("GET", 0): f"list{_next(query)}", ("POST", 0): "insert", ("DELETE", 1): "delete"}
    return f"{collection}.{verbs.get((method, len(names)), 'get')}"


def _next(query: str) -> str:
    return " (next page)" if "pageToken=" in query else ""


@contextmanager
def serving(home: Home, agents: subprocess.Popen[str]) -> Iterator[CountingServer]:
    """A running server, until it is done with."""
    assert agents.stdin is not None
    home.path.mkdir(parents=True)
    with home.serving():
        server = CountingServer(home, Machines(agents.stdin))
        thread = threading.Thread(target=server.serve, name="embedded Compute Engine")
        thread.start()
        try:
            while home.last() != server.running:
                if not thread.is_alive():
                    raise RuntimeError(f"The embedded Compute Engine did not start; see {home.log}")
                time.sleep(0.01)
            yield server
        finally:
            server.stop(power_off=True)
            thread.join()
