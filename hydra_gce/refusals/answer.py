"""An error of Compute Engine, whichever of its shapes it came in, as the table reads it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Detail = Mapping[str, Any]

# google-api-core puts the request before the message: `_format_rest_error_message` in google/api_core/exceptions.py.
_REQUESTED = re.compile(r"^(?:GET|POST|PUT|PATCH|DELETE) https?://\S+: ")
# Not any "projects/…": the image or the network may be another project's.
_OF_PROJECT = re.compile(
    r"(?:\bproject=|\b[Ii]n project |^projects/)(?P<id>[a-z0-9][a-z0-9:.-]{4,}[a-z0-9])\b"
)
_SNAKE = re.compile(r"(?<=[a-z])([A-Z])")


@dataclass(frozen=True)
class Answer:
    """``codes``: the one that it came with, then the reasons of its details. ``text``: all that it says in words."""

    codes: tuple[str, ...]
    message: str
    text: str
    status: int | None
    details: Sequence[Detail]
    project: str | None

    def parts(self, name: str) -> Iterator[Detail]:
        """The details of one kind, as "errorInfo"; of an operation or of an HTTP answer (google.rpc, with "@type")."""
        kind = name[0].upper() + name[1:]
        for detail in self.details:
            inner = value(detail, name)
            if isinstance(inner, Mapping):
                yield inner
            elif str(detail.get("@type", "")).rpartition(".")[2] == kind:
                yield detail

    def metadata(self, name: str) -> str:
        """One of the facts that an errorInfo carries; "" where it does not."""
        for info in self.parts("errorInfo"):
            found = value(value(info, "metadatas") or value(info, "metadata") or {}, name)
            if found:
                return str(found)
        return ""

    @property
    def link(self) -> str:
        """The page that Google points to; "" without one."""
        links = [link for part in self.parts("help") for link in value(part, "links") or ()]
        return next((str(link["url"]) for link in links if link.get("url")), "")


def read(
    code: str, message: str, status: int | None, details: Sequence[Detail], project: str | None
) -> Answer:
    plain = _REQUESTED.sub("", message).strip()
    bare = Answer((code,), plain, plain, status, details, project)
    reasons = [str(value(info, "reason") or "") for info in bare.parts("errorInfo")]
    said = [str(value(part, "message") or "") for part in bare.parts("localizedMessage")]
    codes = tuple(dict.fromkeys(one for one in (code, *reasons) if one))
    text = "\n".join(one for one in (plain, *said) if one)
    return Answer(codes, plain, text, status, details, project or _project(bare))


def value(mapping: Detail, name: str) -> Any:
    """A field under its name in JSON, or under that of the Python client: quotaInfo, quota_info."""
    return mapping.get(name, mapping.get(_SNAKE.sub(r"_\1", name).lower()))


def _project(answer: Answer) -> str | None:
    found = _OF_PROJECT.search(answer.metadata("consumer")) or _OF_PROJECT.search(answer.message)
    return found.group("id") if found else None
