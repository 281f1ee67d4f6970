"""What each error of Compute Engine means: how far it reaches, whether it passes, and what a person reads of it."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import requests
from google.auth.credentials import AnonymousCredentials

from hydra_gce.cloud.backend import Backend
from hydra_gce.compute import HereCompute
from hydra_gce.errors import CredentialsExpired
from hydra_gce.refusals import Reach, Refusal, judge, quota
from hydra_gce.refusals.answer import read
from hydra_gce.refusals.row import Row
from hydra_gce.refusals.table import ROWS, find
from tests.refusal_cases import KNOWN, UNKNOWN, ZONE, Case


def check(refusal: Refusal | None, case: Case, known: bool | None = None) -> None:
    assert refusal is not None
    assert refusal.code == case.code
    assert refusal.message == case.message.strip()
    assert refusal.reach is case.reach
    assert refusal.quota is ("q" in case.flags)
    assert refusal.may_pass is ("p" in case.flags)
    assert refusal.for_all_models is ("m" not in case.flags)
    assert case.short in refusal.short
    assert case.advice in refusal.advice
    assert refusal.known is ((case in KNOWN) if known is None else known)


@pytest.mark.parametrize("case", KNOWN, ids=str)
def test_a_known_error_reaches_as_far_as_it_does(case: Case) -> None:
    check(judge(case.code, case.message, case.status, case.details), case)


@pytest.mark.parametrize("case", UNKNOWN, ids=str)
def test_an_unknown_error_is_judged_by_its_shape(case: Case) -> None:
    check(judge(case.code, case.message, case.status, case.details), case)


class _Renewable(AnonymousCredentials):
    """Google's client renews its credentials after a 401, and asks again."""

    def refresh(self, request: object) -> None:
        pass


@pytest.fixture(scope="module")
def compute(embedded: Backend) -> HereCompute:
    renewable = _Renewable()  # type: ignore[no-untyped-call]
    return HereCompute(replace(embedded, credentials=renewable))


@pytest.fixture
def bad_day(embedded: Backend) -> Iterator[str]:
    """Where the embedded Compute Engine takes what is to go wrong; afterwards nothing does."""
    url = f"{embedded.compute_endpoint}/hydra-gce/chaos"
    yield url
    requests.delete(url, timeout=10).raise_for_status()


@pytest.mark.parametrize("case", [case for case in (*KNOWN, *UNKNOWN) if case.message], ids=str)
def test_googles_client_hands_it_on_as_it_is(case: Case, compute: HereCompute, bad_day: str) -> None:
    rule: dict[str, Any] = {"methods": "instances.insert"}
    said = {"message": case.message, "details": list(case.details)}
    if case.status is None:
        rule["operation"] = {"code": case.code, **said}
    else:
        rule["answer"] = {"status": case.status, "reason": case.code, **said}
    requests.post(bad_day, json={"errors": [rule]}, timeout=10).raise_for_status()
    name = f"refused-{uuid.uuid4().hex[:8]}"
    # Links lead to the project that asks.
    asking = replace(case, advice=case.advice.replace("my-project", compute.backend.project))
    body, request = _body(name, compute.backend), str(uuid.uuid4())
    if case.status == 401:  # of a sweep that is under way, credentials may be renewed
        with pytest.raises(CredentialsExpired, match="gcloud auth application-default login"):
            compute.insert(ZONE, body, request)
    else:
        check(compute.insert(ZONE, body, request), asking, case in KNOWN)


def _body(name: str, backend: Backend) -> dict[str, Any]:
    return {
        "name": name,
        "machineType": f"zones/{ZONE}/machineTypes/e2-micro",
        "disks": [{"boot": True, "autoDelete": True, "initializeParams": {"sourceImage": backend.image}}],
        "networkInterfaces": [{"network": "global/networks/default"}],
    }


