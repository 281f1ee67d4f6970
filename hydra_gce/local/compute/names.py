"""Names, links, ids, times and fingerprints as Compute Engine writes them."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

BASE = "https://www.googleapis.com/compute/v1"
NAME = "(?:[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?)"
LABEL_KEY = re.compile(r"[a-z][a-z0-9_-]{0,62}")
LABEL_VALUE = re.compile(r"[a-z0-9_-]{0,63}")
METADATA_KEY = re.compile(r"[a-zA-Z0-9_-]{1,128}")
_IS_NAME = re.compile(NAME)
_LINK = re.compile(
    r"(?:https?://[^/]+/(?:compute/)?(?:v1|beta|alpha)/)?/?(?:projects/(?P<project>[^/]+)/)?(?P<rest>.*)"
)
# The API's own clocks show Mountain View's time.
_PACIFIC = timezone(timedelta(hours=-8))


@dataclass(frozen=True)
class Link:
    """A reference to a resource, taken apart. `project` is None where the reference left it out."""

    project: str | None
    scope: str
    collection: str
    name: str


def is_name(text: str) -> bool:
    """RFC 1035: what every resource's name must look like."""
    return _IS_NAME.fullmatch(text) is not None


def link(project: str, *parts: str) -> str:
    """`https://www.googleapis.com/compute/v1/projects/<project>/…`"""
    return "/".join((BASE, "projects", project, *parts))


def parse_link(reference: str) -> Link | None:
    """Understand a full or a partial link: `zones/z/machineTypes/t`, `projects/p/global/images/i`, a URL of any host.

    A family link has the collection `images/family`. None where the text is no link at all (a bare name, for one).
    """
    match = _LINK.fullmatch(reference)
    if match is None:
        return None
    parts = match["rest"].split("/")
    if parts[0] == "global":
        scope, rest = "global", parts[1:]
    elif parts[0] in ("zones", "regions") and len(parts) >= 2:
        scope, rest = "/".join(parts[:2]), parts[2:]
    else:
        return None
    if len(rest) == 3 and rest[:2] == ["images", "family"]:
        return Link(match["project"], scope, "images/family", rest[2])
    if len(rest) != 2 or not all(rest):
        return None
    return Link(match["project"], scope, rest[0], rest[1])


def last(reference: str) -> str:
    """The last part of a link: the name."""
    return reference.rsplit("/", 1)[-1]


def region_of(zone: str) -> str:
    """`us-central1` of `us-central1-a`."""
    return zone.rsplit("-", 1)[0]


def timestamp(seconds: float) -> str:
    """RFC 3339 with milliseconds, as in `2024-06-26T11:42:22.006-08:00`."""
    return datetime.fromtimestamp(seconds, _PACIFIC).isoformat(timespec="milliseconds")


def seconds(text: str) -> float:
    """The time that `timestamp` wrote."""
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def fingerprint(value: Any) -> str:
    """Eight bytes in base64 that change when the value does."""
    digest = hashlib.sha256(json.dumps(value, sort_keys=True).encode()).digest()
    return base64.b64encode(digest[:8]).decode()


def stable_id(*parts: str) -> str:
    """A uint64 that belongs to this name for ever, for what Google made and we only show."""
    digest = hashlib.sha256("\0".join(parts).encode()).digest()
    return str(1000 + int.from_bytes(digest[:8], "big") % 9_000_000_000_000_000_000)


def project_number(project: str) -> str:
    """The twelve digits of a project."""
    return str(100_000_000_000 + int(stable_id("project", project)) % 899_999_999_999)
