"""The HTTP face of the services: from a request to a method and back."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterator
from functools import cache
from typing import TYPE_CHECKING

from werkzeug.wrappers import Request as HttpRequest
from werkzeug.wrappers import Response

from hydra_gce.local.chaos.errors import ConnectionCut, meet
from hydra_gce.local.services import accounts, buckets, projects, service_usage, tokens
from hydra_gce.local.services.call import Call, Json, RpcError, caller_of

if TYPE_CHECKING:
    from hydra_gce.local.compute.cloud import Cloud

_log = logging.getLogger(__name__)
Method = Callable[["Cloud", Call], Json]

_SERVICES = "/serviceusage/v1/projects/{project}/services"
_ACCOUNT = "/iam/v1/projects/{anyProject}/serviceAccounts/{account}"
_ROLE = "/iam/v1/projects/{project}/roles/{role}"
_PROJECT_V1 = "/cloudresourcemanager/v1/projects/{project}"
_PROJECT = "/cloudresourcemanager/v3/projects/{project}"
_BUCKET = "/storage/v1/b/{bucket}"
_BILLING = "/cloudbilling/v1/projects/{project}/billingInfo"

# Name, verb, path, method. Names are those of Google's discovery documents.
_ROUTES: tuple[tuple[str, str, str, Method], ...] = (
    ("cloudbilling.projects.getBillingInfo", "GET", _BILLING, projects.get_billing),
    ("cloudbilling.projects.updateBillingInfo", "PUT", _BILLING, projects.set_billing),
    ("cloudresourcemanager.projects.get", "GET", _PROJECT, projects.get),
    ("cloudresourcemanager.projects.get", "GET", _PROJECT_V1, projects.get_v1),
    ("cloudresourcemanager.projects.getIamPolicy", "POST", f"{_PROJECT}:getIamPolicy", projects.get_policy),
    ("cloudresourcemanager.projects.getIamPolicy", "POST", f"{_PROJECT_V1}:getIamPolicy", projects.get_policy),
    ("cloudresourcemanager.projects.search", "GET", "/cloudresourcemanager/v3/projects:search", projects.search),
    ("cloudresourcemanager.projects.setIamPolicy", "POST", f"{_PROJECT}:setIamPolicy", projects.set_policy),
    ("cloudresourcemanager.projects.setIamPolicy", "POST", f"{_PROJECT_V1}:setIamPolicy", projects.set_policy),
    ("cloudresourcemanager.projects.testIamPermissions", "POST", f"{_PROJECT}:testIamPermissions",
     projects.test_permissions),
    ("cloudresourcemanager.projects.testIamPermissions", "POST", f"{_PROJECT_V1}:testIamPermissions",
     projects.test_permissions),
    ("iam.projects.roles.create", "POST", "/iam/v1/projects/{project}/roles", accounts.create_role),
    ("iam.projects.roles.delete", "DELETE", _ROLE, accounts.delete_role),
    ("iam.projects.roles.get", "GET", _ROLE, accounts.get_custom_role),
    ("iam.projects.roles.list", "GET", "/iam/v1/projects/{project}/roles", accounts.list_custom_roles),
    ("iam.projects.roles.patch", "PATCH", _ROLE, accounts.patch_role),
    ("iam.projects.roles.undelete", "POST", f"{_ROLE}:undelete", accounts.undelete_role),
    ("iam.projects.serviceAccounts.create", "POST", "/iam/v1/projects/{project}/serviceAccounts", accounts.create),
    ("iam.projects.serviceAccounts.delete", "DELETE", _ACCOUNT, accounts.delete),
    ("iam.projects.serviceAccounts.disable", "POST", f"{_ACCOUNT}:disable", accounts.disable),
    ("iam.projects.serviceAccounts.enable", "POST", f"{_ACCOUNT}:enable", accounts.enable),
    ("iam.projects.serviceAccounts.get", "GET", _ACCOUNT, accounts.get),
    ("iam.projects.serviceAccounts.getIamPolicy", "POST", f"{_ACCOUNT}:getIamPolicy", accounts.get_policy),
    ("iam.projects.serviceAccounts.list", "GET", "/iam/v1/projects/{project}/serviceAccounts", accounts.list_),
    ("iam.projects.serviceAccounts.patch", "PATCH", _ACCOUNT, accounts.patch),
    ("iam.projects.serviceAccounts.setIamPolicy", "POST", f"{_ACCOUNT}:setIamPolicy", accounts.set_policy),
    ("iam.projects.serviceAccounts.testIamPermissions", "POST", f"{_ACCOUNT}:testIamPermissions",
     accounts.test_permissions),
    ("iam.roles.get", "GET", "/iam/v1/roles/{role}", accounts.get_role),
    ("oauth2.tokeninfo", "GET", "/oauth2/tokeninfo", tokens.token_info),
    ("serviceusage.operations.get", "GET", "/serviceusage/v1/operations/{operation}", service_usage.get_operation),
    ("serviceusage.services.batchEnable", "POST", f"{_SERVICES}:batchEnable", service_usage.batch_enable),
    ("serviceusage.services.batchGet", "GET", f"{_SERVICES}:batchGet", service_usage.batch_get),
    ("serviceusage.services.disable", "POST", f"{_SERVICES}/{{service}}:disable", service_usage.disable),
    ("serviceusage.services.enable", "POST", f"{_SERVICES}/{{service}}:enable", service_usage.enable),
    ("serviceusage.services.get", "GET", f"{_SERVICES}/{{service}}", service_usage.get),
    ("serviceusage.services.list", "GET", _SERVICES, service_usage.list_),
    ("storage.buckets.delete", "DELETE", _BUCKET, buckets.delete),
    ("storage.buckets.get", "GET", _BUCKET, buckets.get),
    ("storage.buckets.getIamPolicy", "GET", f"{_BUCKET}/iam", buckets.get_policy),
    ("storage.buckets.insert", "POST", "/storage/v1/b", buckets.insert),
    ("storage.buckets.list", "GET", "/storage/v1/b", buckets.list_),
    ("storage.buckets.patch", "PATCH", _BUCKET, buckets.patch),
    ("storage.buckets.setIamPolicy", "PUT", f"{_BUCKET}/iam", buckets.set_policy),
    ("storage.buckets.testIamPermissions", "GET", f"{_BUCKET}/iam/testPermissions", buckets.test_permissions),
)  # fmt: skip
METHODS = tuple(sorted({name for name, _, _, _ in _ROUTES}))
_PREFIXES = tuple(
    f"/{one}/" for one in ("cloudbilling", "cloudresourcemanager", "iam", "oauth2", "serviceusage")
)
_AMONG_OBJECTS = re.compile(r"/storage/v1/b(/[^/]+(/iam(/testPermissions)?)?)?/?")


def serves(path: str) -> bool:
    """Whether a path is one of the services'."""
    return path.startswith(_PREFIXES) or _AMONG_OBJECTS.fullmatch(path) is not None


