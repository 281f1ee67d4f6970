"""The metadata server of one VM, with the paths and the manners of Google's.

https://cloud.google.com/compute/docs/metadata/querying-metadata
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time

from hydra_gce.local.vm import http, layout, metadata

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_ROOT = "/computeMetadata/v1"
_LONGEST_WAIT_S = 3600.0
_TOKEN_LIFE_S = 3599


class MetadataServer:
    """Serves the tree in a machine's directory; changed() tells it that the file was written anew."""

    def __init__(self, directory: str, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._directory = directory
        self._monotonic = monotonic
        self.delay_s = 0.0  # that each answer comes too late
        self._change = threading.Condition()
        self._tree: dict[str, Any] = {}
        self._stamp: tuple[int, int] | None = None

    def tree(self) -> dict[str, Any]:
        """The tree as the file has it now: a request sees what was set before it, whether we were told or not."""
        path = f"{self._directory}/{layout.METADATA}"
        status = os.stat(path)
        stamp = (status.st_ino, status.st_mtime_ns)
        if stamp != self._stamp:
            with open(path, "rb") as file:
                self._tree = json.load(file)
            self._stamp = stamp
        return self._tree

    def changed(self) -> None:
        with self._change:
            self._change.notify_all()

    def answer(self, client: socket.socket) -> None:
        """Answers the requests of one connection."""
        rest = b""
        while True:
            try:
                request = http.read_request(client, rest)
                if request is None:
                    return
                body = http.read_body(client, request)
            except ValueError as error:
                client.sendall(self._page(400, f"Bad Request: {error}"))
                return
            time.sleep(self.delay_s)
            answer = self._respond(request, body)
            client.sendall(
                answer.partition(b"\r\n\r\n")[0] + b"\r\n\r\n" if request.method == "HEAD" else answer
            )
            if not request.keeps_alive:
                return
            rest = request.rest

    def _respond(self, request: http.Request, body: bytes) -> bytes:
        path, _, query = request.target.partition("?")
        if path in ("/", ""):
            return self._content(metadata.Content("computeMetadata/\n", "application/text"))
        if path in ("/computeMetadata", "/computeMetadata/"):
            return self._content(metadata.Content("v1/\n", "application/text"))
        if not (path == _ROOT or path.startswith(_ROOT + "/")):
            return self._page(404, f"The requested URL {path} was not found on this server.")
        if "x-forwarded-for" in request.headers:
            return self._page(403, "Requests with the X-Forwarded-For header are refused.")
        if request.headers.get("metadata-flavor", "").lower() != "google":
            return self._page(
                403,
                "Your client does not have permission to get this URL. Missing Metadata-Flavor:Google header.",
            )
        names = [_unquote(name) for name in path[len(_ROOT) :].split("/") if name]
        parameters = _parameters(query)
        try:
            if names[:2] == ["instance", "guest-attributes"] and request.method in ("PUT", "DELETE"):
                return self._write_guest_attribute(names[2:], request.method, body)
            if request.method not in ("GET", "HEAD"):
                return self._page(405, f"The request method {request.method} is inappropriate for this URL.")
            return self._get(path, names, parameters)
        except metadata.NotFoundError:
            return self._page(404, f"The requested URL {path} was not found on this server.")
        except PermissionError as error:
            return self._page(403, str(error))
        except ValueError as error:
            return self._page(400, f"Bad Request: {error}")

    def _get(self, path: str, names: list[str], parameters: dict[str, str]) -> bytes:
        special = self._service_account(names, parameters)
        if special is not None:
            return self._content(special)
        recursive = parameters.get("recursive", "").lower() == "true"
        node = self._node(names)
        if metadata.is_directory(node) and not path.endswith("/") and not recursive:
            return http.response(301, {**_OURS, "Location": f"{path}/"}, b"")
        as_json = {"json": True, "text": False}.get(parameters.get("alt", ""))

        def content() -> metadata.Content:
            return metadata.render(self._node(names), names, recursive=recursive, as_json=as_json)

        if parameters.get("wait_for_change", "").lower() == "true":
            return self._content(self._wait(content, parameters))
        return self._content(content())

    def _wait(self, content: Callable[[], metadata.Content], parameters: dict[str, str]) -> metadata.Content:
        """Holds the answer until it is another than last_etag names, or timeout_sec are over."""
        known = parameters.get("last_etag") or content().etag
        wait_s = min(float(parameters.get("timeout_sec") or _LONGEST_WAIT_S), _LONGEST_WAIT_S)
        deadline = self._monotonic() + wait_s
        with self._change:
            while (now := content()).etag == known:
                left = deadline - self._monotonic()
                if left <= 0:
                    break
                self._change.wait(min(left, 1.0))
        return now

    def _node(self, names: list[str]) -> Any:
        if names[:2] == ["instance", "guest-attributes"]:
            self._demand_guest_attributes()
            return metadata.find(self.guest_attributes(), names[2:])
        return metadata.find(self.tree(), names)

    def _service_account(self, names: list[str], parameters: dict[str, str]) -> metadata.Content | None:
        """A token or identity of one of the VM's service accounts: worth nothing outside of the embedded cloud."""
        if (
            names[:2] != ["instance", "service-accounts"]
            or len(names) != 4
            or names[3] not in ("token", "identity")
        ):
            return None
        account = metadata.find(self.tree(), names[:3])
        if names[3] == "token":
            token = {"access_token": "ya29.embedded", "expires_in": _TOKEN_LIFE_S, "token_type": "Bearer"}
            return metadata.Content(json.dumps(token), "application/json")
        audience = parameters.get("audience")
        if not audience:
            raise ValueError("non-empty audience parameter required")
        return metadata.Content(_unsigned_identity(str(account.get("email", "")), audience), "text/html")

    def guest_attributes(self) -> dict[str, dict[str, str]]:
        try:
            with open(f"{self._directory}/{layout.GUEST_ATTRIBUTES}", "rb") as file:
                written: dict[str, dict[str, str]] = json.load(file)
                return written
        except FileNotFoundError:
            return {}

    def _demand_guest_attributes(self) -> None:
        attributes = dict(self.tree().get("project", {}).get("attributes", {}))
        attributes.update(self.tree().get("instance", {}).get("attributes", {}))
        if str(attributes.get("enable-guest-attributes", "")).upper() not in ("TRUE", "1", "YES"):
            raise PermissionError("Guest attributes are disabled: set enable-guest-attributes to TRUE.")

    def _write_guest_attribute(self, names: list[str], method: str, body: bytes) -> bytes:
        self._demand_guest_attributes()
        if len(names) != 2:
            raise metadata.NotFoundError("a guest attribute is named by <namespace>/<key>")
        space, key = names
        with self._change:
            written = self.guest_attributes()
            if method == "PUT":
                written.setdefault(space, {})[key] = body.decode("utf-8", "replace")
            elif written.get(space, {}).pop(key, None) is None:
                raise metadata.NotFoundError(key)
            layout.replace(f"{self._directory}/{layout.GUEST_ATTRIBUTES}", json.dumps(written).encode())
            self._change.notify_all()
        return http.response(200, _OURS, b"")

    def _content(self, content: metadata.Content) -> bytes:
        headers = {**_OURS, "Content-Type": content.kind, "ETag": content.etag}
        return http.response(200, headers, content.body)

    def _page(self, status: int, sentence: str) -> bytes:
        page = (
            "<!DOCTYPE html>\n<html lang=en>\n  <meta charset=utf-8>\n"
            f"  <title>Error {status}</title>\n  <p><b>{status}.</b> <ins>That’s an error.</ins>\n"  # noqa: RUF001
            f"  <p>{sentence} <ins>That’s all we know.</ins>\n</html>\n"  # noqa: RUF001
        )
        return http.response(status, {**_OURS, "Content-Type": "text/html; charset=UTF-8"}, page.encode())


_OURS = {
    "Metadata-Flavor": "Google",
    "Server": "Metadata Server for VM",
    "X-XSS-Protection": "0",
    "X-Frame-Options": "SAMEORIGIN",
}


def _parameters(query: str) -> dict[str, str]:
    pairs = (pair.partition("=") for pair in query.split("&") if pair)
    return {_unquote(name): _unquote(value.replace("+", " ")) for name, _, value in pairs}


def _unquote(text: str) -> str:
    first, *others = text.split("%")
    decoded = first.encode()
    for piece in others:
        try:
            decoded += bytes([int(piece[:2], 16)]) + piece[2:].encode()
        except ValueError:
            decoded += b"%" + piece.encode()
    return decoded.decode("utf-8", "replace")


def _unsigned_identity(email: str, audience: str) -> str:
    import base64

    def part(document: dict[str, Any]) -> str:
        return base64.urlsafe_b64encode(json.dumps(document).encode()).rstrip(b"=").decode()

    now = int(time.time())
    claims = {
        "aud": audience,
        "azp": email,
        "email": email,
        "email_verified": True,
        "exp": now + 3600,
        "iat": now,
        "iss": "https://accounts.google.com",
        "sub": email,
    }
    return ".".join([part({"alg": "none", "typ": "JWT"}), part(claims), ""])
