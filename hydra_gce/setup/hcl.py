"""Terraform's language, as far as setup writes it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Ref:
    """An expression that is written as it stands: a reference to another resource."""

    expression: str


@dataclass(frozen=True)
class Block:
    """Fields that stand in a block of their own: `condition { ... }`."""

    fields: Mapping[str, Any]


def resource(kind: str, name: str, fields: Mapping[str, Any]) -> str:
    """A resource, as `terraform fmt` would leave it."""
    return f'resource "{kind}" "{name}" {{\n{body(fields, 2)}\n}}\n'


def body(fields: Mapping[str, Any], indent: int) -> str:
    """Arguments, aligned as `terraform fmt` aligns those that follow one another; a list of Blocks repeats its name."""
    pad, out, run = " " * indent, list[str](), list[tuple[str, Any]]()

    def flush() -> None:
        width = max((len(key) for key, _ in run), default=0)
        out.extend(f"{pad}{key:{width}} = {_value(value)}" for key, value in run)
        run.clear()

    for key, value in fields.items():
        blocks = value if isinstance(value, list) and value and isinstance(value[0], Block) else [value]
        if not isinstance(blocks[0], Block):
            run.append((key, value))
            continue
        flush()
        for block in blocks:
            if out:
                out.append("")
            out.append(f"{pad}{key} {{\n{body(block.fields, indent + 2)}\n{pad}}}")
    flush()
    return "\n".join(out)


def _value(value: Any) -> str:
    if isinstance(value, Ref):
        return value.expression
    if isinstance(value, Mapping):
        inner = ", ".join(f"{key} = {_value(one)}" for key, one in value.items())
        return f"{{ {inner} }}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_value(one) for one in value)}]"
    # In HCL as in JSON, but that "${" and "%{" begin a template.
    return json.dumps(value, ensure_ascii=False).replace("${", "$${").replace("%{", "%%{")
