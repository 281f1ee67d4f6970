"""An HTTP server for a test, whose connections end with it."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from http.server import ThreadingHTTPServer
from typing import Any


class StubServer(ThreadingHTTPServer):
    """The standard one leaves a thread behind for each connection that its client keeps open, with all that the
    thread knows.
    """

    request_queue_size = 128  # many calls at once: with the standard 5, connections are reset

    def __init__(self, *arguments: Any) -> None:
        self._open: set[socket.socket] = set()
        self._changes = threading.Lock()
        super().__init__(*arguments)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._changes:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._changes:
            self._open.discard(request)
        super().shutdown_request(request)

    def server_close(self) -> None:
        super().server_close()
        with self._changes:
            for connection in self._open:
                with suppress(OSError):  # the client has ended it
                    connection.shutdown(socket.SHUT_RDWR)
