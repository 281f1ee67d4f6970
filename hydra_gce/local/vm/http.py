"""Just enough of HTTP/1.1 for the metadata server and the proxy: the standard library's takes 80 ms to import."""

from __future__ import annotations

import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_LARGEST_HEAD = 1 << 16
_LARGEST_BODY = 1 << 20
_REASONS = {
    200: "OK",
    301: "Moved Permanently",
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    413: "Payload Too Large",
    502: "Bad Gateway",
    503: "Service Unavailable",
}


class Request:
    """method, target (as on the request line), headers (names in lower case), and what followed the head."""

    def __init__(
        self, method: str, target: str, version: str, headers: list[tuple[str, str]], rest: bytes
    ) -> None:
        self.method, self.target, self.version, self.rest = method, target, version, rest
        self.fields = headers
        self.headers = {name.lower(): value for name, value in headers}

    @property
    def keeps_alive(self) -> bool:
        return self.version == "HTTP/1.1" and self.headers.get("connection", "").lower() != "close"


def read_request(client: socket.socket, rest: bytes = b"") -> Request | None:
    """The next request of a connection, None at its end. Raises ValueError for what is not HTTP."""
    head = rest
    while b"\r\n\r\n" not in head:
        piece = client.recv(1 << 16)
        if not piece:
            return None
        head += piece
        if len(head) > _LARGEST_HEAD:
            raise ValueError("the head of the request is larger than 64 KiB")
    head, _, rest = head.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, version = first.split(" ")
    fields = []
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon:
            raise ValueError(f"header without a colon: {line!r}")
        fields.append((name.strip(), value.strip()))
    return Request(method, target, version, fields, rest)


def read_body(client: socket.socket, request: Request) -> bytes:
    """The body by Content-Length; what follows it stays in request.rest."""
    length = int(request.headers.get("content-length", "0"))
    if length > _LARGEST_BODY:
        raise ValueError("the body is larger than 1 MiB")
    body = request.rest
    while len(body) < length:
        piece = client.recv(1 << 16)
        if not piece:
            raise ValueError("the body ended early")
        body += piece
    request.rest = body[length:]
    return body[:length]


def response(status: int, headers: Mapping[str, str], body: bytes) -> bytes:
    lines = [
        f"HTTP/1.1 {status} {_REASONS[status]}",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode("latin-1") + body
