"""A fresh catalogue from Google's answers; whatever goes wrong, the one that was there stays."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from google.oauth2.credentials import Credentials

from hydra_gce import catalog
from hydra_gce.catalog import shelf
from hydra_gce.catalog.refresh import Refreshed, refresh
from hydra_gce.catalog.tables import Catalogue
from hydra_gce.cli import main
from hydra_gce.errors import CredentialsError, Unreachable
from hydra_gce.machines import Price, VMRequest, resolve
from tests.catalog.google_stub import PACKAGED, Google, google, machine_type, serving
from tests.catalog.price_list import HERE, price_list, sku

TODAY = date(2026, 11, 23)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("HYDRA_GCE_HOME", str(tmp_path))
    catalog.catalogue.cache_clear()
    yield tmp_path
    catalog.catalogue.cache_clear()


@pytest.fixture
def stub() -> Google:
    return google(PACKAGED)


def refreshed(stub: Google, *, billing: bool = True, api_key: str | None = None) -> Refreshed:
    with serving(stub, billing=billing) as backend:
        made = refresh(backend, TODAY, api_key)
    catalog.catalogue.cache_clear()
    return made


def price(machine_type: str, provisioning: str = "standard", gpu: str | None = None) -> Price:
    asked = VMRequest(gpu, None, machine_type, provisioning, regions=[HERE], disk_gb=None, external_ip=False)
    return resolve(asked)[0].price


# Types and zones


def test_types_and_zones_are_those_that_compute_engine_lists(stub: Google) -> None:
    stub.zones["mars-north1-a"] = "mars-north1"
    stub.types["mars-north1-a"] = [
        machine_type("e2-standard-4", 4, 16384),
        machine_type("q9-standard-2", 2, 9216),
    ]
    made = refreshed(stub, billing=False)
    assert catalog.zones()["mars-north1-a"] == "mars-north1"
    assert "mars-north1" in catalog.machine_types()["e2-standard-4"].regions
    new = catalog.machine_types()["q9-standard-2"]
    assert (new.vcpus, new.memory_gb, new.regions) == (2, Decimal(9), ("mars-north1",))
    assert made.zones == len(PACKAGED.zones) + 1


def test_what_is_known_of_a_type_beside_its_size_is_kept(stub: Google) -> None:
    before = price("e2-standard-4")
    refreshed(stub, billing=False)
    for name in ("a2-ultragpu-1g", "g4-standard-6", "e2-micro"):
        assert catalog.machine_parts()[name] == PACKAGED.machine_parts[name]
    assert price("e2-standard-4") == before


def test_a_new_type_with_a_gpu_that_is_known_can_be_had(stub: Google) -> None:
    stub.types["us-central1-a"].append(
        machine_type("g9-standard-8", 8, 32768, accelerators=(("nvidia-l4", 2),), ssds=1)
    )
    refreshed(stub, billing=False)
    parts = catalog.machine_parts()["g9-standard-8"]
    assert (parts.gpu, parts.gpu_count, parts.local_ssd_gb) == ("L4", Decimal(2), 375)


def test_a_new_type_with_a_gpu_that_is_not_known_is_left_out_and_named(stub: Google) -> None:
    stub.types["us-central1-a"].append(machine_type("a9-max", 8, 32768, accelerators=(("nvidia-x1", 8),)))
    assert refreshed(stub, billing=False).strange == ["a9-max"]
    assert "a9-max" not in catalog.machine_types()  # its GPUs would seem to cost nothing


def test_gpus_are_in_the_zones_that_list_them(stub: Google) -> None:
    for zone in ("us-central1-b", "us-central1-c"):
        stub.accelerators[zone] = [one for one in stub.accelerators[zone] if one["name"] != "nvidia-tesla-t4"]
    refreshed(stub, billing=False)
    zones = {c.zone for c in resolve(VMRequest(gpu="T4", regions=[HERE]))}
    assert zones == {"us-central1-a", "us-central1-f"}


def test_types_that_are_gone_are_gone(stub: Google) -> None:
    for one in stub.types["us-central1-a"]:
        if one["name"] == "n1-standard-4":
            one["deprecated"] = {"state": "DELETED"}
    refreshed(stub, billing=False)
    assert HERE not in catalog.machine_types()["n1-standard-4"].regions


@pytest.mark.parametrize("told", ["in the zone's share", "apart"])
def test_a_list_that_lacks_a_zone_changes_nothing(stub: Google, told: str) -> None:
    if told == "apart":
        stub.unreachables = ["projects/ml-lab/zones/europe-west4-a"]
    else:
        stub.warnings["europe-west4-a"] = "UNREACHABLE"
    with pytest.raises(Unreachable, match=r"machine types of europe-west4-a \(UNREACHABLE\)"):
        refreshed(stub)
    assert shelf.place() == shelf.packaged()


def test_a_list_that_was_cut_off_changes_nothing(stub: Google, home: Path) -> None:
    refreshed(stub, billing=False)
    good = shelf.place()
    stub.types = {"us-central1-a": stub.types["us-central1-a"][:20]}
    with pytest.raises(Unreachable, match=r"machine types, where \d+ are known"):
        refreshed(stub, billing=False)
    assert shelf.place() == good
    assert [path.name for path in (home / "catalog").iterdir() if path.is_dir()] == [good.name]


def test_a_project_that_may_not_list_is_told_which_role_helps(stub: Google) -> None:
    stub.refusals["/aggregated/machineTypes"] = 403
    with pytest.raises(CredentialsError, match=r"roles/compute\.viewer"):
        refreshed(stub)


# Prices


def test_prices_are_those_of_the_price_list_with_its_date(stub: Google) -> None:
    before = {how: price("n1-standard-4", how, "T4") for how in ("standard", "spot")}
    stub.skus = price_list(PACKAGED, on_demand="1.1", spot="0.5")
    made = refreshed(stub)
    assert made.prices_stay is None
    for how, factor in (("standard", Decimal("1.1")), ("spot", Decimal("0.5"))):
        now = price("n1-standard-4", how, "T4")
        assert abs(now.vm - factor * before[how].vm) < Decimal("0.000002")
        assert now.date == TODAY
        assert now.source == "Google's Cloud Billing Catalog (cloudbilling.googleapis.com)"
        assert not now.estimated


def test_every_known_price_follows_from_a_price_list_that_says_the_same(stub: Google) -> None:
    stub.skus = price_list(PACKAGED)
    names = ("a2-highgpu-1g", "a2-ultragpu-1g", "a3-highgpu-8g", "c2-standard-8", "e2-micro", "g2-standard-8",
             "g4-standard-48", "m1-ultramem-40", "n1-custom-4-8192", "n2d-standard-8", "t2d-standard-4")  # fmt: skip
    before = {name: price(name).vm for name in names}
    refreshed(stub)
    assert {name: price(name).vm for name in names} == before


def test_all_pages_of_the_price_list_are_read(stub: Google) -> None:
    stub.skus = price_list(PACKAGED, on_demand="1.1")
    stub.page = 1000
    assert refreshed(stub).prices_stay is None
    assert (
        sum(request.path.endswith("/skus") for request in stub.asked) == math.ceil(len(stub.skus) / 1000) > 3
    )


def test_what_the_price_list_does_not_say_keeps_its_price_and_its_date(stub: Google) -> None:
    before = price("n1-standard-4", "spot", "V100")
    stub.skus = [one for one in price_list(PACKAGED, "1.1", "0.9") if "V100" not in one["description"]]
    refreshed(stub)
    now = price("n1-standard-4", "spot", "V100")
    assert now.gpu == before.gpu
    assert now.date == before.date  # that of its oldest part


def test_gpus_and_the_hosts_that_bring_them_change_together(stub: Google) -> None:
    before = price("a2-highgpu-1g")
    stub.skus = [
        one
        for one in price_list(PACKAGED, "1.1")
        if not one["description"].startswith("Nvidia Tesla A100 GPU running")
    ]
    refreshed(stub)
    assert price("a2-highgpu-1g") == before


def test_gpus_whose_hosts_have_rates_of_their_own_cost_what_both_come_to(stub: Google) -> None:
    stub.skus = [
        *price_list(PACKAGED),
        sku("A3Plus Instance Core running in Iowa", "0.03", HERE),
        sku("A3Plus Instance Ram running in Iowa", "0.003", HERE, unit="GBy.h"),
    ]
    gpu = PACKAGED.gpu_rates["H100-MEGA"][HERE].hour
    assert gpu is not None
    refreshed(stub)
    by_hand = 8 * gpu + 208 * Decimal("0.03") + 1872 * Decimal("0.003")
    told = price("a3-megagpu-8g")
    assert abs(told.host + told.gpu - by_hand) < Decimal("0.00001")


def test_estimates_end_where_the_price_list_has_the_price(stub: Google) -> None:
    assert price("n2-custom-8-16384").estimated and price("g4-standard-6").estimated
    stub.skus = [
        *price_list(PACKAGED),
        sku("N2 Custom Instance Core running in Americas", "0.033174", HERE),
        sku("N2 Custom Instance Ram running in Americas", "0.004446", HERE, unit="GiBy.h"),
        sku("N2 Custom Extended Instance Ram running in Americas", "0.009550", HERE, unit="GiBy.h"),
        sku("1/8 vGPU no lssd running in Iowa", "0.64688", HERE, group="GPU"),
        sku("Hyperdisk Balanced Capacity in Iowa", "0.08", HERE, group="SSD", unit="GiBy.mo"),
    ]
    refreshed(stub)
    custom = price("n2-custom-8-16384")
    assert (custom.vm, custom.estimated) == (Decimal("0.336528"), False)
    extended = price("n2-custom-2-32768-ext")
    assert (extended.vm, extended.estimated) == (Decimal("0.290284"), False)
    part = price("g4-standard-12")
    assert (part.vm, part.estimated) == (Decimal("1.293760"), False)
    disk = catalog.disk_rates()["hyperdisk-balanced"][HERE]
    assert (disk.gb_month, disk.basis) == (Decimal("0.08"), "billing-2026-11-23")


def test_flex_start_costs_what_the_price_list_says_of_it_where_it_does(stub: Google) -> None:
    assert price("a2-highgpu-1g", "flex_start").estimated
    stub.skus = [
        *price_list(PACKAGED),
        sku("DWS Defined Duration A2 Core running in Americas", "0.01739", HERE),
        sku("DWS Defined Duration A2 Ram running in Americas", "0.00233", HERE, unit="GBy.h"),
        sku("Nvidia Tesla A100 GPU attached to DWS Defined Duration VMs running in Iowa", "1.61365", HERE),
    ]
    refreshed(stub)
    flexible = price("a2-highgpu-1g", "flex_start")
    assert (flexible.vm, flexible.estimated) == (Decimal("2.02038"), False)
    assert price("a2-highgpu-1g").vm == Decimal("3.673385")
    other = price("a2-ultragpu-1g", "flex_start")  # its GPU and SSD are not told
    assert (other.vm, other.estimated) == (price("a2-ultragpu-1g").vm, True)


def test_a_price_that_cannot_be_meant_is_not_taken(stub: Google) -> None:
    before = price("n1-standard-4", gpu="T4")
    stub.skus = price_list(PACKAGED)
    stub.skus.append(sku("Nvidia Tesla T4 GPU running in Americas", "99", HERE, group="GPU"))
    refreshed(stub)
    assert price("n1-standard-4", gpu="T4").gpu == before.gpu


@pytest.mark.parametrize("status", [403, 404, 500, 503])
def test_where_the_price_list_is_refused_prices_stay_and_types_are_new(stub: Google, status: int) -> None:
    before = price("n1-standard-4")
    stub.zones["mars-north1-a"] = "mars-north1"
    stub.refusals["/skus"] = status
    made = refreshed(stub)
    assert made.prices_stay is not None and f"{status} /skus is refused" in made.prices_stay
    assert price("n1-standard-4") == before
    assert "mars-north1" in catalog.regions()


def test_a_price_list_that_breaks_off_is_not_taken_in_part(stub: Google) -> None:
    before = price("n1-standard-4")
    stub.skus = price_list(PACKAGED, on_demand="1.1")
    stub.refusals["pageToken=2000"] = 503
    assert refreshed(stub).prices_stay is not None
    assert price("n1-standard-4") == before


def test_a_price_list_that_speaks_another_language_is_not_taken(stub: Google) -> None:
    stub.skus = [{**one, "description": f"x{one['description']}"} for one in price_list(PACKAGED)]
    stay = refreshed(stub).prices_stay
    assert stay is not None and "tells 0 of the" in stay


def test_a_person_s_own_credentials_count_on_the_project(stub: Google) -> None:
    stub.skus = price_list(PACKAGED)
    with serving(stub) as backend:
        refresh(replace(backend, credentials=Credentials(token="mine")), TODAY)
    asked = [request for request in stub.asked if request.path.endswith("/skus")]
    assert {request.headers["X-Goog-User-Project"] for request in asked} == {"ml-lab"}
    assert {request.headers["Authorization"] for request in asked} == {"Bearer mine"}


def test_an_api_key_goes_along_unseen_by_logs(stub: Google) -> None:
    stub.skus = price_list(PACKAGED)
    refreshed(stub, api_key="secret")
    asked = [request for request in stub.asked if request.path.endswith("/skus")]
    assert {request.headers["X-Goog-Api-Key"] for request in asked} == {"secret"}
    assert not any("secret" in request.full_path for request in asked)


def test_a_second_refresh_without_prices_keeps_those_of_the_first(stub: Google) -> None:
    stub.skus = price_list(PACKAGED, on_demand="1.1")
    refreshed(stub)
    first = price("n1-standard-4")
    stub.refusals["/skus"] = 403
    refreshed(stub)
    assert price("n1-standard-4") == first


# As a person types it


def test_setup_says_what_it_found_and_why_prices_stay(
    stub: Google, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stub.refusals["/skus"] = 403
    with serving(stub) as backend:
        monkeypatch.setattr("hydra_gce.cloud.backend.connect", lambda *_: backend)
        assert main(["setup", "--refresh", "--backend", "cloud"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[1] == f"{len(Catalogue(shelf.place()).machine_types)} machine types, 130 zones in 43 regions"
    assert said[2] == "prices stay as they were: the Cloud Billing Catalog refused: 403 /skus is refused"
    assert str(shelf.place()) in said[3]


def test_setup_that_failed_says_that_nothing_was_changed(
    stub: Google, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stub.refusals["/zones"] = 400
    with serving(stub) as backend:
        monkeypatch.setattr("hydra_gce.cloud.backend.connect", lambda *_: backend)
        assert main(["setup", "--refresh", "--backend", "cloud"]) == 7
    assert "Nothing was changed" in capsys.readouterr().err
