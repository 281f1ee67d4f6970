"""What the operations do that have no VM to wait for."""

from __future__ import annotations

from functools import partial

from hydra_gce.local.compute.cloud import Cloud
from hydra_gce.local.compute.guest import metadata_tree
from hydra_gce.local.compute.operations import Operation


def register(cloud: Cloud) -> None:
    """Give the operations on images, disks and the like their work."""

    def nothing(operation: Operation) -> None:
        """The change was made when it was asked for."""

    def delete(operation: Operation) -> None:
        resource, arguments = operation.resource, operation.arguments
        found = cloud.store.get(arguments["collection"], resource.project, resource.scope, arguments["name"])
        if found is not None and found.body["id"] == resource.body["targetId"]:
            cloud.store.delete(found)

    def ready(collection: str, operation: Operation) -> None:
        resource = operation.resource
        found = cloud.store.get(collection, resource.project, resource.scope, operation.arguments["name"])
        if found is not None:
            cloud.change(found, {"status": "READY"})

    def unmade(collection: str, operation: Operation) -> None:
        resource = operation.resource
        found = cloud.store.get(collection, resource.project, resource.scope, operation.arguments["name"])
        if found is not None:
            cloud.store.delete(found)

    def publish_project_metadata(operation: Operation) -> None:
        for instance in cloud.store.list("instances", operation.resource.project):
            if instance.body["status"] == "RUNNING":
                cloud.machine_of(instance).set_metadata(metadata_tree(cloud, instance))

    cloud.operations.works("nothing", nothing)
    cloud.operations.works("delete", delete)
    for collection in ("images", "disks"):
        cloud.operations.works(f"{collection}.ready", partial(ready, collection), partial(unmade, collection))
    cloud.operations.works("projects.metadata", publish_project_metadata)
