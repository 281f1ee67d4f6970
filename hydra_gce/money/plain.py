"""Frozen dataclasses as JSON's own values, and back exactly: prices as decimal strings, never as floats."""

from __future__ import annotations

import types
from dataclasses import fields, is_dataclass
from datetime import date
from decimal import Decimal
from enum import Enum
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")


def to_plain(value: Any) -> Any:
    """What `json.dumps` takes, of a dataclass whose fields are plain, decimals, dates, enums, or tuples of these."""
    if is_dataclass(value):
        return {field.name: to_plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, tuple):
        return [to_plain(one) for one in value]
    return value


def from_plain(kind: type[T], plain: dict[str, Any]) -> T:
    """The dataclass that `to_plain` took apart. A field that an older version did not write keeps its default.

    :raises TypeError: a field without a default is not there.
    """
    hints = get_type_hints(kind)
    known = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    return kind(**{name: _restored(hints[name], value) for name, value in plain.items() if name in known})


def _restored(kind: Any, plain: Any) -> Any:
    if get_origin(kind) in (Union, types.UnionType):
        (kind,) = [one for one in get_args(kind) if one is not types.NoneType]
    if plain is None:
        return None
    if get_origin(kind) is tuple:
        return tuple(_restored(get_args(kind)[0], one) for one in plain)
    if is_dataclass(kind):
        return from_plain(kind, plain)  # type: ignore[arg-type]
    if kind is date:
        return date.fromisoformat(plain)
    return kind(plain)
