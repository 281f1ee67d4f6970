"""The part of Google's discovery document that is served here: methods, their parameters, and the schemas of bodies.

`api.json` is cut out of Google's own `compute.v1.json` by `tests/local/api_extract.py`; a test holds the two together.
A type in it is a string ("string", "int64", "Instance"), a list of one for arrays, {"*": type} for maps,
{"enum": [...]} for enumerations, and {"fields": {...}} for an object in place.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, cast

from hydra_gce.local.compute.errors import ApiError, Json

_INTEGERS = {"int32": 32, "uint32": 32, "int64": 64, "uint64": 64}
_WIRE_NAME = {
    "string": "TYPE_STRING",
    "byte": "TYPE_BYTES",
    "boolean": "TYPE_BOOL",
    "int32": "TYPE_INT32",
    "uint32": "TYPE_UINT32",
    "int64": "TYPE_INT64",
    "uint64": "TYPE_UINT64",
    "number": "TYPE_DOUBLE",
}
# Parameters that every method of a Google API takes.
_EVERYWHERE = frozenset(
    [
        "$.xgafv",
        "access_token",
        "alt",
        "$alt",
        "callback",
        "fields",
        "key",
        "oauth_token",
        "prettyPrint",
        "quotaUser",
        "uploadType",
        "upload_protocol",
        "userIp",
        "trace",
    ]
)
_SNAKE = re.compile(r"(?<!^)(?=[A-Z])")


@dataclass(frozen=True)
class Method:
    """One method of the API."""

    name: str
    verb: str
    path: str
    query: dict[str, Any]
    request: str | None


@cache
def _document() -> dict[str, Any]:
    return cast(dict[str, Any], json.loads((files(__package__) / "api.json").read_text()))


@cache
def methods() -> dict[str, Method]:
    """All methods that can be served, by name: `instances.insert`."""
    return {name: Method(name=name, **entry) for name, entry in _document()["methods"].items()}


def read_query(method: Method, given: dict[str, str]) -> Json:
    """The query parameters in their types. Raises 400 for one that the method does not have."""
    values: Json = {}
    for name, text in given.items():
        if name in method.query:
            values[name] = _parameter(name, method.query[name], text)
        elif name not in _EVERYWHERE:
            raise _bad_request(
                name,
                f'Invalid JSON payload received. Unknown name "{name}": Cannot bind query parameter. '
                f"Field '{name}' could not be found in request message.",
            )
    return values


def read_body(method: Method, body: object) -> Json:
    """The body with each value in its type's own form, nulls left out. Raises 400 as Google's front door does."""
    if method.request is None:
        return {}
    if not isinstance(body, dict):
        raise _bad_request("resource", "Invalid JSON payload received. Unexpected token.\n^")
    return cast(Json, _read(method.request, body, "resource"))


def _read(kind: Any, value: Any, path: str) -> Any:
    if isinstance(kind, list):
        if not isinstance(value, list):
            raise _bad_value(path, "TYPE_MESSAGE", value)
        return [_read(kind[0], item, f"{path}[{i}]") for i, item in enumerate(value)]
    if isinstance(kind, dict):
        if "enum" in kind:
            return _read_enum(kind["enum"], value, path)
        if "fields" in kind:
            return _read_object(kind["fields"], value, path)
        if not isinstance(value, dict):
            raise _bad_value(path, "TYPE_MESSAGE", value)
        return {key: _read(kind["*"], item, f"{path}.{key}") for key, item in value.items()}
    if kind in _INTEGERS:
        return _read_integer(kind, value, path)
    if kind in ("string", "byte"):
        if not isinstance(value, str):
            raise _bad_value(path, _WIRE_NAME[kind], value)
        return value
    if kind == "boolean":
        if not isinstance(value, bool):
            raise _bad_value(path, "TYPE_BOOL", value)
        return value
    if kind == "number":
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise _bad_value(path, "TYPE_DOUBLE", value)
        return value
    if kind == "any":
        return value
    return _read_object(_document()["schemas"][kind], value, path)


def _read_object(fields: dict[str, Any], value: Any, path: str) -> Json:
    if not isinstance(value, dict):
        raise _bad_value(path, "TYPE_MESSAGE", value)
    result: Json = {}
    for name, item in value.items():
        if name not in fields:
            raise _bad_request(
                path,
                f"Invalid JSON payload received. Unknown name \"{name}\" at '{_wire(path)}': Cannot find field.",
            )
        if item is not None:
            result[name] = _read(fields[name], item, f"{path}.{name}")
    return result


def _read_enum(allowed: list[str], value: Any, path: str) -> str:
    if not isinstance(value, str):
        raise _bad_value(path, "TYPE_STRING", value)
    if value not in allowed:
        raise ApiError(
            400, "invalid", f"Invalid value for field '{path}': '{value}'. Must be one of {allowed}."
        )
    return value


def _read_integer(kind: str, value: Any, path: str) -> int | str:
    number: int | None = None
    if isinstance(value, int) and not isinstance(value, bool):
        number = value
    elif (isinstance(value, float) and value.is_integer()) or (
        isinstance(value, str) and re.fullmatch(r"-?\d{1,20}", value)
    ):
        number = int(value)
    bits = _INTEGERS[kind]
    low, high = (0, 2**bits) if kind.startswith("u") else (-(2 ** (bits - 1)), 2 ** (bits - 1))
    if number is None or not low <= number < high:
        raise _bad_value(path, _WIRE_NAME[kind], value)
    return number if bits == 32 else str(number)


def _parameter(name: str, kind: Any, text: str) -> Any:
    if kind == "boolean":
        if text.lower() not in ("true", "false"):
            raise _bad_value(name, "TYPE_BOOL", text)
        return text.lower() == "true"
    if kind in _INTEGERS:
        return int(_read_integer(kind, text, name))
    if isinstance(kind, dict):
        return _read_enum(kind["enum"], text, name)
    return text


def _bad_value(path: str, wire_type: str, value: object) -> ApiError:
    return _bad_request(_wire(path), f"Invalid value at '{_wire(path)}' ({wire_type}), {json.dumps(value)}")


def _bad_request(field: str, message: str) -> ApiError:
    violation = {"field": field, "description": message}
    details = [{"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": [violation]}]
    return ApiError(400, "badRequest", message, status=True, details=details)


def _wire(path: str) -> str:
    """The front door speaks of fields in snake case."""
    return ".".join(_SNAKE.sub("_", part).lower() for part in path.split("."))
