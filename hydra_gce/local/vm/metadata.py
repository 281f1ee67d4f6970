"""The metadata tree and what a path of it means.

The tree is in the form of Google's own answer to `?recursive=true`: camelCase keys, a list where paths count 0/, 1/,
a dictionary where a path is a directory, and below "attributes" (and "guestAttributes") the user's own names as they
are. Paths use kebab-case: {"instance": {"serviceAccounts": ...}} is found at `instance/service-accounts/`.
https://cloud.google.com/compute/docs/metadata/predefined-metadata-keys
"""

from __future__ import annotations

import json
import zlib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_USERS_OWN = {"attributes", "guestAttributes", "serviceAccounts"}
"""Directories whose entries are names that people gave: never turned from camelCase to kebab-case."""

_HIDDEN = {"guestAttributes"}
"""Left out of recursive answers and listings of what lies above, as Google's server does."""


class NotFoundError(Exception):
    """No such path in the tree."""


class Content:
    """An answer: its body as text or JSON, and its etag, which changes when the body would."""

    def __init__(self, body: str, kind: str) -> None:
        self.body = body.encode()
        self.kind = kind
        self.etag = f"{zlib.crc32(self.body):08x}{zlib.adler32(self.body):08x}"


def find(tree: Any, path: list[str]) -> Any:
    """The node at a path such as ["instance", "service-accounts", "default"]. Raises NotFoundError."""
    node, users_own = tree, False
    for name in path:
        if isinstance(node, dict):
            key = name if users_own else next((key for key in node if kebab_case(key) == name), None)
            if key is None or key not in node:
                raise NotFoundError(name)
            node, users_own = node[key], key in _USERS_OWN
        elif _is_directory(node) and name.isdigit() and int(name) < len(node):
            node, users_own = node[int(name)], False
        else:
            raise NotFoundError(name)
    return node


def render(node: Any, path: list[str], *, recursive: bool, as_json: bool | None) -> Content:
    """The answer for a node; as_json None = as the server chooses: JSON for recursive answers, text otherwise."""
    users_own = bool(path) and _camel_case(path[-1]) in _USERS_OWN
    if _is_directory(node):
        if recursive:
            if as_json is False:
                return Content("".join(_lines(node, "", users_own)), "application/text")
            return Content(_dump(_visible(node)), "application/json")
        listing = _listing(node, users_own)
        if as_json:
            return Content(_dump([line.rstrip("/") for line in listing]), "application/json")
        return Content("".join(f"{line}\n" for line in listing), "application/text")
    if as_json or (isinstance(node, list) and as_json is None and not _is_lines(path)):
        return Content(_dump(node), "application/json")
    return Content(_text(node), "application/text")


def is_directory(node: Any) -> bool:
    return _is_directory(node)


def kebab_case(name: str) -> str:
    """serviceAccounts -> service-accounts."""
    return "".join(f"-{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("-")


def _camel_case(name: str) -> str:
    first, *others = name.split("-")
    return first + "".join(word.capitalize() for word in others)


def _is_directory(node: Any) -> bool:
    return isinstance(node, dict) or (isinstance(node, list) and bool(node) and isinstance(node[0], dict))


def _is_lines(path: list[str]) -> bool:
    """A service account's scopes and aliases are lines in text, the tags of an instance are JSON."""
    return bool(path) and path[-1] in ("scopes", "aliases")


def _visible(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: _visible(value) for key, value in node.items() if key not in _HIDDEN}
    return [_visible(value) for value in node] if isinstance(node, list) else node


def _entries(node: Any, users_own: bool) -> list[tuple[str, str, Any]]:
    """Name in a path, key, and value of what lies in a directory, sorted as the server lists it."""
    if isinstance(node, list):
        return [(str(index), str(index), value) for index, value in enumerate(node)]
    named = [
        (key if users_own else kebab_case(key), key, value)
        for key, value in node.items()
        if key not in _HIDDEN
    ]
    return sorted(named, key=lambda entry: entry[0])


def _listing(node: Any, users_own: bool) -> list[str]:
    return [f"{name}/" if _is_directory(value) else name for name, _, value in _entries(node, users_own)]


def _lines(node: Any, prefix: str, users_own: bool) -> list[str]:
    lines: list[str] = []
    for name, key, value in _entries(node, users_own):
        if _is_directory(value):
            lines += _lines(value, f"{prefix}{name}/", key in _USERS_OWN)
        else:
            lines.append(f"{prefix}{name} {_text(value)}\n")
    return lines


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, list):
        return "".join(f"{item}\n" for item in value)
    return str(value)


def _dump(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))
