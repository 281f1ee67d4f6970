"""The APIs around Compute Engine: their shapes are Google's, what they keep lasts, and what they refuse is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import requests
from google.api_core.exceptions import Forbidden, GoogleAPICallError
from google.auth.credentials import AnonymousCredentials
from google.cloud import compute_v1, storage

from hydra_gce.local.compute import api
from hydra_gce.local.compute.app import METHODS
from hydra_gce.local.services import app as services
from hydra_gce.local.services import gate, roles
from hydra_gce.local.services.call import ADMIN, PERSON
from tests.local.embedded import PROJECT, ZONE, Embedded, instance
from tests.local.fake_machine import FakeMachines

VM = f"vm-account@{PROJECT}.iam.gserviceaccount.com"
ACCOUNTS = f"iam/v1/projects/{PROJECT}/serviceAccounts"
CRM = f"cloudresourcemanager/v3/projects/{PROJECT}"
SERVICES = f"serviceusage/v1/projects/{PROJECT}/services"
VERSIONS = {"iam": "v1", "serviceusage": "v1", "storage": "v1", "cloudbilling": "v1"}


class Caller:
    """Sends requests as a member, and keeps all answers by the method that gave them."""

    def __init__(self, url: str, member: str = ADMIN) -> None:
        self.url = url
        self.member = member
        self.seen: list[tuple[str, dict[str, Any]]] = []

    def __call__(self, verb: str, path: str, body: Any = None, status: int = 200) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self.member}"}
        answer = requests.request(verb, f"{self.url}/{path}", json=body, headers=headers, timeout=30)
        assert answer.status_code == status, answer.text
        content: dict[str, Any] = answer.json() if answer.content else {}
        name = services._match(verb, "/" + path.partition("?")[0])[0]
        if status < 400:
            self.seen.append((f"{name}:{path}", content))
        return content


@pytest.fixture
def admin(cloud: Embedded) -> Caller:
    return Caller(cloud.url)


@pytest.fixture
def person(cloud: Embedded) -> Caller:
    return Caller(cloud.url, PERSON)


def give(admin: Caller, *given: str, member: str = PERSON) -> None:
    policy = admin("POST", f"{CRM}:getIamPolicy")
    for one in policy["bindings"]:
        one["members"] = [each for each in one["members"] if each != member]
    policy["bindings"] += [{"role": role, "members": [member]} for role in given]
    admin("POST", f"{CRM}:setIamPolicy", {"policy": policy})


def test_every_answer_is_of_googles_schema(admin: Caller) -> None:
    """Each method once, and what it answers held against Google's discovery document."""
    admin("GET", f"{SERVICES}?filter=state:ENABLED")
    admin("GET", f"{SERVICES}:batchGet?names=projects/{PROJECT}/services/iap.googleapis.com")
    admin("POST", f"{SERVICES}/iap.googleapis.com:enable")
    admin("POST", f"{SERVICES}:batchEnable", {"serviceIds": ["iap.googleapis.com", "iam.googleapis.com"]})
    admin("GET", f"{SERVICES}/iap.googleapis.com")
    admin("POST", f"{SERVICES}/iap.googleapis.com:disable")
    admin("GET", "serviceusage/v1/operations/noop.DONE_OPERATION")
    admin("POST", ACCOUNTS, {"accountId": "vm-account", "serviceAccount": {"description": "d"}})
    account = f"{ACCOUNTS}/{VM}"
    admin("GET", account)
    admin("GET", ACCOUNTS)
    admin("PATCH", account, {"serviceAccount": {"description": "other"}, "updateMask": "description"})
    admin("POST", f"{account}:disable")
    admin("POST", f"{account}:enable")
    policy = admin("POST", f"{account}:getIamPolicy")
    policy["bindings"] = [{"role": "roles/iam.serviceAccountUser", "members": [PERSON]}]
    admin("POST", f"{account}:setIamPolicy", {"policy": policy})
    admin("POST", f"{account}:testIamPermissions", {"permissions": ["iam.serviceAccounts.actAs"]})
    admin("GET", "iam/v1/roles/storage.objectUser")
    role = {"title": "t", "includedPermissions": ["compute.instances.delete"], "stage": "GA"}
    admin("POST", f"iam/v1/projects/{PROJECT}/roles", {"roleId": "mine", "role": role})
    mine = f"iam/v1/projects/{PROJECT}/roles/mine"
    admin("GET", mine)
    admin("PATCH", f"{mine}?updateMask=title", {"title": "other"})
    admin("GET", f"iam/v1/projects/{PROJECT}/roles?view=FULL")
    admin("DELETE", mine)
    admin("POST", f"{mine}:undelete")
    admin("DELETE", account)
    admin("GET", CRM)
    admin("GET", CRM.replace("v3", "v1"))
    admin("GET", "cloudresourcemanager/v3/projects:search")
    policy = admin("POST", f"{CRM}:getIamPolicy")
    admin("POST", f"{CRM}:setIamPolicy", {"policy": policy})
    admin("POST", f"{CRM}:testIamPermissions", {"permissions": ["compute.instances.create"]})
    admin("GET", f"cloudbilling/v1/projects/{PROJECT}/billingInfo")
    admin(
        "PUT", f"cloudbilling/v1/projects/{PROJECT}/billingInfo", {"billingAccountName": "billingAccounts/1"}
    )
    rule = {"action": {"type": "Delete"}, "condition": {"age": 3, "matchesPrefix": ["a/"]}}
    body: dict[str, Any] = {
        "name": "bin",
        "location": "europe-west4",
        "labels": {"a": "b"},
        "lifecycle": {"rule": [rule]},
    }
    admin("POST", f"storage/v1/b?project={PROJECT}", body)
    admin("GET", "storage/v1/b/bin")
    admin("GET", f"storage/v1/b?project={PROJECT}")
    access = {"publicAccessPrevention": "enforced", "uniformBucketLevelAccess": {"enabled": True}}
    admin("PATCH", "storage/v1/b/bin", {"iamConfiguration": access})
    policy = admin("GET", "storage/v1/b/bin/iam?optionsRequestedPolicyVersion=3")
    policy["bindings"].append({"role": "roles/storage.objectUser", "members": [PERSON]})
    admin("PUT", "storage/v1/b/bin/iam", policy)
    admin("GET", "storage/v1/b/bin/iam/testPermissions?permissions=storage.objects.get")
    admin("DELETE", "storage/v1/b/bin", status=204)

    assert [one for name, answer in admin.seen for one in _violations(name, answer)] == []
    called = {name.partition(":")[0] for name, _ in admin.seen}
    assert set(services.METHODS) - called == {"oauth2.tokeninfo"}


