"""Names that no setting has, and those that were probably meant."""

import dataclasses
import difflib
from collections.abc import Iterator, Mapping
from typing import Any, get_type_hints

from unet.errors import SettingsError


def refuse_unknown_names(given: Mapping[str, Any], settings: type) -> None:
    """Hold the names of a configuration against the fields of `settings`, a dataclass of dataclasses.

    Raises:
        SettingsError: with each name that is none, and what is near to it.
    """
    known = list(_names(settings, ""))
    unknown = list(_unknown(given, settings, ""))
    if unknown:
        raise SettingsError(
            "; ".join(f"there is no setting {name}{_hint(name, known)}" for name in unknown) + "."
        )


def _unknown(given: Mapping[str, Any], settings: Any, prefix: str) -> Iterator[str]:
    kinds = get_type_hints(settings)
    for key, value in given.items():
        name = f"{prefix}{key}"
        if key not in kinds:
            yield name
        elif isinstance(value, Mapping) and dataclasses.is_dataclass(kinds[key]):
            yield from _unknown(value, kinds[key], f"{name}.")


def _names(settings: Any, prefix: str) -> Iterator[str]:
    for key, kind in get_type_hints(settings).items():
        if dataclasses.is_dataclass(kind):
            yield from _names(kind, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def _hint(name: str, known: list[str]) -> str:
    last = name.rpartition(".")[2]
    same = [other for other in known if other.rpartition(".")[2] == last]
    near = same or difflib.get_close_matches(name, known, n=2, cutoff=0.6)
    return f" (is {' or '.join(near)} meant?)" if near else ""
