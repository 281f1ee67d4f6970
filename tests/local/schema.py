"""Holds JSON against Google's own schema of Compute Engine: unknown fields, types, enums, int64 as strings."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

from tests.local.api_extract import discovery

_PREFIX = "/compute/v1/"


@cache
def _methods() -> list[tuple[str, re.Pattern[str], dict[str, Any]]]:
    found: list[tuple[str, re.Pattern[str], dict[str, Any]]] = []
    for resource in discovery()["resources"].values():
        for method in resource.get("methods", {}).values():
            pattern = re.sub(r"\{\w+\}", "[^/]+", method["path"])
            found.append((method["httpMethod"], re.compile(pattern), method))
    # Literal paths before those with parameters: `images/family/x` is no image called `family`.
    return sorted(found, key=lambda entry: entry[2]["path"].count("{"))


def method_of(verb: str, path: str) -> dict[str, Any]:
    """The entry of Google's document that a request is a call of."""
    for method_verb, pattern, method in _methods():
        if verb == method_verb and pattern.fullmatch(path.removeprefix(_PREFIX)):
            return method
    raise AssertionError(f"Google has no method {verb} {path}")


def violations(verb: str, path: str, request: Any, status: int, answer: Any) -> list[str]:
    """What an exchange has that Google's schema has not."""
    method = method_of(verb, path)
    if status >= 400:
        return list(_error(answer))
    found: list[str] = []
    if "request" in method:
        found += _check(method["request"], request, "request")
    if "response" in method:
        found += _check(method["response"], answer, "answer")
    return [f"{verb} {path}: {one}" for one in found]


def _error(answer: Any) -> Iterator[str]:
    error = answer.get("error", {})
    if not isinstance(error.get("code"), int) or not isinstance(error.get("message"), str):
        yield f"an error without code and message: {answer}"
    for entry in error.get("errors", [{}]):
        if not {"message", "domain", "reason"} <= set(entry):
            yield f"an error entry without message, domain and reason: {entry}"


def _check(schema: dict[str, Any], value: Any, path: str) -> Iterator[str]:
    if "$ref" in schema:
        schema = discovery_schemas()[schema["$ref"]]
    kind = schema.get("type", "any")
    if kind == "object":
        yield from _object(schema, value, path)
    elif kind == "array":
        if not isinstance(value, list):
            yield f"{path} is no array: {value!r}"
        else:
            for index, item in enumerate(value):
                yield from _check(schema["items"], item, f"{path}[{index}]")
    elif kind != "any" and not _is(kind, schema.get("format"), value):
        yield f"{path} is no {schema.get('format', kind)}: {value!r}"
    elif "enum" in schema and value not in schema["enum"]:
        yield f"{path} is none of {schema['enum']}: {value!r}"


def _object(schema: dict[str, Any], value: Any, path: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{path} is no object: {value!r}"
        return
    properties, extra = schema.get("properties", {}), schema.get("additionalProperties")
    for key, item in value.items():
        if key in properties:
            yield from _check(properties[key], item, f"{path}.{key}")
        elif extra is not None:
            yield from _check(extra, item, f"{path}.{key}")
        else:
            yield f"{path}.{key} is unknown to Google"


def _is(kind: str, form: str | None, value: Any) -> bool:
    if kind == "boolean":
        return isinstance(value, bool)
    if kind == "integer":
        return isinstance(value, int) and not isinstance(value, bool)
    if kind == "number":
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if form in ("int64", "uint64"):
        return isinstance(value, str) and re.fullmatch(r"-?\d+", value) is not None
    return isinstance(value, str)


@cache
def discovery_schemas() -> dict[str, Any]:
    schemas: dict[str, Any] = discovery()["schemas"]
    return schemas