def test_every_method_of_compute_engine_asks_for_a_permission_that_there_is() -> None:
    paths = {"zone": ZONE, "region": "us-central1", "project": PROJECT, "instance": "vm"}
    for name in METHODS:
        method = api.methods()[name]
        body: dict[str, Any] = {"networkInterfaces": [{"accessConfigs": [{}]}]}
        path = {key: value for key, value in paths.items() if f"{{{key}}}" in method.path}
        for permission, _ in gate._needed(name, path, body):
            assert permission in roles.permissions(), name


def test_an_api_that_is_off_refuses_in_googles_words(cloud: Embedded, admin: Caller) -> None:
    admin("POST", f"{SERVICES}/compute.googleapis.com:disable")
    with pytest.raises(Forbidden) as refused:
        list(cloud.zones.list(project=PROJECT))
    assert "Compute Engine API has not been used in project" in refused.value.message
    assert refused.value.reason == "SERVICE_DISABLED"
    assert refused.value.metadata["service"] == "compute.googleapis.com"

    admin("POST", f"{SERVICES}/compute.googleapis.com:enable")
    assert list(cloud.zones.list(project=PROJECT))


def test_what_others_need_is_not_disabled_unless_said_so(admin: Caller) -> None:
    path = f"{SERVICES}/iam.googleapis.com:disable"
    refused = admin("POST", path, status=400)
    assert refused["error"]["status"] == "FAILED_PRECONDITION"
    admin("POST", path, {"disableDependentServices": True})
    assert admin("GET", f"{SERVICES}/compute.googleapis.com")["state"] == "DISABLED"


