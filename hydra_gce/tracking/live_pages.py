"""MLflow's server with pages that look for news every two seconds, for ``mlflow server --app-name hydra-gce``.

MLflow's pages ask for new metrics every 30 seconds, and no setting of theirs changes that. Here the one HTML file that
all its pages begin with gets a script in front of MLflow's own, which shortens those pauses; all else is MLflow's.
Where a coming version of MLflow pauses in another way, its pages work as that version means them to.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

# As in https://asgi.readthedocs.io/en/latest/specs/main.html
Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

LOOK_S = 2
_MLFLOWS_LOOK_S = 30
# A request's own time limit is 30 seconds, too, and stays.
_SCRIPT = f"""<script>
for (const name of ["setTimeout", "setInterval"]) {{
  const own = window[name].bind(window);
  window[name] = (call, ms, ...rest) =>
    own(call, ms === {_MLFLOWS_LOOK_S * 1000} && !/abort/.test(call) ? {LOOK_S * 1000} : ms, ...rest);
}}
</script>""".encode()
_HEAD = b"<head>"
_OF_A_COPY = {b"if-none-match", b"if-modified-since"}
_OF_THE_FILE = {b"content-length", b"etag", b"last-modified"}


class LivePages:
    """An ASGI application in front of MLflow's."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != "/":
            await self._app(scope, receive, send)
            return
        started: Message = {}
        parts: list[bytes] = []

        async def gather(message: Message) -> None:
            if message["type"] == "http.response.start":
                started.update(message)
                return
            parts.append(message.get("body", b""))
            if message.get("more_body"):
                return
            body = b"".join(parts).replace(_HEAD, _HEAD + _SCRIPT, 1)
            headers = [pair for pair in started["headers"] if pair[0].lower() not in _OF_THE_FILE]
            headers.append((b"content-length", str(len(body)).encode()))
            await send({**started, "headers": headers})
            await send({"type": "http.response.body", "body": body})

        # A browser's copy of the page may be from a server without the script: "not modified" is no answer.
        asked = [pair for pair in scope["headers"] if pair[0].lower() not in _OF_A_COPY]
        await self._app({**scope, "headers": asked}, receive, gather)


def make_app() -> LivePages:
    """As uvicorn asks for it."""
    from mlflow.server.fastapi_app import (
        app,  # only where it serves: `mlflow server` looks at this module, too
    )

    return LivePages(app)
