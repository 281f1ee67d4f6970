"""The HTTP face of Compute Engine: from a request to a method and back, errors in Google's shape."""

from __future__ import annotations

import hashlib
import json
import logging
import re
import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound
from werkzeug.routing import Map, Rule
from werkzeug.wrappers import Request as HttpRequest
from werkzeug.wrappers import Response

from hydra_gce.local.chaos.day import BadDay
from hydra_gce.local.chaos.errors import ConnectionCut, Met, meet
from hydra_gce.local.chaos.plan import Plan
from hydra_gce.local.compute import (
    addresses,
    api,
    batch,
    disks,
    firewalls,
    images,
    instances,
    operation_routes,
    places,
    projects,
    routers,
    templates,
)
from hydra_gce.local.compute import networks as nets
from hydra_gce.local.compute.cloud import Cloud
from hydra_gce.local.compute.errors import ApiError, Json, invalid_value
from hydra_gce.local.compute.names import project_number
from hydra_gce.local.compute.partial import select_fields
from hydra_gce.local.compute.request import Method, Request
from hydra_gce.local.services import gate
from hydra_gce.local.services.call import caller_of
from hydra_gce.local.store import SeenRequest

_log = logging.getLogger(__name__)
_PROJECT = re.compile(r"(?:[a-z0-9.-]+:)?(?:[0-9]{1,19}|[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?)")
_ZERO_UUID = uuid.UUID(int=0)

METHODS: dict[str, Method] = {
    "acceleratorTypes.aggregatedList": places.aggregate_accelerator_types,
    "acceleratorTypes.get": places.get_accelerator_type,
    "acceleratorTypes.list": places.list_accelerator_types,
    "addresses.aggregatedList": addresses.aggregate,
    "addresses.delete": addresses.delete,
    "addresses.get": addresses.get,
    "addresses.insert": addresses.insert,
    "addresses.list": addresses.list_,
    "addresses.setLabels": addresses.set_address_labels,
    "diskTypes.aggregatedList": places.aggregate_disk_types,
    "diskTypes.get": places.get_disk_type,
    "diskTypes.list": places.list_disk_types,
    "disks.aggregatedList": disks.aggregate,
    "disks.delete": disks.delete,
    "disks.get": disks.get,
    "disks.insert": disks.insert,
    "disks.list": disks.list_,
    "disks.resize": disks.resize,
    "disks.setLabels": disks.set_disk_labels,
    "firewalls.delete": firewalls.delete,
    "firewalls.get": firewalls.get,
    "firewalls.insert": firewalls.insert,
    "firewalls.list": firewalls.list_,
    "firewalls.patch": firewalls.patch,
    "globalAddresses.delete": addresses.delete,
    "globalAddresses.get": addresses.get,
    "globalAddresses.insert": addresses.insert,
    "globalAddresses.list": addresses.list_,
    "globalAddresses.setLabels": addresses.set_address_labels,
    "imageFamilyViews.get": images.family_view,
    "images.delete": images.delete,
    "images.get": images.get,
    "images.getFromFamily": images.get_from_family,
    "images.insert": images.insert,
    "images.list": images.list_,
    "images.setLabels": images.set_image_labels,
    "instanceTemplates.delete": templates.delete,
    "instanceTemplates.get": templates.get,
    "instanceTemplates.insert": templates.insert,
    "instanceTemplates.list": templates.list_,
    "instances.aggregatedList": instances.aggregate,
    "instances.bulkInsert": instances.bulk_insert,
    "instances.delete": instances.delete,
    "instances.get": instances.get,
    "instances.getSerialPortOutput": instances.serial_port,
    "instances.insert": instances.insert,
    "instances.list": instances.list_,
    "instances.reset": instances.reset,
    "instances.setDeletionProtection": instances.set_deletion_protection,
    "instances.setDiskAutoDelete": instances.set_disk_auto_delete,
    "instances.setLabels": instances.set_labels,
    "instances.setMachineType": instances.set_machine_type,
    "instances.setMetadata": instances.set_metadata,
    "instances.setScheduling": instances.set_scheduling,
    "instances.setServiceAccount": instances.set_service_account,
    "instances.setTags": instances.set_tags,
    "instances.simulateMaintenanceEvent": instances.simulate_maintenance,
    "instances.start": instances.start,
    "instances.stop": instances.stop,
    "machineTypes.aggregatedList": places.aggregate_machine_types,
    "machineTypes.get": places.get_machine_type,
    "machineTypes.list": places.list_machine_types,
    "networks.get": nets.get_network,
    "networks.list": nets.list_networks,
    "projects.get": projects.get,
    "projects.setCommonInstanceMetadata": projects.set_common_metadata,
    "regions.get": places.get_region,
    "regions.list": places.list_regions,
    "routers.aggregatedList": routers.aggregate,
    "routers.delete": routers.delete,
    "routers.get": routers.get,
    "routers.insert": routers.insert,
    "routers.list": routers.list_,
    "routers.patch": routers.patch,
    "subnetworks.aggregatedList": nets.aggregate_subnetworks,
    "subnetworks.get": nets.get_subnetwork,
    "subnetworks.list": nets.list_subnetworks,
    "zones.get": places.get_zone,
    "zones.list": places.list_zones,
    "globalOperations.aggregatedList": operation_routes.aggregate,
    **{
        f"{kind}Operations.{name}": method
        for kind in ("zone", "region", "global")
        for name, method in (
            ("delete", operation_routes.delete),
            ("get", operation_routes.get),
            ("list", operation_routes.list_),
            ("wait", operation_routes.wait),
        )
    },
}