def test_who_may_only_look_makes_no_vm(cloud: Embedded, admin: Caller) -> None:
    give(admin, "roles/compute.viewer")
    assert cloud.names() == []
    with pytest.raises(Forbidden) as refused:
        cloud.insert("vm")
    assert refused.value.message.endswith(
        f"Required 'compute.instances.create' permission for 'projects/{PROJECT}/zones/{ZONE}/instances/vm'"
    )


def test_a_vm_needs_an_account_that_its_maker_may_use(cloud: Embedded, admin: Caller) -> None:
    give(admin, "roles/compute.instanceAdmin.v1")
    admin("POST", ACCOUNTS, {"accountId": "vm-account"})
    accounts = [
        compute_v1.ServiceAccount(email=VM, scopes=["https://www.googleapis.com/auth/cloud-platform"])
    ]
    body = instance("vm", service_accounts=accounts)
    with pytest.raises(GoogleAPICallError, match="does not have access to service account"):
        cloud.instances.insert_unary(project=PROJECT, zone=ZONE, instance_resource=body)

    policy = {"bindings": [{"role": "roles/iam.serviceAccountUser", "members": [PERSON]}]}
    admin("POST", f"{ACCOUNTS}/{VM}:setIamPolicy", {"policy": policy})
    cloud.wait(cloud.instances.insert_unary(project=PROJECT, zone=ZONE, instance_resource=body))
    assert cloud.names() == ["vm"]

    admin("DELETE", f"{ACCOUNTS}/{VM}")
    body.name = "other"
    with pytest.raises(GoogleAPICallError, match="'serviceAccount' was not found"):
        cloud.instances.insert_unary(project=PROJECT, zone=ZONE, instance_resource=body)


def test_an_account_that_is_gone_stands_in_policies_as_deleted(admin: Caller) -> None:
    unique = admin("POST", ACCOUNTS, {"accountId": "vm-account"})["uniqueId"]
    give(admin, "roles/logging.logWriter", member=f"serviceAccount:{VM}")
    admin("DELETE", f"{ACCOUNTS}/{VM}")
    members = [
        one for binding in admin("POST", f"{CRM}:getIamPolicy")["bindings"] for one in binding["members"]
    ]
    assert f"deleted:serviceAccount:{VM}?uid={unique}" in members


def test_a_policy_is_not_written_over_one_that_was_not_read(admin: Caller) -> None:
    old = admin("POST", f"{CRM}:getIamPolicy")
    give(admin, "roles/viewer")
    refused = admin("POST", f"{CRM}:setIamPolicy", {"policy": old}, status=409)
    assert refused["error"]["status"] == "ABORTED"


def test_a_condition_needs_version_3_and_grants_nothing_on_the_project_itself(
    admin: Caller, person: Caller
) -> None:
    give(admin)
    policy = admin("POST", f"{CRM}:getIamPolicy")
    condition = {"title": "t", "expression": 'resource.name.startsWith("hg-")'}
    policy["bindings"].append({"role": "roles/owner", "members": [PERSON], "condition": condition})
    admin("POST", f"{CRM}:setIamPolicy", {"policy": {**policy, "version": 1}}, status=400)
    admin("POST", f"{CRM}:setIamPolicy", {"policy": {**policy, "version": 3}})
    assert admin("POST", f"{CRM}:getIamPolicy")["version"] == 3
    assert person("POST", f"{CRM}:testIamPermissions", {"permissions": ["compute.instances.create"]}) == {}


