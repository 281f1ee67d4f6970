"""Lists as Compute Engine gives them: filtered, ordered, in pages, and by scope (`aggregated`)."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from typing import Any

from hydra_gce.local.compute.errors import ApiError, Json, invalid_value
from hydra_gce.local.compute.filters import compile_filter, values_at
from hydra_gce.local.compute.names import link

_MOST = 500


def page(kind: str, project: str, where: str, bodies: Sequence[Json], query: Json) -> Json:
    """A `list` answer: `kind` such as `compute#instanceList`, `where` such as `zones/us-central1-a/instances`."""
    chosen, token = _cut(_ordered(_filtered(bodies, query), query), query, where)
    answer: Json = {"kind": kind, "id": f"projects/{project}/{where}", "selfLink": link(project, where)}
    if chosen:
        answer["items"] = chosen
    if token:
        answer["nextPageToken"] = token
    return answer


def aggregated(
    kind: str,
    project: str,
    collection: str,
    bodies: Sequence[tuple[str, Json]],
    scopes: Sequence[str],
    query: Json,
) -> Json:
    """An `aggregatedList` answer over (scope, body) pairs; a scope with nothing on this page says so in a warning."""
    by_identity = {id(body): scope for scope, body in bodies}
    where = f"aggregated/{collection}"
    chosen, token = _cut(_ordered(_filtered([body for _, body in bodies], query), query), query, where)
    items: dict[str, Json] = {}
    for body in chosen:
        items.setdefault(by_identity[id(body)], {collection: []})[collection].append(body)
    for scope in scopes:
        items.setdefault(scope, {"warning": _nothing(scope)})
    answer: Json = {
        "kind": kind,
        "id": f"projects/{project}/{where}",
        "items": dict(sorted(items.items())),
        "selfLink": link(project, where),
    }
    if token:
        answer["nextPageToken"] = token
    return answer


def _filtered(bodies: Sequence[Json], query: Json) -> list[Json]:
    passes = compile_filter(query.get("filter", ""))
    return [body for body in bodies if passes(body)]


def _ordered(bodies: list[Json], query: Json) -> list[Json]:
    order = query.get("orderBy", "").strip()
    if not order:
        return sorted(bodies, key=lambda body: str(body["selfLink"]))
    field, _, direction = order.partition(" ")
    if direction not in ("", "asc", "desc"):
        raise invalid_value("orderBy", order, "Must be a field name, or a field name and 'desc'.")

    def key(body: Json) -> tuple[int, Any]:
        values = values_at(body, field.split("."))
        if not values:
            return (0, "")
        return (1, values[0]) if isinstance(values[0], (int, float)) else (2, str(values[0]))

    return sorted(bodies, key=key, reverse=direction == "desc")


def _cut(bodies: list[Json], query: Json, where: str) -> tuple[list[Json], str | None]:
    size = query.get("maxResults", _MOST)
    if not 0 <= size <= _MOST:
        raise invalid_value("maxResults", size, f"Values must be within the range: [0, {_MOST}]")
    size = size or _MOST
    start = _start(bodies, query, where)
    end = start + size
    if end >= len(bodies):
        return bodies[start:], None
    return bodies[start:end], _token(bodies[end - 1]["selfLink"], end, where, query)


def _token(last: str, offset: int, where: str, query: Json) -> str:
    text = json.dumps([last, offset, where, query.get("filter", ""), query.get("orderBy", "")])
    return base64.urlsafe_b64encode(text.encode()).decode()


def _start(bodies: list[Json], query: Json, where: str) -> int:
    """Where a page begins: behind the last resource of the page before, even if that one is gone by now."""
    token = query.get("pageToken", "")
    if not token:
        return 0
    try:
        last, offset, *rest = json.loads(base64.urlsafe_b64decode(token.encode()))
    except (binascii.Error, ValueError) as error:
        raise _bad_token(token) from error
    if rest != [where, query.get("filter", ""), query.get("orderBy", "")]:
        raise _bad_token(token)
    links = [body["selfLink"] for body in bodies]
    if last in links:
        return links.index(last) + 1
    if query.get("orderBy"):
        return min(int(offset), len(bodies))
    return next((index for index, link_ in enumerate(links) if link_ > last), len(links))


def _bad_token(token: str) -> ApiError:
    return invalid_value("pageToken", token, "Invalid page token: not given for this list, filter and order.")


def _nothing(scope: str) -> Json:
    return {
        "code": "NO_RESULTS_ON_PAGE",
        "message": f"There are no results for scope '{scope}' on this page.",
        "data": [{"key": "scope", "value": scope}],
    }
