"""Which of a list of pinned requirements the running Python has: by names of folders, in a few milliseconds.

    python -I pins.py < requirements.txt

Runs in the environment that is looked at, on any Python from 3.8 on, with the standard library only. Prints
JSON: "python" is the Python's minor version, "missing" the lines that are not met, "unclear" those that only
uv can judge.
"""

from __future__ import annotations

import ast
import json
import os
import platform
import re
import sys
from collections.abc import Iterator
from typing import Any

_PIN = re.compile(r"(?P<name>[\w.-]+)(\[[^]]*])?\s*==\s*(?P<version>[^\s;,*]+)\s*(;\s*(?P<marker>.+))?$")


def main() -> None:
    missing, unclear = compare(sys.stdin.read(), dict(installed(sys.path)), facts())
    print(json.dumps({"python": facts()["python_version"], "missing": missing, "unclear": unclear}))


def facts() -> dict[str, str]:
    """What markers may ask about the running Python."""
    return {
        "python_version": "{}.{}".format(*sys.version_info),
        "python_full_version": platform.python_version(),
        "implementation_name": sys.implementation.name,
        "platform_python_implementation": platform.python_implementation(),
        "os_name": os.name,
        "sys_platform": sys.platform,
        "platform_system": platform.system(),
        "platform_machine": platform.machine(),
        "extra": "",
    }


def compare(
    requirements: str, installed: dict[str, str], facts: dict[str, str]
) -> tuple[list[str], list[str]]:
    """The requirements that are not met, and those of which only uv can tell."""
    missing, unclear = [], []
    for line in requirements.splitlines():
        line = line.partition(" #")[0].strip()
        if not line or line[0] in "#-":
            continue
        pin = _PIN.match(line)
        try:
            if pin is None:
                unclear.append(line)
            elif pin["marker"] and not holds(pin["marker"], facts):
                continue
            elif not _same(pin["version"], installed.get(_canonical(pin["name"]))):
                missing.append(line)
        except ValueError:
            unclear.append(line)
    return missing, unclear


def holds(marker: str, facts: dict[str, str]) -> bool:
    """Whether a marker (https://packaging.python.org/specifications/dependency-specifiers/) holds.

    :raises ValueError: it says something that is not known here.
    """
    try:
        return bool(_value(ast.parse(marker.strip(), mode="eval").body, facts))
    except (SyntaxError, KeyError) as error:
        raise ValueError(marker) from error


def _value(node: ast.AST, facts: dict[str, str]) -> Any:
    """Markers are written in a part of Python's own grammar."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.Name):
        return facts[node.id]
    if isinstance(node, ast.BoolOp):
        values = [_value(part, facts) for part in node.values]
        return all(values) if isinstance(node.op, ast.And) else any(values)
    if isinstance(node, ast.Compare) and len(node.ops) == 1:
        return _compared(node, facts)
    raise ValueError(ast.dump(node))


def _compared(node: ast.Compare, facts: dict[str, str]) -> bool:
    left, operator, right = _value(node.left, facts), node.ops[0], _value(node.comparators[0], facts)
    if isinstance(operator, ast.In):
        return left in right
    if isinstance(operator, ast.NotIn):
        return left not in right
    if any(isinstance(side, ast.Name) and "version" in side.id for side in (node.left, node.comparators[0])):
        left, right = _release(left), _release(right)
        width = max(len(left), len(right))
        left, right = left + (0,) * (width - len(left)), right + (0,) * (width - len(right))
    elif not isinstance(operator, (ast.Eq, ast.NotEq)):
        raise ValueError(ast.dump(node))
    outcomes: dict[type[ast.cmpop], bool] = {
        ast.Eq: left == right,
        ast.NotEq: left != right,
        ast.Lt: left < right,
        ast.LtE: left <= right,
        ast.Gt: left > right,
        ast.GtE: left >= right,
    }
    return outcomes[type(operator)]


def _release(version: str) -> tuple[int, ...]:
    """:raises ValueError: the version has more than numbers."""
    return tuple(int(part) for part in version.split("."))


def _same(wanted: str, found: str | None) -> bool:
    if found is None:
        return False
    if "+" not in wanted:
        found = found.partition("+")[0]
    try:
        return _without_zeros(_release(wanted)) == _without_zeros(_release(found))
    except ValueError:
        return wanted == found


def _without_zeros(release: tuple[int, ...]) -> tuple[int, ...]:
    while release and release[-1] == 0:
        release = release[:-1]
    return release


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def installed(path: list[str]) -> Iterator[tuple[str, str]]:
    """Names and versions of distributions on a sys.path; the first entry's come last, to win in a dict."""
    for folder in reversed(path):
        for entry in os.listdir(folder) if os.path.isdir(folder) else ():
            stem, kind = os.path.splitext(entry)
            if kind == ".dist-info":
                name, _, version = stem.rpartition("-")
                yield _canonical(name), version
            elif kind == ".egg-info" and "-" in stem:
                yield _canonical(stem.split("-")[0]), stem.split("-")[1]


if __name__ == "__main__":
    main()
