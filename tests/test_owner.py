"""An owner's label is one that Compute Engine takes."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hydra_gce.owner import owner_here, owner_label

VALUE = re.compile(r"[a-z0-9_-]{1,63}")


@pytest.mark.parametrize(
    ("user", "host", "label"),
    [
        ("ada", "laptop.example.org", "ada_at_laptop"),
        ("Ada.Lovelace", "MacBook-Pro", "ada-lovelace_at_macbook-pro"),
        (r"CORP\ada", "pc1", "corp-ada_at_pc1"),
        ("李", "", "unknown_at_unknown"),
    ],
)
def test_user_and_host_as_a_label(user: str, host: str, label: str) -> None:
    assert owner_label(user, host) == label


@given(st.text(), st.text())
def test_it_is_a_labels_value_whoever_it_is(user: str, host: str) -> None:
    assert VALUE.fullmatch(owner_label(user, host))


def test_whoever_runs_this_has_one() -> None:
    assert VALUE.fullmatch(owner_here())
