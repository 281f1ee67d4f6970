"""Images: Google's public ones (bare machines here), and those of a project, which may carry a Python environment."""

from __future__ import annotations

import csv
from functools import cache
from importlib.resources import files

from hydra_gce.local.compute.cloud import Cloud
from hydra_gce.local.compute.errors import Json, already_exists, invalid, invalid_value, not_found, required
from hydra_gce.local.compute.labels import check_labels, set_labels
from hydra_gce.local.compute.listing import page
from hydra_gce.local.compute.names import BASE, fingerprint, is_name, link, parse_link, stable_id
from hydra_gce.local.compute.request import Request
from hydra_gce.local.store import Resource

# gcloud names a family through the view that a zone has of it: `zones/-/imageFamilyViews/debian-12`.
_FAMILIES = ("images/family", "imageFamilyViews")
_SOURCES = ("sourceDisk", "sourceImage", "sourceSnapshot", "rawDisk")


def get(cloud: Cloud, request: Request) -> Json:
    return find_image(cloud, request.project, request.path["image"]).body


def list_(cloud: Cloud, request: Request) -> Json:
    bodies = [image.body for image in _images(cloud, request.project)]
    return page("compute#imageList", request.project, "global/images", bodies, request.query)


def get_from_family(cloud: Cloud, request: Request) -> Json:
    return newest_of_family(cloud, request.project, request.path["family"]).body


def family_view(cloud: Cloud, request: Request) -> Json:
    return {"image": newest_of_family(cloud, request.project, request.path["family"]).body}


def insert(cloud: Cloud, request: Request) -> Json:
    image = _draft(cloud, request)
    if cloud.store.get("images", request.project, "global", image.name) is not None:
        raise already_exists(image.path)
    cloud.store.put(image)
    return request.begin(cloud, "global", "insert", image, "images.ready", {"name": image.name})


def delete(cloud: Cloud, request: Request) -> Json:
    image = cloud.find("images", request.project, "global", request.path["image"])
    return request.begin(
        cloud, "global", "delete", image, "delete", {"collection": "images", "name": image.name}
    )


def set_image_labels(cloud: Cloud, request: Request) -> Json:
    image = cloud.find("images", request.project, "global", request.path["resource"])
    set_labels(cloud, image, request.body)
    return request.begin(cloud, "global", "setLabels", image, "nothing")


def find_image(cloud: Cloud, project: str, name: str) -> Resource:
    """A public or stored image. Raises 404."""
    for image in _images(cloud, project):
        if name in (image.name, image.body["id"]):
            return image
    raise not_found(f"projects/{project}/global/images/{name}")


def newest_of_family(cloud: Cloud, project: str, family: str) -> Resource:
    """The image that a family stands for. Raises 404."""
    ready = [
        image
        for image in _images(cloud, project)
        if image.body.get("family") == family
        and "deprecated" not in image.body
        and image.body["status"] == "READY"
    ]
    if not ready:
        raise not_found(f"projects/{project}/global/images/family/{family}")
    return max(ready, key=lambda image: str(image.body["creationTimestamp"]))


def resolve(cloud: Cloud, project: str, reference: str, field: str) -> Resource:
    """The image that `sourceImage` names: a link to an image or a family, full or partial."""
    target = parse_link(reference)
    if target is None or target.collection not in ("images", *_FAMILIES):
        raise invalid_value(field, reference, "The URL is malformed.")
    owner = target.project or project
    images = _images(cloud, owner)
    found = [image for image in images if target.collection == "images" and image.name == target.name]
    if target.collection in _FAMILIES:
        found = [image for image in images if image.body.get("family") == target.name]
    if not found:
        raise invalid_value(field, reference, "The referenced image resource cannot be found.")
    return max(found, key=lambda image: str(image.body["creationTimestamp"]))


