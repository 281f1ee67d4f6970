"""One process: Compute Engine's REST API, and Cloud Storage beside it."""

from __future__ import annotations

import json
import logging
import os
import random
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server
from werkzeug.wrappers import Request as HttpRequest
from werkzeug.wrappers import Response

from hydra_gce.local.chaos import day, known
from hydra_gce.local.chaos.errors import ConnectionCut
from hydra_gce.local.chaos.scenario import ScenarioError, read
from hydra_gce.local.compute import works
from hydra_gce.local.compute.app import ComputeApp
from hydra_gce.local.compute.cloud import Cloud, Machine, Notice
from hydra_gce.local.compute.images import register_python
from hydra_gce.local.compute.lifecycle import Lifecycle
from hydra_gce.local.home import PROJECT, Home, Running
from hydra_gce.local.host import Host, this_host
from hydra_gce.local.services.app import ServicesApp, serves
from hydra_gce.local.storage import CloudStorage
from hydra_gce.local.store import Store
from hydra_gce.wake import Wake

_log = logging.getLogger(__name__)
_FOLLOW_EVERY_S = 0.2
_TICK_S = 0.5


class Server:
    """The whole: state, HTTP, the VMs' followers, Cloud Storage. One per home."""

    def __init__(
        self,
        home: Home,
        *,
        machine: Callable[[Path], Machine],
        host: Host | None = None,
        idle_exit_s: float | None = None,
        notice: Notice | None = None,
        clock: Callable[[], float] = time.time,
        rng: random.Random | None = None,
    ) -> None:
        self._home = home
        self._idle_exit_s = idle_exit_s
        self._stop = Wake()
        self._power_off = False
        self._last_call = time.monotonic()
        last = home.last()
        self._storage = CloudStorage(home, _free_port(last.storage_port if last else 0))
        listener = _listen(last.compute_port if last else 0)
        self.running = Running(os.getpid(), listener.getsockname()[1], self._storage.port)
        self.cloud = Cloud(
            Store(home.state),
            host or this_host(),
            home.machines,
            machine,
            guest_services(self.running),
            clock,
            rng or random.Random(),
            notice or Notice(),
        )
        self.cloud.bad_day = day.resume(self.cloud.store, clock)
        self._lifecycle = Lifecycle(self.cloud)
        works.register(self.cloud)
        self._compute = ComputeApp(self.cloud)
        self._services = ServicesApp(self.cloud)
        self._http = _http_server(self, listener)

    def serve(self) -> None:
        """Serve until stopped, asked to end, or idle for long enough."""
        self._storage.meet(self.cloud.bad_day)
        self._storage.start()
        self.cloud.operations.resume()
        self._lifecycle.follow(_FOLLOW_EVERY_S)
        thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
        thread.start()
        self._home.announce(self.running)
        _log.info("serving %s and %s", self.running.compute, self.running.storage)
        while not self._stop.wait(_TICK_S):
            self._storage.keep_running()
            if not self._home.endpoints.exists():
                _log.error("%s is gone, and the server goes with it", self._home.path)
                self._stop.set()
            if self._is_idle():
                _log.info("idle for %.0f s", self._idle_exit_s)
                self._stop.set()
        self._close()

    def stop(self, *, power_off: bool) -> None:
        """End `serve`; with the VMs, or leaving them to the next server."""
        self._power_off = self._power_off or power_off
        self._stop.set()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """The WSGI application: Google's APIs, and `/hydra-gce/` for `ensure`, `status` and `stop`."""
        self._last_call = time.monotonic()
        request = HttpRequest(environ)
        if request.path.startswith("/hydra-gce/"):
            return self._own(request)(environ, start_response)
        if serves(request.path):
            return self._services.answer(request)(environ, start_response)
        return self._compute.answer(request)(environ, start_response)

    def _own(self, request: HttpRequest) -> Response:
        call = (request.method, request.path.removeprefix("/hydra-gce/"))
        if call == ("GET", "status"):
            return _json(self._status())
        if self._stop.is_set:
            return _json({"error": "closing"}, 503)
        if call == ("POST", "images"):
            given = request.get_json()
            with self.cloud.lock:
                image = register_python(self.cloud, PROJECT, given["name"], given["python"])
            if given.get("idle_exit_s") is not None and self._idle_exit_s is not None:
                self._idle_exit_s = max(self._idle_exit_s, float(given["idle_exit_s"]))
            return _json({"image": image.path})
        if call[1] == "chaos":
            return self._chaos(request)
        if call == ("POST", "stop"):
            self.stop(power_off=True)
            return _json({})
        return _json({"error": "not found"}, 404)

    def _chaos(self, request: HttpRequest) -> Response:
        """The bad day: begin one, see what happened, end it."""
        cloud = self.cloud
        if request.method == "POST":
            try:
                scenario = read(request.get_json(silent=True))
                known.check(scenario, cloud)
            except ScenarioError as error:
                return _json({"mistakes": error.mistakes}, 400)
            with cloud.lock:
                cloud.bad_day = day.begin(scenario, cloud.store, cloud.clock)
        elif request.method == "DELETE":
            with cloud.lock:
                cloud.bad_day = None
                day.end(cloud.store)
        elif request.method != "GET":
            return _json({"error": "GET, POST or DELETE"}, 405)
        if request.method != "GET":
            self._storage.meet(cloud.bad_day)
        return _json(day.in_json(cloud.bad_day))

    def _status(self) -> dict[str, Any]:
        instances = self.cloud.store.list("instances")
        return {
            "pid": os.getpid(),
            "compute": self.running.compute,
            "storage": self.running.storage,
            "home": str(self._home.path),
            "project": PROJECT,
            "cores": self.cloud.host.cores,
            "memory_bytes": self.cloud.host.memory_bytes,
            "bad_day": self.cloud.bad_day is not None,
            "instances": [
                {
                    "name": one.name,
                    "id": one.body["id"],
                    "project": one.project,
                    "zone": one.scope.removeprefix("zones/"),
                    "machine_type": one.body["machineType"].rsplit("/", 1)[-1],
                    "status": one.body["status"],
                }
                for one in instances
            ],
        }

    def _is_idle(self) -> bool:
        if self._idle_exit_s is None or time.monotonic() - self._last_call < self._idle_exit_s:
            return False
        instances = self.cloud.store.list("instances")
        return self.cloud.operations.idle() and all(one.body["status"] == "TERMINATED" for one in instances)

    def _close(self) -> None:
        self._lifecycle.close()
        self.cloud.operations.close()
        if self._power_off:
            self._lifecycle.power_off_all()
        self._http.shutdown()
        self._http.server_close()
        self._storage.stop()
        self.cloud.store.close()