class ServicesApp:
    """Answers what `serves` says it does."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    def answer(self, http: HttpRequest) -> Response:
        """The answer to a request. Raises `ConnectionCut` where none is to come, on a bad day."""
        try:
            body = self._call(http)
        except RpcError as error:
            return _json(error.body(), error.code)
        except ConnectionCut:
            raise
        except Exception as error:  # The client gets an answer, the log the traceback.
            _log.exception("%s %s", http.method, http.full_path)
            return _json(RpcError(500, f"Internal error: {type(error).__name__}: {error}").body(), 500)
        return _json(body, 204 if http.method == "DELETE" and http.path.startswith("/storage/") else 200)

    def _call(self, http: HttpRequest) -> Json:
        name, method, path = _match(http.method, http.path)
        self._meet(name)
        query = {key: http.args.getlist(key) for key in http.args}
        return method(
            self._cloud, Call(path, query, _parse(http), caller_of(http.headers.get("Authorization")))
        )

    def _meet(self, name: str) -> None:
        """What a bad day has for the request. Raises the answer that the scenario gives in its place."""
        day = self._cloud.bad_day
        met = None if day is None else meet(day, name, None)
        if met is None:
            return
        if met.rule.answer is not None:
            given = met.rule.answer
            legacy = given.reason if name.startswith("storage.") else None
            raise RpcError(given.status, given.message, reason=legacy, details=list(given.details))
        if met.rule.cut or met.rule.lost:
            raise ConnectionCut("cut before the answer")
        if met.rule.slow_s:
            self._cloud.operations.pause(met.rule.slow_s)


@cache
def _compiled() -> tuple[tuple[str, str, re.Pattern[str], Method], ...]:
    def pattern(path: str) -> re.Pattern[str]:
        return re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/:]+)", path) + "/?")

    return tuple((name, verb, pattern(path), method) for name, verb, path, method in _ROUTES)


def _match(verb: str, path: str) -> tuple[str, Method, dict[str, str]]:
    for name, wanted, pattern, method in _compiled():
        if wanted == verb and (found := pattern.fullmatch(path)):
            return name, method, dict(_named(found))
    raise RpcError(404, f"The requested URL {path} was not found on this server.")


def _named(found: re.Match[str]) -> Iterator[tuple[str, str]]:
    """The path's parameters; gcloud writes `-` for the project of a service account, which its address names too."""
    for key, value in found.groupdict().items():
        if key == "anyProject":
            account = found["account"]
            by_address = account.partition("@")[2].removesuffix(".iam.gserviceaccount.com")
            yield "project", by_address if value == "-" else value
        else:
            yield key, value


def _parse(http: HttpRequest) -> Json:
    data = http.get_data()
    if not data.strip():
        return {}
    try:
        parsed = json.loads(data)
    except ValueError as error:
        raise RpcError(400, "Invalid JSON payload received. Unexpected token.") from error
    if not isinstance(parsed, dict):
        raise RpcError(400, "Invalid JSON payload received. Unexpected token.")
    return parsed


def _json(body: Json, status: int) -> Response:
    content = "" if status == 204 else json.dumps(body)
    return Response(content, status, content_type="application/json; charset=UTF-8")
