"""Reading one mapping of a scenario, field by field; what is wrong is collected, and told in sentences."""

from __future__ import annotations

import difflib
import json
import math
from fnmatch import filter as matching
from typing import Any

Json = dict[str, Any]
_MISSING = object()


class ScenarioError(ValueError):
    """A scenario that cannot be: `mistakes` holds a sentence for each of its mistakes."""

    def __init__(self, mistakes: list[str]) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = mistakes


class Fields:
    """One mapping at `where` (`errors[0].answer`). A field that is wrong is told and read as its default."""

    def __init__(self, given: object, where: str, mistakes: list[str]) -> None:
        self._where = where
        self._mistakes = mistakes
        self._seen: list[str] = []
        self.given: Json = {}
        if isinstance(given, dict) and all(isinstance(key, str) for key in given):
            self.given = given
        else:
            mistakes.append(f"{where or 'The scenario'}: {_shown(given)} is no mapping of fields to values.")

    def mistake(self, name: str, value: object, rule: str) -> None:
        """Tell that a field's value cannot be."""
        value_shown = "missing" if value is None else _shown(value)
        self._mistakes.append(f"{self._path(name)}: {value_shown}; {rule}.")

    def no_more(self) -> None:
        """Tell each field that was given and that nobody has asked for."""
        for name in self.given:
            if name not in self._seen:
                near = difflib.get_close_matches(name, self._seen, 1)
                hint = f"did you mean {near[0]!r}" if near else f"known here: {', '.join(self._seen)}"
                self._mistakes.append(f"{self._path(name)}: there is no such field; {hint}.")

    def entries(self, name: str) -> list[Fields]:
        """The mappings of a list."""
        value = self._take(name)
        if value is _MISSING or value is None:
            return []
        if not isinstance(value, list):
            self.mistake(name, value, "it must be a list of entries")
            return []
        where = self._path(name)
        return [Fields(one, f"{where}[{index}]", self._mistakes) for index, one in enumerate(value)]

    def part(self, name: str) -> Fields | None:
        """A mapping within this one; None where it is not given."""
        value = self._take(name)
        return None if value is _MISSING else Fields(value, self._path(name), self._mistakes)

    def mappings(self, name: str) -> tuple[Json, ...]:
        """A list of mappings that go through as they are."""
        value = self._take(name)
        if value is _MISSING:
            return ()
        if not isinstance(value, list) or not all(isinstance(one, dict) and _is_json(one) for one in value):
            self.mistake(name, value, "it must be a list of mappings, as Google's error has them")
            return ()
        return tuple(value)

    def exactly_one(self, names: tuple[str, ...]) -> None:
        """Tell where none or several of these are given."""
        found = [name for name in names if self.given.get(name, False) is not False]
        if len(found) != 1:
            have = " and ".join(found) or "none of them"
            self._mistakes.append(
                f"{self._where}: it has {have}; it must have exactly one of {', '.join(names)}."
            )

    def wildcards(
        self, name: str, *, required: bool = False, among: tuple[str, ...] | None = None
    ) -> tuple[str, ...]:
        """One wildcard or a list of them; `*` where it is not given. `among`: names of which each must be for one."""
        value = self._take(name)
        if value is _MISSING:
            if required:
                self.mistake(name, None, "it must be one wildcard or a list of them")
            return ("*",)
        found = tuple(value) if isinstance(value, list) else (value,)
        if not found or not all(isinstance(one, str) and one for one in found):
            self.mistake(name, value, "it must be one wildcard or a list of them")
            return ("*",)
        for one in found:
            if among is not None and not matching(among, one):
                self.mistake(name, one, f"it must be for one of {', '.join(among)}")
        return found

    def text(self, name: str, default: str | None = None) -> str:
        """Words. Needed where there is no default."""
        value = self._take(name)
        if value is _MISSING and default is not None:
            return default
        if not isinstance(value, str) or (not value and default is None):
            self.mistake(name, None if value is _MISSING else value, "it must be a text")
            return ""
        return value

    def choice(self, name: str, allowed: tuple[str, ...]) -> str:
        """One of the allowed words."""
        value = self._take(name)
        if value in allowed:
            return str(value)
        self.mistake(name, None if value is _MISSING else value, f"it must be one of {', '.join(allowed)}")
        return allowed[0]

    def flag(self, name: str) -> bool:
        """true; or false, where it is not given."""
        value = self._take(name)
        if value is _MISSING:
            return False
        if not isinstance(value, bool):
            self.mistake(name, value, "it must be true or false")
        return value is True

    def number(
        self,
        name: str,
        default: float | None = None,
        *,
        low: float = 0.0,
        high: float = math.inf,
        whole: bool = False,
    ) -> float:
        """A number from `low` to `high`. Needed where there is no default."""
        value = self._take(name)
        if value is _MISSING and default is not None:
            return default
        if _is_number(value, whole) and low <= value <= high:
            return value  # type: ignore[no-any-return]
        kind = "a whole number" if whole else "a number"
        bounds = f" from {low:g} to {high:g}" if math.isfinite(high) else f" of {low:g} or more"
        self.mistake(
            name,
            None if value is _MISSING else value,
            f"it must be {kind}{bounds if math.isfinite(low) else ''}",
        )
        return default if default is not None else low

    def optional_number(self, name: str) -> float | None:
        """A number of 0 or more; None where it is not given."""
        self._seen.append(name)
        return self.number(name) if name in self.given else None

    def count(self, name: str) -> int | None:
        """A whole number of 0 or more; None where it is not given."""
        self._seen.append(name)
        return int(self.number(name, whole=True)) if name in self.given else None

    def share(self, name: str) -> float:
        """A number from 0 to 1; 1 where it is not given."""
        return self.number(name, 1.0, high=1.0)

    def span(self, name: str) -> tuple[float, float]:
        """`[least, most]`, or one number for both; 0 where it is not given."""
        value = self._take(name)
        if value is _MISSING:
            return (0.0, 0.0)
        ends = value if isinstance(value, list) and len(value) == 2 else [value, value]
        if all(_is_number(one, False) for one in ends) and 0 <= ends[0] <= ends[1]:
            return (float(ends[0]), float(ends[1]))
        self.mistake(name, value, "it must be a number of seconds, or [least, most]")
        return (0.0, 0.0)

    def _take(self, name: str) -> Any:
        self._seen.append(name)
        return self.given.get(name, _MISSING)

    def _path(self, name: str) -> str:
        return f"{self._where}.{name}" if self._where else name


def _is_number(value: object, whole: bool) -> bool:
    kinds: tuple[type, ...] = (int,) if whole else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds):
        return False
    return isinstance(value, int) or (isinstance(value, float) and math.isfinite(value))


def _is_json(value: object) -> bool:
    try:
        json.dumps(value)
    except (TypeError, ValueError):  # YAML has dates, and may refer to itself
        return False
    return True


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