def guest_services(running: Running) -> dict[str, str]:
    """How a guest finds its cloud: the variables that Google's own clients know."""
    return {
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE": f"{running.compute}/compute/v1/",
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_STORAGE": f"{running.storage}/storage/v1/",
        "CLOUDSDK_AUTH_DISABLE_CREDENTIALS": "true",
        "STORAGE_EMULATOR_HOST": running.storage,
    }


def serve(home: Home, *, idle_exit_s: float | None) -> None:
    """Be this home's server until a signal, `stop`, or idleness. Raises `AlreadyServed`."""
    from hydra_gce.local.vm import Machine as RealMachine

    with home.serving():
        server = Server(home, machine=RealMachine, idle_exit_s=idle_exit_s)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: server.stop(power_off=True))
        server.serve()


class _Handler(WSGIRequestHandler):
    """Keep-alive, and no waiting for the peer's acknowledgement between the parts of an answer."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def connection_dropped(self, error: BaseException, environ: dict[str, Any] | None = None) -> None:
        """No answer goes out any more; where one was to be lost, the peer sees a reset and no orderly end."""
        self.close_connection = True
        if isinstance(error, ConnectionCut):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def date_time_string(self, timestamp: float | None = None) -> str:
        """The `Date` of answers: Google's clock, which this machine's may differ from on a bad day."""
        app = self.server.app
        day = app.cloud.bad_day if isinstance(app, Server) else None
        ahead_s = 0.0 if day is None else day.scenario.clock_s
        return super().date_time_string((time.time() if timestamp is None else timestamp) - ahead_s)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        _log.debug("%s %s", self.requestline, code)


def _http_server(app: Server, listener: socket.socket) -> BaseWSGIServer:
    server = make_server(
        "127.0.0.1",
        listener.getsockname()[1],
        app,
        threaded=True,
        request_handler=_Handler,
        fd=listener.detach(),
    )
    return server


def _listen(preferred: int) -> socket.socket:
    """A listening socket on the port of before, or on a free one if that is taken."""
    for port in dict.fromkeys((preferred, 0)):
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            listener.close()
            continue
        listener.listen(256)
        return listener
    raise OSError("No free port on 127.0.0.1")


def _free_port(preferred: int) -> int:
    with _listen(preferred) as listener:
        return int(listener.getsockname()[1])


def _json(body: dict[str, Any], status: int = 200) -> Response:
    return Response(json.dumps(body), status, content_type="application/json; charset=UTF-8")
