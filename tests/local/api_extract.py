"""Cut the served part out of Google's `compute.v1.json`: `python tests/local/api_extract.py` rewrites `api.json`."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, cast

import hydra_gce.local.compute

SERVED = Path(hydra_gce.local.compute.__file__).with_name("api.json")
METHODS = {
    "acceleratorTypes": "aggregatedList get list",
    "addresses": "aggregatedList delete get insert list setLabels",
    "diskTypes": "aggregatedList get list",
    "disks": "aggregatedList delete get insert list resize setLabels",
    "firewalls": "delete get insert list patch",
    "globalAddresses": "delete get insert list setLabels",
    "globalOperations": "aggregatedList delete get list wait",
    "imageFamilyViews": "get",
    "images": "delete get getFromFamily insert list setLabels",
    "instanceTemplates": "delete get insert list",
    "instances": "aggregatedList bulkInsert delete get getSerialPortOutput insert list reset setDeletionProtection "
    "setDiskAutoDelete setLabels setMachineType setMetadata setScheduling setServiceAccount setTags "
    "simulateMaintenanceEvent start stop",
    "machineTypes": "aggregatedList get list",
    "networks": "get list",
    "projects": "get setCommonInstanceMetadata",
    "regionOperations": "delete get list wait",
    "regions": "get list",
    "routers": "aggregatedList delete get insert list patch",
    "subnetworks": "aggregatedList get list",
    "zoneOperations": "delete get list wait",
    "zones": "get list",
}
# Google takes it on every list (and gcloud sends it), though some revisions of the document leave it out.
_PARTIAL = {"returnPartialSuccess": "boolean"}


@cache
def discovery() -> dict[str, Any]:
    """Google's document, as google-api-python-client ships it."""
    source = files("googleapiclient") / "discovery_cache" / "documents" / "compute.v1.json"
    return cast(dict[str, Any], json.loads(source.read_text()))


def extract(document: dict[str, Any]) -> dict[str, Any]:
    """The methods in METHODS, and each schema that their bodies reach."""
    methods: dict[str, Any] = {}
    schemas: dict[str, Any] = {}
    for resource, names in METHODS.items():
        for name in names.split():
            source = document["resources"][resource]["methods"][name]
            parameters = source["parameters"].items()
            query = {key: _kind(value) for key, value in parameters if value["location"] == "query"}
            if name in ("list", "aggregatedList"):
                query |= _PARTIAL
            request = source["request"]["$ref"] if "request" in source else None
            methods[f"{resource}.{name}"] = {
                "verb": source["httpMethod"],
                "path": source["path"],
                "query": query,
                "request": request,
            }
            if request is not None:
                _collect(request, document["schemas"], schemas)
    return {"revision": document["revision"], "methods": methods, "schemas": schemas}


def _collect(name: str, source: dict[str, Any], into: dict[str, Any]) -> None:
    if name in into:
        return
    into[name] = {}
    into[name].update({key: _kind(value) for key, value in source[name].get("properties", {}).items()})
    for reference in _references(source[name]):
        _collect(reference, source, into)


def _references(node: Any) -> set[str]:
    if isinstance(node, list):
        return set().union(*map(_references, node)) if node else set()
    if not isinstance(node, dict):
        return set()
    own = {node["$ref"]} if isinstance(node.get("$ref"), str) else set()
    return own.union(*map(_references, node.values()))


def _kind(node: dict[str, Any]) -> Any:
    if "$ref" in node:
        return node["$ref"]
    if "enum" in node:
        return {"enum": node["enum"]}
    kind = node["type"]
    if kind == "array":
        return [_kind(node["items"])]
    if kind == "object":
        if "additionalProperties" in node:
            return {"*": _kind(node["additionalProperties"])}
        return {"fields": {key: _kind(value) for key, value in node.get("properties", {}).items()}}
    if kind in ("integer", "string") and node.get("format") in ("int32", "uint32", "int64", "uint64", "byte"):
        return node["format"]
    return "number" if kind == "number" else "int32" if kind == "integer" else kind


if __name__ == "__main__":
    SERVED.write_text(json.dumps(extract(discovery()), indent=1, sort_keys=True) + "\n")
