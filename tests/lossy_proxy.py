"""A way to a server that loses answers: the request is carried out, and its sender hears nothing."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import TypeVar
from urllib.parse import urlsplit

from tests.stub_server import StubServer

Proxy = TypeVar("Proxy", bound="LossyProxy")


class LossyProxy:
    """Hands on HTTP requests to ``target``. What is to go wrong is asked for each request, by its method and path:

    ``lose``: whether the answer is not handed on and the connection is cut; ``cut``: after how many bytes of its
    content it is; ``spoil``: whether the content's first byte is another; ``refuse``: with which status the request is
    answered without being handed on. ``seen`` lists all requests, ``lost`` and ``refused`` count.
    """

    def __init__(self, target: str) -> None:
        self.lose: Callable[[str, str], bool] = lambda method, path: False
        self.cut: Callable[[str, str], int | None] = lambda method, path: None
        self.spoil: Callable[[str, str], bool] = lambda method, path: False
        self.refuse: Callable[[str, str], int | None] = lambda method, path: None
        self.seen: list[tuple[str, str]] = []
        self.lost = 0
        self.refused = 0
        self._target = urlsplit(target).netloc
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                proxy._hand_on(self)

            do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = answer

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = StubServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def _hand_on(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        self.seen.append((request.command, request.path))
        status = self.refuse(request.command, request.path)
        if status is not None:
            self.refused += 1
            request.send_response(status)
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        onward = http.client.HTTPConnection(self._target, timeout=30)
        headers = {
            name: value for name, value in request.headers.items() if name.lower() != "accept-encoding"
        }
        onward.request(request.command, request.path, body, headers)
        answer = onward.getresponse()
        content = answer.read()
        onward.close()
        if self.lose(request.command, request.path):
            self._hang_up(request)
            return
        if content and self.spoil(request.command, request.path):
            content = bytes([content[0] ^ 1]) + content[1:]
        request.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("transfer-encoding", "content-length", "connection", "date", "server"):
                request.send_header(name, value)
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        whole = self.cut(request.command, request.path)
        if whole is not None and whole < len(content):
            request.wfile.write(content[:whole])
            self._hang_up(request)
            return
        request.wfile.write(content)

    def _hang_up(self, request: BaseHTTPRequestHandler) -> None:
        self.lost += 1
        request.wfile.flush()
        request.connection.shutdown(socket.SHUT_RDWR)
        request.close_connection = True


@contextmanager
def lossy_proxy(target: str) -> Iterator[LossyProxy]:
    with serving(LossyProxy(target)) as proxy:
        yield proxy


@contextmanager
def serving(proxy: Proxy) -> Iterator[Proxy]:
    thread = threading.Thread(target=proxy.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.server.shutdown()
        proxy.server.server_close()
        thread.join()
