"""``hydra-gce offers``, as a person types it and as a program reads it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from google.auth.credentials import AnonymousCredentials
from rich.text import Text

from hydra_gce.cli import exits, main
from hydra_gce.cloud import backend as backends
from hydra_gce.cloud.backend import Backend
from tests.local.embedded import Embedded
from tests.local.fake_machine import FakeMachines


def offers(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(["offers", *words])
    said = capsys.readouterr()
    return code, said.out, said.err


def as_json(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    code, out, _ = offers(capsys, "--json", *words)
    assert code == 0
    told: dict[str, Any] = json.loads(out)
    return told


@pytest.fixture
def cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Embedded]:
    """Compute Engine as a small project has it."""
    (tmp_path / "local").mkdir()
    embedded = Embedded(tmp_path / "local", FakeMachines())
    found = Backend("cloud", "hydra-gce-local", embedded.url, None, AnonymousCredentials(), None)
    monkeypatch.setattr(backends, "connect", lambda *_: found)
    try:
        yield embedded
    finally:
        embedded.close()


def test_offers_need_no_account_and_say_that_quotas_are_not_known(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, out, _ = offers(capsys, "--gpu", "A100", "--spot")
    assert code == 0
    assert "Quotas are not known: no Google Cloud project was found here." in out
    assert "List prices of 2026-" in out
    first, second = out.splitlines()[1:3]
    assert "a2-highgpu-1g" in first
    assert float(first.split()[0]) <= float(second.split()[0])


def test_twenty_rows_are_shown_unless_all_are_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    _, some, _ = offers(capsys, "--gpu", "A100")
    _, everything, _ = offers(capsys, "--gpu", "A100", "--all")
    assert some.count("a2-") == 20
    assert "more: --all" in some
    assert everything.count("a2-") > 60 and "--all" not in everything


@pytest.mark.parametrize("gpu", ["T4", "A100-80GB", "H100"])
def test_the_table_fits_a_terminal_of_80_columns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, gpu: str
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    _, colourful, _ = offers(capsys, "--gpu", gpu)
    out = Text.from_ansi(colourful).plain
    table = out.split("more: --all")[0].splitlines()
    assert len(table) > 10
    assert max(map(len, table)) <= 80
    assert "us-central1" in out  # whole, not shortened


def test_the_program_s_form_has_every_row_and_its_price(capsys: pytest.CaptureFixture[str]) -> None:
    told = as_json(capsys, "--gpu", "A100", "--region", "us-central1", "--standard", "--gpu-count", "1")
    assert told["currency"] == "USD"
    assert told["quotas_unknown"]
    (row,) = told["offers"]
    assert row == {
        "usd_per_hour": "3.673385",
        "estimated": False,
        "price_date": "2026-07-30",
        "price_source": "github.com/Cyclenerd/google-cloud-pricing-cost-calculator pricing.yml",
        "provisioning": "standard",
        "machine_type": "a2-highgpu-1g",
        "vcpus": 12,
        "memory_gb": 85.0,
        "gpu": "A100",
        "gpu_count": 1.0,
        "gpu_memory_gb": 40.0,
        "region": "us-central1",
        "zones": ["us-central1-a", "us-central1-b", "us-central1-c", "us-central1-f"],
        "fits": None,
        "blocked": None,
    }


def test_spot_and_standard_are_shown_side_by_side_unless_one_is_asked_for(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def sold(*words: str) -> set[str]:
        return {row["provisioning"] for row in as_json(capsys, "--gpu", "L4", *words)["offers"]}

    assert sold() == {"spot", "standard"}
    assert sold("--spot") == {"spot"}
    assert sold("--standard") == {"standard"}


def test_without_a_gpu_and_a_machine_type_the_cheapest_of_each_gpu_is_shown(
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows = as_json(capsys, "--spot")["offers"]
    gpus = [row["gpu"] for row in rows]
    assert len(gpus) == len(set(gpus)) > 8


def test_quotas_that_are_in_the_way_are_named_with_where_to_ask_for_more(
    capsys: pytest.CaptureFixture[str], cloud: Embedded
) -> None:
    _, out, _ = offers(capsys, "--gpu", "T4", "--standard", "--region", "us-central1", "--backend", "cloud")
    assert re.search(r"quota CPUS is \d+ in us-central1\n", out)
    assert "ask for more: https://console.cloud.google.com/iam-admin/quotas?project=hydra-gce-local" in out


def test_a_program_learns_how_many_fit_and_what_blocks_the_rest(
    capsys: pytest.CaptureFixture[str], cloud: Embedded
) -> None:
    cloud.insert("a-vm", "n1-standard-1")
    told = as_json(capsys, "--gpu", "T4", "--standard", "--region", "us-central1", "--backend", "cloud")
    by_count = {row["gpu_count"]: row for row in told["offers"]}
    assert told["quotas_unknown"] is None and told["project"] == "hydra-gce-local"
    assert by_count[1]["fits"] >= 1 and by_count[1]["blocked"] is None
    blocked = by_count[4]["blocked"]
    assert by_count[4]["fits"] == 0
    assert (blocked["metric"], blocked["region"], blocked["used"]) == ("CPUS", "us-central1", 1)
    assert blocked["needed"] == 16 and blocked["may_pass"] is False


def test_regions_that_were_asked_for_and_have_none_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ("--gpu", "A100", "--region", "us-central1", "us-west2")
    _, out, _ = offers(capsys, *asked)
    assert "not offered in us-west2" in out
    assert as_json(capsys, *asked)["not_offered"] == ["us-west2"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--gpu", "A1000"], "no GPU 'A1000'. The nearest are A100"),
        (["--machine-type", "n1-standard-5"], "no machine type 'n1-standard-5'"),
        (["--gpu", "T4", "--zone", "us-central1"], "is a region. Write vm.regions=[us-central1]"),
        (["--gpu", "A100", "--region", "us-west2"], "not offered in us-west2"),
        (["--gpu", "A100", "--gpu-count", "3"], "The nearest is vm.gpu_count=4"),
        (["--gpu-count", "3"], "--gpu-count needs --gpu"),
        (["--gpu", "A100", "--machine-type", "n1-standard-8"], "cannot be attached to n1-standard-8"),
    ],
)
def test_what_cannot_be_had_is_said_as_for_a_sweep(
    capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    code, out, error = offers(capsys, *words)
    assert (code, out) == (1, "")
    assert said in error


def test_an_account_that_is_asked_for_must_be_there(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, error = offers(capsys, "--gpu", "T4", "--backend", "cloud")
    assert code == exits.CREDENTIALS and "gcloud auth application-default login" in error
