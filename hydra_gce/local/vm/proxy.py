"""The guest's way to the world: an HTTP proxy (CONNECT, and plain http) that uses this machine's own way out."""

from __future__ import annotations

import base64
import socket

from hydra_gce.local.vm import http, network

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

PORT = 3128


class Proxy:
    """upstream: this machine's own proxy settings (http_proxy, https_proxy, no_proxy), which are followed."""

    def __init__(self, upstream: Mapping[str, str]) -> None:
        self._upstream = {name.lower(): value for name, value in upstream.items()}

    def answer(self, client: socket.socket) -> None:
        try:
            request = http.read_request(client)
            if request is None:
                return
            if request.method == "CONNECT":
                self._tunnel(client, request)
            else:
                self._relay(client, request)
        except ValueError as error:
            client.sendall(http.response(400, {"Connection": "close"}, f"{error}\n".encode()))

    def _tunnel(self, client: socket.socket, request: http.Request) -> None:
        host, port = _address(request.target, 443)
        upstream = self._proxy_for("https_proxy", host)
        try:
            server = _connect(*upstream[:2]) if upstream else _connect_outside(host, port)
        except OSError as error:
            _refuse(client, host, error)
            return
        with server:
            if upstream:
                authorization = f"Proxy-Authorization: {upstream[2]}\r\n" if upstream[2] else ""
                head = f"CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n{authorization}\r\n"
                server.sendall(head.encode())
            else:
                client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            server.sendall(request.rest)
            network.join(client, server)

    def _relay(self, client: socket.socket, request: http.Request) -> None:
        """One request to one server per connection: simple, and enough for apt and pip."""
        if not request.target.startswith("http://"):
            raise ValueError(f"this is a proxy; it takes http:// addresses, not {request.target!r}")
        authority, slash, path = request.target[len("http://") :].partition("/")
        host, port = _address(authority, 80)
        upstream = self._proxy_for("http_proxy", host)
        try:
            server = _connect(*upstream[:2]) if upstream else _connect_outside(host, port)
        except OSError as error:
            _refuse(client, host, error)
            return
        dropped = {"connection", "proxy-connection", "proxy-authorization", "keep-alive"}
        lines = [f"{request.method} {request.target if upstream else slash + path or '/'} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in request.fields if name.lower() not in dropped]
        if upstream and upstream[2]:
            lines.append(f"Proxy-Authorization: {upstream[2]}")
        lines.append("Connection: close")
        with server:
            server.sendall("\r\n".join([*lines, "", ""]).encode("latin-1") + request.rest)
            network.join(client, server)

    def _proxy_for(self, setting: str, host: str) -> tuple[str, int, str] | None:
        """Host, port and Proxy-Authorization of this machine's own proxy, None where it goes out directly."""
        address = self._upstream.get(setting) or self._upstream.get("all_proxy")
        if not address or self._goes_directly(host):
            return None
        scheme, _, rest = address.rpartition("://")
        if scheme not in ("", "http"):
            raise ValueError(
                f"this machine's {setting} is a {scheme} proxy; VMs can pass through http proxies only"
            )
        credentials, _, authority = rest.rstrip("/").rpartition("@")
        proxy_host, proxy_port = _address(authority, 80)
        return (
            proxy_host,
            proxy_port,
            f"Basic {base64.b64encode(credentials.encode()).decode()}" if credentials else "",
        )

    def _goes_directly(self, host: str) -> bool:
        for entry in self._upstream.get("no_proxy", "").split(","):
            domain = entry.strip().lower().lstrip("*.")
            if entry.strip() == "*" or (domain and f".{host.lower()}".endswith(f".{domain}")):
                return True
        return False


def _address(authority: str, default: int) -> tuple[str, int]:
    host, colon, port = authority.rpartition(":")
    if colon and port.isdigit():
        return host.strip("[]"), int(port)
    return authority.strip("[]"), default


def _connect(host: str, port: int) -> socket.socket:
    server = socket.create_connection((host, port), timeout=30)
    server.settimeout(None)
    return server


def _connect_outside(host: str, port: int) -> socket.socket:
    """A connection to the world, not to this machine's own loopback, which no VM of a cloud could reach."""
    for *_, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        if str(address[0]).startswith(("127.", "0.", "::1", "::ffff:127.")) or address[0] == "::":
            raise ConnectionRefusedError(f"{address[0]} is this machine itself, which a VM does not see")
    return _connect(host, port)


def _refuse(client: socket.socket, host: str, error: OSError) -> None:
    client.sendall(
        http.response(
            502, {"Connection": "close"}, f"{host} cannot be reached from this machine: {error}\n".encode()
        )
    )
