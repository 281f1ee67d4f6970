"""``vm.instance``: fields of Compute Engine's ``Instance`` in its own words, laid over what the launcher asks for."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from hydra_gce.errors import ConfigError
from hydra_gce.machines.words import either, nearest

FIELD = "hydra.launcher.vm.instance"
REFERENCE = "https://cloud.google.com/compute/docs/reference/rest/v1/instances"

RESERVED = "hydra-gce-"
"""What begins like this, of labels and metadata, is the launcher's own."""

# What the launcher cannot do without, and where to say it instead.
_OURS = {
    "name": "VMs are named after their sweep and job, so that none is made twice",
    "zone": "say vm.zones",
    "metadata": "it would replace what the VM's agent reads; say vm.metadata",
}


def overlay(body: Mapping[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    """``extra`` over ``body``: mappings are merged, everything else is replaced."""
    merged = dict(body)
    for key, value in extra.items():
        known = merged.get(key)
        both = isinstance(known, dict) and isinstance(value, dict)
        merged[key] = overlay(known, value) if both else value  # type: ignore[arg-type]
    return merged


def wrong_fields(extra: Mapping[str, Any]) -> Iterator[str]:
    """What of ``vm.instance`` Compute Engine would not understand, or the launcher cannot give away.

    A sentence for each, without ``hydra.launcher.``. Imports Google's client where there is something to look at.
    """
    if not extra:
        return
    from google.cloud import compute_v1

    for key, why in _OURS.items():
        if key in extra:
            yield f"vm.instance.{key}: {why}."
    for key in extra.get("labels") or {}:
        if str(key).startswith(RESERVED):
            yield f"vm.instance.labels.{key}: labels that begin with {RESERVED} are the launcher's own."
    message = compute_v1.Instance.pb(compute_v1.Instance())
    unknown = list(_unknown(message.DESCRIPTOR, extra, "vm.instance"))
    yield from unknown
    if not unknown:
        try:
            to_message(dict(extra))
        except ConfigError as error:
            yield str(error).removeprefix("hydra.launcher.")


def to_message(body: dict[str, Any]) -> Any:
    """The body as the client's own message.

    :raises ConfigError: ``vm.instance`` has a field that the API does not have, or one of the wrong type.
    """
    from google.cloud import compute_v1
    from google.protobuf.json_format import ParseError

    try:
        return compute_v1.Instance.from_json(json.dumps(body))
    except ParseError as error:
        raise ConfigError(
            f"{FIELD}: Compute Engine's Instance does not take this: {error}. Its fields: {REFERENCE}"
        ) from error


def _unknown(descriptor: Any, extra: Mapping[str, Any], path: str) -> Iterator[str]:
    """Fields that the message does not have, with the nearest that it has; and so in the messages within."""
    fields = {field.json_name: field for field in descriptor.fields}
    for key, value in extra.items():
        field = fields.get(key)
        if field is None:
            yield f"{path}.{key}: Compute Engine has no such field. The nearest are {either(nearest(key, fields))}."
        elif field.message_type is None or field.message_type.GetOptions().map_entry:
            continue
        elif isinstance(value, Mapping):
            yield from _unknown(field.message_type, value, f"{path}.{key}")
        elif isinstance(value, (list, tuple)):
            for index, item in enumerate(value):
                if isinstance(item, Mapping):
                    yield from _unknown(field.message_type, item, f"{path}.{key}[{index}]")