def register_python(cloud: Cloud, project: str, name: str, python: str) -> Resource:
    """An image of the family `hydra-gce-python` whose VMs carry the environment of that executable."""
    existing = cloud.store.get("images", project, "global", name)
    if existing is not None and existing.private.get("python") == python:
        return existing
    body = cloud.new_body("image", project, "global", "images", name)
    body |= {
        "description": f"The Python environment of {python}",
        "family": "hydra-gce-python",
        "labelFingerprint": fingerprint({}),
        **_image_fields("X86_64", "10"),
    }
    image = Resource("images", project, "global", name, body, {"python": python})
    cloud.store.put(image)
    return image


def _draft(cloud: Cloud, request: Request) -> Resource:
    given = request.body
    name = given.get("name")
    if name is None:
        raise required("resource.name")
    if not is_name(name):
        raise invalid_value(
            "resource.name", name, "Must be a match of regex '(?:[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?)'"
        )
    sources = [source for source in _SOURCES if source in given]
    if len(sources) != 1:
        raise invalid(f"Exactly one of {', '.join(_SOURCES)} must be specified.")
    body = cloud.new_body("image", request.project, "global", "images", name)
    private: Json = {}
    size = "10"
    if "sourceImage" in given:
        source = resolve(cloud, request.project, given["sourceImage"], "resource.sourceImage")
        body |= {"sourceImage": source.body["selfLink"], "sourceImageId": source.body["id"]}
        private, size = dict(source.private), source.body["diskSizeGb"]
    elif "sourceDisk" in given:
        disk = _source_disk(cloud, request.project, given["sourceDisk"])
        body |= {"sourceDisk": disk.body["selfLink"], "sourceDiskId": disk.body["id"]}
        private, size = {"python": disk.private.get("python")}, disk.body["sizeGb"]
    check_labels(given.get("labels", {}))
    kept = ("description", "family", "labels", "storageLocations", "guestOsFeatures", "licenses")
    body |= {key: given[key] for key in kept if key in given}
    body |= {"labelFingerprint": fingerprint(given.get("labels", {}))}
    body |= _image_fields(given.get("architecture", "X86_64"), given.get("diskSizeGb", size)) | {
        "status": "PENDING"
    }
    return Resource("images", request.project, "global", name, body, private)


def _source_disk(cloud: Cloud, project: str, reference: str) -> Resource:
    target = parse_link(reference)
    disk = None
    if target is not None and target.collection == "disks":
        disk = cloud.store.get("disks", target.project or project, target.scope, target.name)
    if disk is None:
        raise invalid_value("resource.sourceDisk", reference, "The referenced disk resource cannot be found.")
    return disk


def _images(cloud: Cloud, project: str) -> list[Resource]:
    return [*_public().get(project, ()), *cloud.store.list("images", project)]


def _image_fields(architecture: str, size_gb: str) -> Json:
    return {
        "architecture": architecture,
        "archiveSizeBytes": str(int(size_gb) * 100_000_000),
        "diskSizeGb": size_gb,
        "sourceType": "RAW",
        "status": "READY",
    }


@cache
def _public() -> dict[str, list[Resource]]:
    projects: dict[str, list[Resource]] = {}
    with (files(__package__) / "public_images.csv").open("r", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            image = _public_image(row)
            projects.setdefault(image.project, []).append(image)
    return projects


def _public_image(row: dict[str, str]) -> Resource:
    project, name = row["project"], row["name"]
    body: Json = {
        "kind": "compute#image",
        "id": stable_id(project, name),
        "creationTimestamp": f"{row['date']}T00:00:00.000-07:00",
        "name": name,
        "description": row["description"],
        "family": row["family"],
        "guestOsFeatures": [
            {"type": kind} for kind in ("UEFI_COMPATIBLE", "VIRTIO_SCSI_MULTIQUEUE", "GVNIC")
        ],
        "labelFingerprint": fingerprint({}),
        "licenses": [f"{BASE}/projects/{project}/global/licenses/{row['family']}"],
        "selfLink": link(project, "global", "images", name),
        "storageLocations": ["us"],
        **_image_fields(row["architecture"], row["size_gb"]),
    }
    return Resource("images", project, "global", name, body)
