"""The VM that the agent is on: what its metadata server says, and its own deletion."""

from __future__ import annotations

import json
import os
import urllib.parse
import urllib.request
from dataclasses import dataclass
from typing import Any

COMPUTE = "https://compute.googleapis.com/compute/v1/"


def metadata(path: str, timeout: float = 10.0) -> str:
    """The value at ``path`` below ``/computeMetadata/v1/``."""
    host = os.environ.get("GCE_METADATA_HOST", "metadata.google.internal")
    request = urllib.request.Request(
        f"http://{host}/computeMetadata/v1/{path}", headers={"Metadata-Flavor": "Google"}
    )
    with urllib.request.urlopen(request, timeout=timeout) as answer:
        content: bytes = answer.read()
    return content.decode()


@dataclass(frozen=True)
class Instance:
    """The VM by the names that Compute Engine has for it. ``attributes`` is the metadata that it was made with."""

    name: str
    zone: str
    project: str
    machine_type: str
    attributes: dict[str, str]

    @classmethod
    def here(cls) -> Instance:
        tree: dict[str, Any] = json.loads(metadata("?recursive=true&alt=json"))
        instance = tree["instance"]
        return cls(
            name=instance["name"],
            zone=instance["zone"].rpartition("/")[2],
            project=tree["project"]["projectId"],
            machine_type=instance["machineType"].rpartition("/")[2],
            attributes=instance.get("attributes", {}),
        )

    def delete(self) -> None:
        """Asks Compute Engine to delete this VM.

        One plain request: importing ``google.cloud.compute_v1`` for it would cost seconds of a paid machine.
        """
        root = os.environ.get("CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE", COMPUTE)
        request = urllib.request.Request(
            f"{root}projects/{self.project}/zones/{self.zone}/instances/{urllib.parse.quote(self.name)}",
            method="DELETE",
            headers={"Authorization": f"Bearer {access_token()}"},
        )
        with urllib.request.urlopen(request, timeout=60):
            return


def access_token() -> str:
    """A token of the VM's service account."""
    token: str = json.loads(metadata("instance/service-accounts/default/token"))["access_token"]
    return token
