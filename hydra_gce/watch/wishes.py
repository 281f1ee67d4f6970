"""What people ask of a sweep while somebody watches it: an object for each wish, until it is granted."""

from __future__ import annotations

import re
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor

from hydra_gce.bucket import Bucket, SweepNames

_CANCEL = re.compile(r"cancel-(\d+)")
_AT_ONCE = 8


def cancel(bucket: Bucket, names: SweepNames, nums: Collection[int], who: str) -> None:
    """These jobs are to be ended; ``who`` says so."""

    def wish(num: int) -> None:
        bucket.write(_name(names, f"cancel-{num}"), b"", metadata={"who": who})

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        list(pool.map(wish, nums))


def cancelled(bucket: Bucket, names: SweepNames) -> dict[int, str]:
    """The jobs that are to be ended, each with who says so."""
    entries = bucket.list(names.wishes)
    found = ((_CANCEL.fullmatch(one.name.removeprefix(names.wishes)), one.metadata) for one in entries)
    return {int(match[1]): metadata.get("who", "") for match, metadata in found if match}


def forget_cancel(bucket: Bucket, names: SweepNames, num: int) -> None:
    """It has ended, or is wanted again."""
    bucket.delete(_name(names, f"cancel-{num}"))


def _name(names: SweepNames, wish: str) -> str:
    return f"{names.wishes}{wish}"
