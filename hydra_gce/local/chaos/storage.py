"""The way to Cloud Storage on a bad day: an HTTP proxy that refuses, loses, delays and cuts what a scenario names.

It stands on the public port only while a scenario has rules for Cloud Storage; on other days there is none.
"""

from __future__ import annotations

import contextlib
import http.client
import logging
import socket
import threading
from collections.abc import Callable, Iterator
from http import HTTPStatus
from typing import BinaryIO, cast

from hydra_gce.local.chaos import storage_calls
from hydra_gce.local.chaos.day import BadDay
from hydra_gce.local.chaos.errors import meet
from hydra_gce.local.chaos.scenario import ErrorRule, Scenario

_log = logging.getLogger(__name__)
_PIECE = 1 << 18
_LONGEST_LINE = 1 << 16
_OF_ONE_HOP = frozenset({"connection", "keep-alive", "proxy-connection", "transfer-encoding", "expect", "te"})
_UPSTREAM_WITHIN_S = 300.0


def concerns(scenario: Scenario) -> bool:
    """Whether a scenario has a rule for any request to Cloud Storage."""
    return any(rule.fits(name, None) for rule in scenario.errors for name in storage_calls.METHODS)


class _CutError(Exception):
    """The client's connection is to be closed here and now."""


class _Request:
    """One request of a client: its head, and its body still in the connection."""

    def __init__(self, stream: BinaryIO, first: bytes) -> None:
        self._stream = stream
        self.method, self.target, _ = first.decode("latin-1").rstrip("\r\n").split(" ")
        self.fields: list[tuple[str, str]] = []
        while line := stream.readline(_LONGEST_LINE).rstrip(b"\r\n"):
            name, _, value = line.decode("latin-1").partition(":")
            self.fields.append((name.strip(), value.strip()))
        self.headers = {name.lower(): value for name, value in self.fields}

    @property
    def chunked(self) -> bool:
        return self.headers.get("transfer-encoding", "").lower() == "chunked"

    def body(self) -> Iterator[bytes]:
        """The body in pieces. Raises ConnectionError if the client goes away in the middle of it."""
        if not self.chunked:
            yield from self._pieces(int(self.headers.get("content-length", "0")))
            return
        while size := int(self._stream.readline(_LONGEST_LINE).split(b";")[0], 16):
            yield from self._pieces(size)
            self._stream.readline(_LONGEST_LINE)
        while self._stream.readline(_LONGEST_LINE).rstrip(b"\r\n"):
            pass  # trailers say nothing that we need

    def _pieces(self, length: int) -> Iterator[bytes]:
        while length:
            piece = self._stream.read(min(length, _PIECE))
            if not piece:
                raise ConnectionError("the client went away in the middle of a request")
            length -= len(piece)
            yield piece


class StorageProxy:
    """Takes what comes to `listener` to the server on 127.0.0.1:`upstream`, until `close`."""

    def __init__(self, listener: socket.socket, upstream: int, day: Callable[[], BadDay | None]) -> None:
        self._listener = listener
        self._upstream = upstream
        self._day = day
        self._clients: set[socket.socket] = set()
        self._guard = threading.Lock()
        self._closed = threading.Event()

    def start(self) -> None:
        """Serve in the background."""
        threading.Thread(target=self._accept, name="storage proxy", daemon=True).start()

    def close(self) -> None:
        """Free the port; the connections that are open are cut."""
        self._closed.set()
        with contextlib.suppress(
            OSError
        ):  # wakes the thread that waits in accept(), where the system does so
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._guard:
            for client in self._clients:
                with contextlib.suppress(OSError):  # the client has gone by itself
                    client.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while not self._closed.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._serve, args=(client,), name="storage", daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with self._guard:
            self._clients.add(client)
        upstream = http.client.HTTPConnection("127.0.0.1", self._upstream, timeout=_UPSTREAM_WITHIN_S)
        try:
            with client, cast(BinaryIO, client.makefile("rb", _PIECE)) as stream:
                while (first := stream.readline(_LONGEST_LINE)) and not self._closed.is_set():
                    self._answer(client, _Request(stream, first), upstream)
        except _CutError:
            pass
        except (OSError, http.client.HTTPException, ValueError) as error:
            _log.debug("a connection to Cloud Storage ended: %s", error)
        finally:
            upstream.close()
            with self._guard:
                self._clients.discard(client)

    def _answer(self, client: socket.socket, request: _Request, upstream: http.client.HTTPConnection) -> None:
        rule = self._rule(request)
        if rule is not None and rule.cut:
            raise _CutError
        if request.headers.get("expect", "").lower() == "100-continue":
            client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        if rule is not None and rule.answer is not None:
            for _ in request.body():
                pass
            status, kind, body = storage_calls.refusal(rule.answer, request.target)
            fields = [("Content-Type", kind), ("Content-Length", str(len(body)))]
            client.sendall(_head(status, "", fields) + (b"" if request.method == "HEAD" else body))
            return
        response = _ask(upstream, request)
        if rule is not None and rule.slow_s:
            self._closed.wait(rule.slow_s)
        if rule is not None and rule.lost:
            response.read()
            raise _CutError
        _relay(client, request, response, None if rule is None else rule.cut_after_bytes)

    def _rule(self, request: _Request) -> ErrorRule | None:
        day, name = self._day(), storage_calls.name_of(request.method, request.target)
        met = None if day is None or name is None else meet(day, name, None)
        return None if met is None else met.rule


def _ask(upstream: http.client.HTTPConnection, request: _Request) -> http.client.HTTPResponse:
    """Carry the request out, body and all."""
    upstream.putrequest(request.method, request.target, skip_host=True, skip_accept_encoding=True)
    for name, value in request.fields:
        if name.lower() not in _OF_ONE_HOP:
            upstream.putheader(name, value)
    if request.chunked:
        upstream.putheader("Transfer-Encoding", "chunked")
    upstream.endheaders()
    for piece in request.body():
        upstream.send(b"%x\r\n%b\r\n" % (len(piece), piece) if request.chunked else piece)
    if request.chunked:
        upstream.send(b"0\r\n\r\n")
    return upstream.getresponse()


def _relay(
    client: socket.socket, request: _Request, response: http.client.HTTPResponse, cut_after: int | None
) -> None:
    """The answer, whole, or cut before its end after so many bytes of its body."""
    fields = [(name, value) for name, value in response.getheaders() if name.lower() not in _OF_ONE_HOP]
    length = response.length  # None where the server sends chunks
    bodiless = request.method == "HEAD" or response.status in (204, 304)
    chunked = length is None and not bodiless
    if chunked:
        fields.append(("Transfer-Encoding", "chunked"))
    left = None
    if cut_after is not None:
        if length == 0:
            raise _CutError
        left = cut_after if length is None else min(cut_after, max(0, length - 1))
    head = _head(response.status, response.reason, fields)
    while piece := response.read(_PIECE) if left is None else response.read(min(left, _PIECE)):
        client.sendall(head + (b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece))
        head = b""
        left = None if left is None else left - len(piece)
    if cut_after is not None:
        client.sendall(head)
        raise _CutError
    client.sendall(head + (b"0\r\n\r\n" if chunked else b""))


def _head(status: int, reason: str, fields: list[tuple[str, str]]) -> bytes:
    phrase = reason or (HTTPStatus(status).phrase if status in set(HTTPStatus) else "Error")
    lines = [f"HTTP/1.1 {status} {phrase}", *(f"{name}: {value}" for name, value in fields), "", ""]
    return "\r\n".join(lines).encode("latin-1")
