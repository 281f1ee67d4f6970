"""Firewall rules, on paper: guests share the host's network. The default network begins with four."""

from __future__ import annotations

from hydra_gce.local.compute.cloud import Cloud
from hydra_gce.local.compute.errors import Json, already_exists, invalid_value, not_found, required
from hydra_gce.local.compute.listing import page
from hydra_gce.local.compute.names import NAME, is_name, link, stable_id
from hydra_gce.local.compute.request import Request
from hydra_gce.local.store import Resource

_BIRTH = "2026-01-01T00:00:00.000-08:00"
_EVERY_PORT = ["0-65535"]
# https://cloud.google.com/firewall/docs/firewalls#more_rules_default_vpc
_FIRST: dict[str, tuple[str, list[Json], str]] = {
    "default-allow-icmp": ("0.0.0.0/0", [{"IPProtocol": "icmp"}], "Allow ICMP from anywhere"),
    "default-allow-internal": (
        "10.128.0.0/9",
        [{"IPProtocol": "tcp", "ports": _EVERY_PORT}, {"IPProtocol": "udp", "ports": _EVERY_PORT},
         {"IPProtocol": "icmp"}],
        "Allow internal traffic on the default network",
    ),
    "default-allow-rdp": ("0.0.0.0/0", [{"IPProtocol": "tcp", "ports": ["3389"]}], "Allow RDP from anywhere"),
    "default-allow-ssh": ("0.0.0.0/0", [{"IPProtocol": "tcp", "ports": ["22"]}], "Allow SSH from anywhere"),
}  # fmt: skip


def list_(cloud: Cloud, request: Request) -> Json:
    bodies = [one.body for one in _all(cloud, request.project)]
    return page("compute#firewallList", request.project, "global/firewalls", bodies, request.query)


def get(cloud: Cloud, request: Request) -> Json:
    return _find(cloud, request).body


def insert(cloud: Cloud, request: Request) -> Json:
    name = request.body.get("name")
    if name is None:
        raise required("resource.name")
    if not is_name(name):
        raise invalid_value("resource.name", name, f"Must be a match of regex '{NAME}'")
    if any(one.name == name for one in _all(cloud, request.project)):
        raise already_exists(f"projects/{request.project}/global/firewalls/{name}")
    if not request.body.get("allowed") and not request.body.get("denied"):
        raise required("resource.allowed")
    defaults = {
        "direction": "INGRESS",
        "priority": 1000,
        "network": link(request.project, "global/networks", "default"),
        "disabled": False,
        "logConfig": {"enable": False},
    }
    body = {
        **defaults,
        **request.body,
        **cloud.new_body("firewall", request.project, "global", "firewalls", name),
    }
    firewall = Resource("firewalls", request.project, "global", name, body)
    cloud.store.put(firewall)
    return request.begin(cloud, "global", "insert", firewall, "nothing")


def patch(cloud: Cloud, request: Request) -> Json:
    """Lays the given fields over the rule's."""
    firewall = _find(cloud, request)
    firewall.body.update({key: value for key, value in request.body.items() if key not in ("name", "id")})
    cloud.store.put(firewall)
    return request.begin(cloud, "global", "patch", firewall, "nothing")


def delete(cloud: Cloud, request: Request) -> Json:
    firewall = _find(cloud, request)
    if firewall.name in _FIRST:  # that it is gone has to be remembered
        cloud.store.put(Resource("firewalls.gone", request.project, "global", firewall.name, {}))
    return request.begin(
        cloud, "global", "delete", firewall, "delete", {"collection": "firewalls", "name": firewall.name}
    )


def count(cloud: Cloud, project: str) -> int:
    """How many the project has."""
    return len(_all(cloud, project))


def _find(cloud: Cloud, request: Request) -> Resource:
    name = request.path["firewall"]
    for one in _all(cloud, request.project):
        if name in (one.name, one.body["id"]):
            return one
    raise not_found(f"projects/{request.project}/global/firewalls/{name}")


def _all(cloud: Cloud, project: str) -> list[Resource]:
    stored = cloud.store.list("firewalls", project)
    known = {one.name for one in (*stored, *cloud.store.list("firewalls.gone", project))}
    return [*stored, *(_first(project, name) for name in _FIRST if name not in known)]


def _first(project: str, name: str) -> Resource:
    source, allowed, description = _FIRST[name]
    body: Json = {
        "kind": "compute#firewall",
        "id": stable_id(project, "firewall", name),
        "creationTimestamp": _BIRTH,
        "name": name,
        "description": description,
        "network": link(project, "global/networks", "default"),
        "priority": 65534,
        "sourceRanges": [source],
        "allowed": allowed,
        "direction": "INGRESS",
        "disabled": False,
        "logConfig": {"enable": False},
        "selfLink": link(project, "global/firewalls", name),
    }
    return Resource("firewalls", project, "global", name, body)
