"""Pages that are made from the code are what the code says."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from scripts import record_provisioning, site_hooks
from scripts.embedded_lab import Lab
from tests import walked_page

ROOT = Path(__file__).parents[1]
PAGE = """
A file:

```yaml title="conf/a b.yaml"
x: $HOME
```

Typed:

```sh
cat conf/*
echo one \\
    two
```

To look at:

```
exit 1
```

```python
raise SystemExit
```
"""


def test_the_settings_page_is_the_settings() -> None:
    made = subprocess.run(
        [sys.executable, "scripts/make_settings_page.py", "--check"], cwd=ROOT, check=False, timeout=60
    )
    assert made.returncode == 0, "run: python scripts/make_settings_page.py"


def test_the_provisioning_page_says_of_refusals_what_the_launcher_says() -> None:
    page = record_provisioning.PAGE.read_text(encoding="utf-8")
    table = record_provisioning.refusals(Lab(ROOT, ROOT))
    made = record_provisioning.written(page, "refusals", table)
    assert made == page, "run: python -m scripts.record_provisioning refusals"


@pytest.mark.parametrize(
    ("html", "warned"),
    [
        ("<p>One:\n- two</p>", "a list"),
        ("<p>So it is:\n| a | b |</p>", "a table"),
        ("<p>```\ncode\n```</p>", "a fence"),
        ("<p>Right - as it is, 3. of 4</p><pre>- code\n| a |</pre>", ""),
    ],
)
def test_the_site_warns_of_markdown_that_it_shows_as_words(
    html: str, warned: str, caplog: pytest.LogCaptureFixture
) -> None:
    page = SimpleNamespace(file=SimpleNamespace(src_uri="page.md"))
    with caplog.at_level(logging.WARNING, "mkdocs.hooks"):
        assert site_hooks.on_page_content(html, page) == html
    assert [record.getMessage().split(": ")[1] for record in caplog.records] == [
        f"{warned} became running text"
    ] * bool(warned)


def test_a_walk_through_a_page_writes_what_has_a_title_and_types_what_is_for_the_shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "page.md").write_text(PAGE)
    monkeypatch.setattr(walked_page, "DOCS", tmp_path)
    walk = subprocess.run(
        ["bash"],
        input=walked_page.script_of("page.md"),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert walk.stdout == "$ cat conf/*\nx: $HOME\n$ echo one \\\n    two\none two\n"
