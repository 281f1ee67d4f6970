"""What people ask of a sweep while somebody watches it: an object for each wish, until it is granted."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor

from hydra_gce.bucket import Bucket, SweepNames

_CANCEL = re.compile(r"cancel-(\d+)")
_AT_ONCE = 8


def cancel(bucket: Bucket, names: SweepNames, nums: Collection[int], who: str) -> None:
    """These jobs are to be ended; ``who`` says so."""
    content = json.dumps({"who": who}).encode()
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        list(pool.map(lambda num: bucket.write(_name(names, f"cancel-{num}"), content), nums))


def cancelled(bucket: Bucket, names: SweepNames) -> set[int]:
    """The jobs that are to be ended."""
    found = (_CANCEL.fullmatch(entry.name.removeprefix(names.wishes)) for entry in bucket.list(names.wishes))
    return {int(one[1]) for one in found if one}


def forget_cancel(bucket: Bucket, names: SweepNames, num: int) -> None:
    """It has ended, or is wanted again."""
    bucket.delete(_name(names, f"cancel-{num}"))


def _name(names: SweepNames, wish: str) -> str:
    return f"{names.wishes}{wish}"