class ComputeApp:
    """A WSGI application for everything below `/compute/v1/`."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._routes = Map([_rule(api.methods()[name]) for name in METHODS])

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        return self.answer(HttpRequest(environ))(environ, start_response)

    def answer(self, http: HttpRequest) -> Response:
        """The answer to a request. Raises `ConnectionCut` where none is to come, on a bad day."""
        try:
            if http.path == batch.PATH:
                return batch.answer_batch(http, self.answer)
            body = self._call(http)
        except ApiError as error:
            return _json(error.body(), error.code)
        except HTTPException as error:
            return _json(_http_error(http, error).body(), error.code or 500)
        except ConnectionCut:
            raise
        except Exception as error:  # The client gets an answer, the log the traceback.
            _log.exception("%s %s", http.method, http.full_path)
            failure = ApiError(500, "backendError", f"Internal error: {type(error).__name__}: {error}")
            return _json(failure.body(), 500)
        return _json(select_fields(body, http.args.get("fields")), 200)

    def _call(self, http: HttpRequest) -> Any:
        endpoint, path = self._routes.bind_to_environ(http.environ).match()
        method = api.methods()[endpoint]
        day = self._cloud.bad_day
        met = None if day is None else self._meet(day, method, path, http)
        if met is None:
            return self._carry_out(method, path, http, None)
        met.before(project_number(path["project"]))
        try:
            return self._carry_out(method, path, http, met.plan)
        except ApiError:
            met.take_back()
            raise
        finally:
            met.after(self._cloud.operations.pause)

    def _meet(
        self, day: BadDay, method: api.Method, path: Mapping[str, str], http: HttpRequest
    ) -> Met | None:
        """What the bad day does to a request. A requestId that came before begins no operation."""
        seen = http.args.get("requestId")
        begins = _begins(method) and (not seen or self._cloud.store.request(path["project"], seen) is None)
        return meet(day, method.name, path.get("zone"), begins=begins)

    def _carry_out(
        self, method: api.Method, path: Mapping[str, str], http: HttpRequest, plan: Plan | None
    ) -> Any:
        if not _PROJECT.fullmatch(path["project"]):
            raise invalid_value("project", path["project"], f"Must be a match of regex '{_PROJECT.pattern}'")
        query = api.read_query(method, http.args.to_dict())
        body = api.read_body(method, _parse(http))
        caller = caller_of(http.headers.get("Authorization"))
        gate.check(self._cloud, caller, method.name, path, body)
        request = Request(method.name, dict(path), query, body, plan=plan)
        if not _begins(method):
            return METHODS[method.name](self._cloud, request)
        with self._cloud.lock, self._cloud.store.transaction():
            return self._change(request)

    def _change(self, request: Request) -> Any:
        """A method that makes an operation; a requestId that came before gets the operation it made then."""
        request_id = request.request_id
        if request_id is None:
            return METHODS[request.method](self._cloud, request)
        _check_request_id(request_id)
        store = self._cloud.store
        digest = hashlib.sha256(request.digest().encode()).hexdigest()
        seen = store.request(request.project, request_id)
        if seen is not None:
            if seen.digest != digest:
                raise invalid_value(
                    "requestId", request_id, "The request ID was already used by a different request."
                )
            return self._cloud.operations.get(request.project, seen.scope, seen.operation).body
        operation: Json = METHODS[request.method](self._cloud, request)
        scope = operation["selfLink"].split(f"/projects/{request.project}/")[1].rsplit("/operations/", 1)[0]
        store.remember_request(request.project, request_id, SeenRequest(digest, scope, operation["name"]))
        return operation


def _begins(method: api.Method) -> bool:
    """Whether the method begins an operation."""
    return method.verb != "GET" and "requestId" in method.query


def _rule(method: api.Method) -> Rule:
    path = re.sub(r"\{(\w+)\}", r"<\1>", method.path)
    return Rule(f"/compute/v1/{path}", methods=[method.verb], endpoint=method.name)


def _parse(http: HttpRequest) -> object:
    data = http.get_data()
    if not data.strip():
        return {}
    try:
        return json.loads(data)
    except ValueError as error:
        raise ApiError(400, "parseError", "Parse Error") from error


def _json(body: Any, status: int) -> Response:
    return Response(json.dumps(body), status, content_type="application/json; charset=UTF-8")


def _http_error(http: HttpRequest, error: HTTPException) -> ApiError:
    if isinstance(error, NotFound):
        return ApiError(404, "notFound", f"The requested URL {http.path} was not found on this server.")
    if isinstance(error, MethodNotAllowed):
        return ApiError(404, "notFound", f"The method {http.method} is not known for the URL {http.path}.")
    return ApiError(error.code or 500, "badRequest", error.description or "Bad Request")


def _check_request_id(request_id: str) -> None:
    try:
        valid = uuid.UUID(request_id) != _ZERO_UUID
    except ValueError:
        valid = False
    if not valid:
        raise invalid_value("requestId", request_id, "Must be a valid UUID, and not the zero UUID.")
