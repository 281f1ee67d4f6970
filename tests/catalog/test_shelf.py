"""Which catalogue counts: the laptop's own while it is whole, the package's otherwise."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hydra_gce.catalog import shelf
from hydra_gce.catalog.tables import Catalogue


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HYDRA_GCE_HOME", str(tmp_path))
    return tmp_path


def refreshed(price: str = "0.007") -> Path:
    directory = shelf.shelve({"address-rates": f"region,hour\nus-central1,{price}\n"})
    shelf.take(directory)
    return directory


def address() -> str:
    return str(Catalogue(shelf.place()).address_rates["us-central1"])


def test_the_package_s_tables_count_where_there_is_no_refresh() -> None:
    assert shelf.place() == shelf.packaged()
    assert {f"{table}.csv" for table in shelf.TABLES} == {
        path.name for path in shelf.packaged().glob("*.csv")
    }


def test_a_refresh_counts_from_when_it_is_taken() -> None:
    directory = shelf.shelve({"address-rates": "region,hour\nus-central1,0.007\n"})
    assert address() == "0.005"
    shelf.take(directory)
    assert address() == "0.007"
    assert shelf.place() == directory


def test_tables_that_were_not_asked_for_anew_come_along() -> None:
    refreshed()
    assert Catalogue(shelf.place()).gpus == Catalogue(shelf.packaged()).gpus


@pytest.mark.parametrize(
    "damage", ["missing file", "changed file", "cut entry", "another format", "elsewhere"]
)
def test_a_refresh_that_is_not_whole_does_not_count(home: Path, damage: str) -> None:
    directory = refreshed()
    entry = home / "catalog" / "current.json"
    content = json.loads(entry.read_text())
    if damage == "missing file":
        (directory / "zones.csv").unlink()
    elif damage == "changed file":
        (directory / "zones.csv").write_text("zone,region\n")
    elif damage == "cut entry":
        entry.write_text(entry.read_text()[:40])
    elif damage == "another format":
        entry.write_text(json.dumps({**content, "format": 0}))
    else:
        entry.write_text(json.dumps({**content, "directory": "../../elsewhere"}))
    assert shelf.place() == shelf.packaged()
    assert address() == "0.005"


def test_a_refresh_does_not_outlive_the_package_that_it_was_made_over(home: Path) -> None:
    refreshed()
    entry = home / "catalog" / "current.json"
    entry.write_text(json.dumps({**json.loads(entry.read_text()), "package": "of another version"}))
    assert shelf.place() == shelf.packaged()


def test_what_still_reads_the_last_refresh_can_go_on(home: Path) -> None:
    first = refreshed("0.007")
    reading = Catalogue(shelf.place())
    second = refreshed("0.008")
    assert str(reading.address_rates["us-central1"]) == "0.007"
    third = refreshed("0.009")
    assert [path.exists() for path in (first, second, third)] == [False, True, True]
    assert address() == "0.009"