def test_the_name_of_a_deleted_role_is_taken_until_it_is_brought_back(admin: Caller) -> None:
    role = {"title": "t", "includedPermissions": ["compute.instances.delete"]}
    path = f"iam/v1/projects/{PROJECT}/roles"
    admin("POST", path, {"roleId": "mine", "role": role})
    admin("DELETE", f"{path}/mine")
    assert admin("GET", path) == {}
    refused = admin("POST", path, {"roleId": "mine", "role": role}, status=400)
    assert "deleted state" in refused["error"]["message"]
    admin("POST", f"{path}/mine:undelete")
    assert [one["name"] for one in admin("GET", path)["roles"]] == [f"projects/{PROJECT}/roles/mine"]


def test_a_project_that_is_closed_looks_like_one_that_is_not_there(admin: Caller, person: Caller) -> None:
    nowhere = person("GET", "cloudresourcemanager/v3/projects/not-a-project", status=403)
    give(admin)
    assert person("GET", CRM, status=403) == nowhere
    assert nowhere["error"]["message"] == "The caller does not have permission"


def test_googles_storage_client_sees_a_bucket_as_it_is(cloud: Embedded) -> None:
    client = storage.Client(
        project=PROJECT, credentials=AnonymousCredentials(), client_options={"api_endpoint": cloud.url}
    )
    bucket = client.bucket("bin")
    bucket.iam_configuration.uniform_bucket_level_access_enabled = True
    bucket.add_lifecycle_delete_rule(age=30, matches_prefix=["hydra-gce/"])
    client.create_bucket(bucket, location="us-east1")
    found = client.get_bucket("bin")
    assert (found.location, found.location_type) == ("US-EAST1", "region")
    assert found.iam_configuration.uniform_bucket_level_access_enabled
    assert [dict(rule)["condition"]["age"] for rule in found.lifecycle_rules] == [30]
    assert found.test_iam_permissions(["storage.objects.get"]) == ["storage.objects.get"]
    objects = storage.Client(
        project=PROJECT,
        credentials=AnonymousCredentials(),
        client_options={"api_endpoint": cloud.server.running.storage},
    )
    objects.bucket("bin").blob("a").upload_from_string("1")
    with pytest.raises(GoogleAPICallError, match="not empty"):
        found.delete()
    objects.bucket("bin").blob("a").delete()
    found.delete()
    assert not client.bucket("bin").exists()


def test_a_bucket_that_was_made_past_the_settings_has_the_defaults(cloud: Embedded, person: Caller) -> None:
    objects = storage.Client(
        project=PROJECT,
        credentials=AnonymousCredentials(),
        client_options={"api_endpoint": cloud.server.running.storage},
    )
    objects.create_bucket("bin")
    found = person("GET", "storage/v1/b/bin")
    assert (found["location"], found["locationType"]) == ("US", "multi-region")
    assert "lifecycle" not in found


def test_a_bucket_of_another_project_is_closed(admin: Caller, person: Caller) -> None:
    refused = person("POST", "storage/v1/b?project=another-project", {"name": "bin"}, status=403)
    assert "storage.buckets.create" in refused["error"]["message"]
    assert refused["error"]["errors"][0]["reason"] == "forbidden"
    admin("GET", "storage/v1/b/nowhere", status=404)


def test_googles_clock_differs_where_a_scenario_says_so(cloud: Embedded) -> None:
    from email.utils import parsedate_to_datetime

    def date() -> float:
        answer = requests.get(f"{cloud.url}/compute/v1/projects/{PROJECT}", timeout=30)
        return parsedate_to_datetime(answer.headers["Date"]).timestamp()

    before = date()
    requests.post(f"{cloud.url}/hydra-gce/chaos", json={"clock_s": 600}, timeout=30).raise_for_status()
    assert -610 < date() - before < -580
    requests.delete(f"{cloud.url}/hydra-gce/chaos", timeout=30).raise_for_status()
    assert date() >= before


