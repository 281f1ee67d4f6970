"""`POST /batch/compute/v1`: many requests in one, as gcloud sends them when it has more than one.

Each part of the `multipart/mixed` body is a request of its own in `application/http`, and so is each part of the
answer.
https://cloud.google.com/compute/docs/api/how-tos/batch
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from email.message import Message
from email.parser import BytesParser
from email.policy import HTTP

from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Request as HttpRequest
from werkzeug.wrappers import Response

from hydra_gce.local.compute.errors import ApiError

PATH = "/batch/compute/v1"
_MOST_CALLS = 1000


def answer_batch(http: HttpRequest, answer: Callable[[HttpRequest], Response]) -> Response:
    """All answers in the order of the calls. Raises 400 for a body that is no batch."""
    head = f"Content-Type: {http.content_type or ''}\r\n\r\n".encode()
    message = BytesParser(policy=HTTP).parsebytes(head + http.get_data())
    calls = [part for part in message.walk() if part.get_content_type() == "application/http"]
    if not calls or len(calls) > _MOST_CALLS:
        raise ApiError(
            400, "badRequest", f"A batch holds 1 to {_MOST_CALLS} calls in application/http parts."
        )
    parts = [_part(call, answer(_inner(call))) for call in calls]
    boundary = "batch_" + hashlib.sha256(b"".join(parts)).hexdigest()[:32]
    body = b"".join(b"--" + boundary.encode() + b"\r\n" + part + b"\r\n" for part in parts)
    content = body + b"--" + boundary.encode() + b"--\r\n"
    return Response(content, 200, content_type=f"multipart/mixed; boundary={boundary}")


def _inner(call: Message) -> HttpRequest:
    text = call.get_payload(decode=True)
    if not isinstance(text, bytes):
        raise ApiError(400, "badRequest", "A part of the batch has no request in it.")
    first, _, rest = text.lstrip().partition(b"\n")
    try:
        verb, target, _ = first.decode("ascii").split()
    except ValueError as error:
        raise ApiError(400, "badRequest", "A part of the batch begins with no request line.") from error
    request = BytesParser(policy=HTTP).parsebytes(rest)
    body = request.get_payload(decode=True)
    path, _, query = target.partition("?")
    headers = [(name, value) for name, value in request.items() if name.lower() != "content-length"]
    builder = EnvironBuilder(
        path, method=verb, query_string=query, headers=headers, data=body if isinstance(body, bytes) else b""
    )
    return HttpRequest(builder.get_environ())


def _part(call: Message, response: Response) -> bytes:
    content_id = str(call.get("Content-ID", "")).strip("<> ")
    body = response.get_data()
    lines = [
        "Content-Type: application/http",
        f"Content-ID: <response-{content_id}>",
        "",
        f"HTTP/1.1 {response.status}",
        f"Content-Type: {response.content_type}",
        f"Content-Length: {len(body)}",
        "",
        "",
    ]
    return "\r\n".join(lines).encode() + body
