"""Static addresses, regional and global: reserved on paper, in use where an instance names them as its `natIP`."""

from __future__ import annotations

from hydra_gce.local.compute.cloud import Cloud
from hydra_gce.local.compute.errors import (
    Json,
    already_exists,
    in_use,
    invalid,
    invalid_value,
    required,
)
from hydra_gce.local.compute.labels import set_labels
from hydra_gce.local.compute.listing import aggregated, page
from hydra_gce.local.compute.names import NAME, fingerprint, is_name, link, region_of
from hydra_gce.local.compute.networks import subnet_number
from hydra_gce.local.compute.request import Request
from hydra_gce.local.store import Resource

_KEPT = ("description", "ipVersion", "purpose")


def get(cloud: Cloud, request: Request) -> Json:
    return _shown(cloud, _address(cloud, request))


def list_(cloud: Cloud, request: Request) -> Json:
    _check_place(cloud, request)
    bodies = [_shown(cloud, one) for one in cloud.store.list("addresses", request.project, request.scope)]
    return page("compute#addressList", request.project, f"{request.scope}/addresses", bodies, request.query)


def aggregate(cloud: Cloud, request: Request) -> Json:
    bodies = [(one.scope, _shown(cloud, one)) for one in cloud.store.list("addresses", request.project)]
    scopes = ["global", *(f"regions/{region}" for region in cloud.catalog.regions)]
    return aggregated(
        "compute#addressAggregatedList", request.project, "addresses", bodies, scopes, request.query
    )


def insert(cloud: Cloud, request: Request) -> Json:
    """Reserves an address. Labels come by `setLabels` only, as the schema says, and are ignored here."""
    _check_place(cloud, request)
    given, name = request.body, request.body.get("name")
    if name is None:
        raise required("resource.name")
    if not is_name(name):
        raise invalid_value("resource.name", name, f"Must be a match of regex '{NAME}'")
    if cloud.store.get("addresses", request.project, request.scope, name) is not None:
        raise already_exists(f"projects/{request.project}/{request.scope}/addresses/{name}")
    internal = given.get("addressType") == "INTERNAL"
    body = {
        **{key: given[key] for key in _KEPT if key in given},
        **cloud.new_body("address", request.project, request.scope, "addresses", name),
        "address": given.get("address") or _free(cloud, request, internal=internal),
        "addressType": "INTERNAL" if internal else "EXTERNAL",
        "labelFingerprint": fingerprint({}),
        "networkTier": given.get("networkTier", "PREMIUM"),
        "status": "RESERVED",
    }
    if internal:
        body["purpose"] = given.get("purpose", "GCE_ENDPOINT")
        subnetwork = link(request.project, request.scope, "subnetworks", "default")
        body["subnetwork"] = given.get("subnetwork", subnetwork)
    address = Resource("addresses", request.project, request.scope, name, body)
    cloud.store.put(address)
    return request.begin(cloud, request.scope, "insert", address, "nothing")


def delete(cloud: Cloud, request: Request) -> Json:
    address = _address(cloud, request)
    for user in _users(cloud, address):
        raise in_use(address.path, user.split("/compute/v1/")[-1])
    return request.begin(
        cloud, request.scope, "delete", address, "delete", {"collection": "addresses", "name": address.name}
    )


def set_address_labels(cloud: Cloud, request: Request) -> Json:
    address = _address(cloud, request)
    set_labels(cloud, address, request.body)
    return request.begin(cloud, request.scope, "setLabels", address, "nothing")


def _address(cloud: Cloud, request: Request) -> Resource:
    _check_place(cloud, request)
    name = request.path.get("address") or request.path["resource"]
    return cloud.find("addresses", request.project, request.scope, name)


def _check_place(cloud: Cloud, request: Request) -> None:
    if "region" in request.path:
        cloud.check_region(request.project, request.path["region"])


def _shown(cloud: Cloud, address: Resource) -> Json:
    users = _users(cloud, address)
    return {**address.body, "status": "IN_USE", "users": users} if users else address.body


def _users(cloud: Cloud, address: Resource) -> list[str]:
    """The instances of its region that have the address."""
    number = address.body["address"]
    found: list[str] = []
    for instance in cloud.store.list("instances", address.project):
        if address.scope != f"regions/{region_of(instance.scope.removeprefix('zones/'))}":
            continue
        for interface in instance.body["networkInterfaces"]:
            configs = interface.get("accessConfigs", [])
            if number in (interface["networkIP"], *(config.get("natIP") for config in configs)):
                found.append(str(instance.body["selfLink"]))
    return found


def _free(cloud: Cloud, request: Request, *, internal: bool) -> str:
    """An address that no other resource has: outer ones in 198.19.0.0/16, beside those that instances get for a
    while (198.18.0.0/16; both RFC 2544), inner ones at the end of the region's subnetwork, which fills from its
    beginning."""
    if internal and "region" not in request.path:
        raise invalid_value("resource.addressType", "INTERNAL", "Global addresses are external ones here.")
    taken = {one.body["address"] for one in cloud.store.list("addresses", request.project)}
    prefix, rows = "198.19", range(256)
    if internal:
        prefix, rows = f"10.{subnet_number(cloud, request.path['region'])}", range(15, 16)
    for row in rows:
        for number in range(2, 254):
            if f"{prefix}.{row}.{number}" not in taken:
                return f"{prefix}.{row}.{number}"
    raise invalid(f"IP space of '{prefix}.0.0' is exhausted.")