def test_a_real_refusal_of_the_embedded_compute_engine_is_known(compute: HereCompute) -> None:
    wrong = _body("refused-for-real", compute.backend) | {
        "machineType": f"zones/{ZONE}/machineTypes/e2-enormous"
    }
    refusal = compute.insert(ZONE, wrong, str(uuid.uuid4()))
    assert refusal is not None and refusal.known
    assert refusal.reach is Reach.ZONE


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.says or "-".join(row.codes) or str(row.status))
def test_each_row_says_where_it_is_known_from_and_what_a_person_may_do(row: Row) -> None:
    assert row.source
    assert row.codes or row.says or row.status
    assert row.passes or row.advice or row.reach is not Reach.REQUEST
    assert not row.short.endswith(".") and not row.advice.endswith(".")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.says or "-".join(row.codes) or str(row.status))
def test_no_row_is_hidden_behind_another(row: Row) -> None:
    errors = [(case.code, case.message, case.status, case.details) for case in KNOWN]
    errors += [(code, "", None, ()) for code in row.codes]
    answers = [read(code, message, status, details, None) for code, message, status, details in errors]
    assert any(find(answer) is row for answer in answers if quota.refusal(answer) is None)


def test_a_quota_is_told_with_its_name_place_and_limit() -> None:
    said = "Quota 'NVIDIA_T4_GPUS' exceeded.  Limit: 1.0 in region us-central1."
    refusal = judge("QUOTA_EXCEEDED", said, project="my-project")
    assert (refusal.metric, refusal.region, refusal.limit) == ("NVIDIA_T4_GPUS", "us-central1", 1.0)
    assert "quotas?project=my-project&" in refusal.advice


@pytest.mark.parametrize("name", ["quotaInfo", "quota_info"])
def test_the_details_tell_a_quota_that_the_sentence_does_not(name: str) -> None:
    snake = name == "quota_info"
    info = {
        "metric_name" if snake else "metricName": "compute.googleapis.com/nvidia_l4_gpus",
        "limit": 0.0,
        "dimensions": {"region": "us-east1"},
    }
    refusal = judge("QUOTA_EXCEEDED", "Quota exceeded.", details=[{name: info}])
    assert (refusal.metric, refusal.region, refusal.limit) == ("NVIDIA_L4_GPUS", "us-east1", 0.0)
    assert not refusal.may_pass


def test_the_zones_that_google_recommends_are_read() -> None:
    info = {"reason": "resource_availability", "metadatas": {"zonesAvailable": "us-central1-a,us-central1-f"}}
    refusal = judge("ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS", "Full.", details=[{"errorInfo": info}])
    assert refusal.zones_with_room == ("us-central1-a", "us-central1-f")
    assert "hydra.launcher.vm.zones=[us-central1-a,us-central1-f]" in refusal.advice


def test_requests_that_come_too_fast_are_worth_a_longer_pause() -> None:
    assert judge("rateLimitExceeded", "Rate Limit Exceeded", 403).pause_s > 1
    assert judge("backendError", "Backend Error", 503).pause_s == 0


def test_the_request_before_googles_message_is_left_out() -> None:
    url = "https://compute.googleapis.com/compute/v1/projects/p/zones/z/instances?requestId=1"
    refusal = judge("forbidden", f"POST {url}: Location z is not found or access is unauthorized.", 403)
    assert refusal.message == "Location z is not found or access is unauthorized."
    unknown = judge("somethingNew", f"POST {url}: Nobody knows it.", 400)
    assert unknown.short == "says somethingNew: Nobody knows it"


@pytest.mark.parametrize("case", (*KNOWN, *UNKNOWN), ids=str)
def test_the_fact_is_a_template_for_what_was_asked_for(case: Case) -> None:
    refusal = judge(case.code, case.message, case.status, case.details)
    said = refusal.short.format(what="A100")
    assert not re.search(r"[{}]|  | $", f"{said} {refusal.advice}".rstrip())
    assert len(said) < 200


def test_a_refusal_of_our_own_says_what_it_was_made_with() -> None:
    refusal = Refusal("OWN", "Something is wrong. It is long.", Reach.ZONE)
    assert refusal.short == "says: Something is wrong"


def test_the_help_that_google_names_is_handed_on_for_what_nobody_knows() -> None:
    help_ = {"help": {"links": [{"description": "Troubleshooting", "url": "https://cloud.google.com/x"}]}}
    assert judge("SOMETHING_NEW", "Oh.", details=[help_]).advice == "read https://cloud.google.com/x"
