"""Writes docs/settings.md from hydra_gce/settings.py: fields, defaults, and the comments above them."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import sys
from pathlib import Path
from typing import Any

from hydra_gce import settings

PAGE = Path(__file__).parents[1] / "docs" / "settings.md"
HEAD = """# Settings

Everything under `hydra.launcher`, made from `hydra_gce/settings.py` by `scripts/make_settings_page.py`. Set it on the
command line (`hydra.launcher.vm.gpu=T4`) or in a file `conf/hydra/launcher/<name>.yaml` that begins with

```yaml
defaults:
  - gce
```

and is chosen with `hydra/launcher=<name>`.
`python my_app.py hydra/launcher=gce --cfg hydra -p hydra.launcher` prints what holds.
"""


def main() -> int:
    """``--check`` writes nothing and ends with 1 where the page is not what it would be."""
    page = HEAD + "".join(section("hydra.launcher", settings.Settings, "The sweep."))
    if "--check" in sys.argv:
        return int(PAGE.read_text(encoding="utf-8") != page)
    PAGE.write_text(page, encoding="utf-8")
    return 0


def section(prefix: str, kind: Any, what: str) -> list[str]:
    """A table of one dataclass, and after it those of its fields that are dataclasses themselves."""
    said = comments(kind)
    rows, below = [], []
    for field in dataclasses.fields(kind):
        default = field.default_factory() if callable(field.default_factory) else field.default
        if dataclasses.is_dataclass(default):
            below += section(f"{prefix}.{field.name}", type(default), inspect.getdoc(type(default)) or "")
            continue
        rows.append(f"| `{field.name}` | `{written(default)}` | {said[field.name]} |\n")
    head = f"\n## {prefix}\n\n{what}\n\n| field | default | meaning |\n|---|---|---|\n"
    return [head, *rows, *below]


def comments(kind: Any) -> dict[str, str]:
    """The comment above each field; fields without one share that of the field before."""
    source = inspect.getsource(kind)
    lines = source.splitlines()
    said: dict[str, str] = {}
    last = ""
    (body,) = ast.parse(source).body
    assert isinstance(body, ast.ClassDef)
    for node in body.body:
        if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
            continue
        above = node.lineno - 2
        text: list[str] = []
        while lines[above].strip().startswith("#"):
            text.insert(0, lines[above].strip()[1:].strip())
            above -= 1
        last = " ".join(text).replace("|", "\\|") or last
        said[node.target.id] = last
    return said


def written(value: object) -> str:
    """As YAML has it."""
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


if __name__ == "__main__":
    sys.exit(main())
