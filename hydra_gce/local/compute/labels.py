"""Labels: their syntax, and how they are changed under a fingerprint."""

from __future__ import annotations

from hydra_gce.local.compute.cloud import Cloud
from hydra_gce.local.compute.errors import Json, condition_not_met, invalid, invalid_value
from hydra_gce.local.compute.names import LABEL_KEY, LABEL_VALUE, fingerprint
from hydra_gce.local.store import Resource

_MOST_LABELS = 64
_CHARACTERS = "can only contain lowercase letters, numeric characters, underscores and dashes."


def check_labels(labels: dict[str, str], field: str = "resource.labels") -> None:
    """Raises 400 for labels that break the syntax."""
    if len(labels) > _MOST_LABELS:
        raise invalid_value(field, "", f"Number of labels must not exceed {_MOST_LABELS}.")
    for key, value in labels.items():
        if not LABEL_KEY.fullmatch(key):
            raise invalid_value(
                field,
                "",
                f"Label key '{key}' violates format constraints. The key must start with a lowercase character, "
                f"{_CHARACTERS} The key can be at most 63 characters long. International characters are allowed.",
            )
        if not LABEL_VALUE.fullmatch(value):
            raise invalid_value(
                field,
                "",
                f"Label value '{value}' violates format constraints. The value {_CHARACTERS} "
                "The value can be at most 63 characters long. International characters are allowed.",
            )


def set_labels(cloud: Cloud, resource: Resource, body: Json) -> None:
    """Replace all labels of a resource. Raises 412 if somebody changed them since the fingerprint was read."""
    if body.get("labelFingerprint") is None:
        raise invalid("Required field 'labelFingerprint' not specified")
    if body["labelFingerprint"] != resource.body["labelFingerprint"]:
        raise condition_not_met("Labels fingerprint either invalid or resource labels have changed")
    labels = body.get("labels", {})
    check_labels(labels)
    cloud.change(resource, {"labels": labels or None, "labelFingerprint": fingerprint(labels)})
