"""Instance and project metadata: its syntax, its limits, its fingerprint."""

from __future__ import annotations

from hydra_gce.local.compute.errors import Json, condition_not_met, invalid_value
from hydra_gce.local.compute.names import METADATA_KEY, fingerprint

_MOST_VALUE_BYTES = 256 << 10
_MOST_BYTES = 512 << 10


def read_metadata(given: Json, field: str = "resource") -> Json:
    """`metadata` as an instance shows it. Raises 400 for keys and values that Google refuses."""
    items = given.get("items", [])
    total, seen = 0, set()
    for index, item in enumerate(items):
        key, value = item.get("key", ""), item.get("value", "")
        if not METADATA_KEY.fullmatch(key):
            raise invalid_value(
                f"{field}.items[{index}].key", key, "Must be a match of regex '[a-zA-Z0-9-_]{1,128}'"
            )
        if key in seen:
            raise invalid_value(f"{field}.items[{index}].key", key, "Metadata has duplicate keys.")
        seen.add(key)
        size = len(value.encode())
        if size > _MOST_VALUE_BYTES:
            raise invalid_value(
                f"{field}.items[{index}].value",
                f"{value[:50]}...",
                f"Metadata value is too large: {size} bytes; it must be at most {_MOST_VALUE_BYTES} bytes.",
            )
        total += size + len(key)
    if total > _MOST_BYTES:
        raise invalid_value(
            field, "", f"Metadata is too large: {total} bytes; it must be at most {_MOST_BYTES} bytes."
        )
    kept = [{"key": item["key"], "value": item.get("value", "")} for item in items]
    metadata: Json = {"kind": "compute#metadata", "fingerprint": fingerprint(kept)}
    if kept:
        metadata["items"] = kept
    return metadata


def check_fingerprint(current: Json, given: Json, what: str) -> None:
    """Raises 412 if `what` was changed since its fingerprint was read, or no fingerprint came along."""
    if given.get("fingerprint") != current.get("fingerprint"):
        raise condition_not_met(f"Supplied fingerprint does not match current {what} fingerprint.")