def test_a_scenario_refuses_requests_to_the_services(cloud: Embedded, admin: Caller) -> None:
    answer = {"status": 503, "reason": "backendError", "message": "The service is currently unavailable."}
    rule = {"methods": "iam.projects.serviceAccounts.*", "times": 1, "answer": answer}
    requests.post(f"{cloud.url}/hydra-gce/chaos", json={"errors": [rule]}, timeout=30).raise_for_status()
    refused = admin("GET", ACCOUNTS, status=503)
    assert refused == {"error": {"code": 503, "message": answer["message"], "status": "UNAVAILABLE"}}
    admin("GET", ACCOUNTS)


def test_what_was_made_outlives_the_server(tmp_path: Path) -> None:
    (tmp_path / "local").mkdir()
    machines = FakeMachines()
    first = Embedded(tmp_path / "local", machines)
    try:
        admin = Caller(first.url)
        admin("POST", ACCOUNTS, {"accountId": "vm-account"})
        admin("POST", f"storage/v1/b?project={PROJECT}", {"name": "bin", "location": "us-east1"})
        admin("POST", f"{SERVICES}/iap.googleapis.com:enable")
        give(admin, "roles/viewer")
        first.projects.get(project=PROJECT)
        requests.delete(
            f"{first.url}/compute/v1/projects/{PROJECT}/global/firewalls/default-allow-rdp", timeout=30
        ).close()
    finally:
        first.close()
    again = Embedded(tmp_path / "local", machines)
    try:
        admin = Caller(again.url)
        assert admin("GET", f"{ACCOUNTS}/{VM}")["email"] == VM
        assert admin("GET", "storage/v1/b/bin")["location"] == "US-EAST1"
        assert admin("GET", f"{SERVICES}/iap.googleapis.com")["state"] == "ENABLED"
        bindings = admin("POST", f"{CRM}:getIamPolicy")["bindings"]
        assert {"role": "roles/viewer", "members": [PERSON]} in bindings
    finally:
        again.close()


def _violations(name: str, answer: dict[str, Any]) -> Iterator[str]:
    """What an answer has that Google's schema of the method has not."""
    method, _, path = name.partition(":")
    api_name, _, rest = method.partition(".")
    version = path.split("/")[1] if api_name == "cloudresourcemanager" else VERSIONS[api_name]
    document = _discovery(api_name, version)
    *resources, verb = rest.split(".")
    node = document
    for one in resources:
        node = node["resources"][one]
    response = node["methods"][verb].get("response")
    if response is None:
        assert not answer, name
        return
    yield from (f"{name}: {one}" for one in _check(document["schemas"], response, answer, "answer"))


@cache
def _discovery(name: str, version: str) -> dict[str, Any]:
    source = files("googleapiclient") / "discovery_cache" / "documents" / f"{name}.{version}.json"
    document: dict[str, Any] = json.loads(source.read_text())
    return document


def _check(schemas: dict[str, Any], schema: dict[str, Any], value: Any, path: str) -> Iterator[str]:
    if "$ref" in schema:
        schema = schemas[schema["$ref"]]
    kind = schema.get("type", "any")
    if kind == "object":
        if not isinstance(value, dict):
            yield f"{path} is no object: {value!r}"
            return
        properties, extra = schema.get("properties", {}), schema.get("additionalProperties")
        for key, item in value.items():
            if key in properties:
                yield from _check(schemas, properties[key], item, f"{path}.{key}")
            elif extra is not None:
                yield from _check(schemas, extra, item, f"{path}.{key}")
            else:
                yield f"{path}.{key} is unknown to Google"
    elif kind == "array":
        for index, item in enumerate(value):
            yield from _check(schemas, schema["items"], item, f"{path}[{index}]")
    elif kind == "boolean" and not isinstance(value, bool):
        yield f"{path} is no boolean: {value!r}"
    elif kind == "integer" and (isinstance(value, bool) or not isinstance(value, int)):
        yield f"{path} is no integer: {value!r}"
    elif kind == "string" and not isinstance(value, str):
        yield f"{path} is no string: {value!r}"
    elif "enum" in schema and value not in schema["enum"]:
        yield f"{path} is none of {schema['enum']}: {value!r}"
