"""docs/setup.md says what there is."""

from __future__ import annotations

import re
from pathlib import Path

from hydra_gce.doctor.examine import CHECKS
from hydra_gce.setup.account import PERMISSIONS, ROLE_ID
from hydra_gce.setup.apis import APIS

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "setup.md").read_text(encoding="utf-8")


def test_every_check_has_its_row_in_the_order_of_the_report() -> None:
    table = PAGE.partition("| check |")[2].partition("\n\n")[0]
    assert re.findall(r"^\| `([^`]+)` \|", table, re.MULTILINE) == [check.NAME for check in CHECKS]


def test_what_setup_makes_is_told() -> None:
    table = PAGE.partition("| step |")[2].partition("\n\n")[0]
    for name in (*APIS, ROLE_ID, *PERMISSIONS, "roles/storage.objectUser", "35.235.240.0/20"):
        assert f"`{name.removesuffix('.googleapis.com')}`" in table or name in table
