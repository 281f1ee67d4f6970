"""The program that is swept over: no VM runs it. As the launcher's process it counts its requests to Cloud Storage.

The bench copies it to a folder of its own; ``BENCH_REQUESTS`` names the file for the counts.
"""

from __future__ import annotations

import atexit
import json
import os
import re
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import hydra
from omegaconf import DictConfig

_HEAD = 2000  # the name of an object that is sent stands in the first part of the request's body


def count_requests() -> None:
    """From now on; written when this process ends."""
    from requests import PreparedRequest, Response
    from requests.adapters import HTTPAdapter

    counts: Counter[str] = Counter()
    guard = threading.Lock()
    send = HTTPAdapter.send

    def counted(self: HTTPAdapter, request: PreparedRequest, *args: Any, **options: Any) -> Response:
        head = request.body[:_HEAD].decode(errors="replace") if isinstance(request.body, bytes) else ""
        with guard:
            counts[kind_of(str(request.method), str(request.url), head)] += 1
        return send(self, request, *args, **options)

    HTTPAdapter.send = counted  # type: ignore[method-assign]
    atexit.register(lambda: Path(os.environ["BENCH_REQUESTS"]).write_text(json.dumps(counts)))


def kind_of(method: str, url: str, body: str) -> str:
    """A request in a few words: "list status", "list status (next page)", "GET claim", "POST ledger"."""
    text = url.replace("%2F", "/")
    listing = re.search(r"/o\?.*\bprefix=[^&]*?([a-z]+)/?(&|$)", text)
    if method == "GET" and listing:
        return f"list {listing[1]}{' (next page)' if 'pageToken=' in text else ''}"
    named = re.search(r"/(status|spec|claim|result|output|journal|artifacts|ledger)\b", f"{text} {body}")
    return f"{method} {named[1] if named else 'other'}"


@hydra.main(version_base="1.3", config_path=None)
def main(config: DictConfig) -> float:
    return float(config.x)


if __name__ == "__main__":
    count_requests()
    main()
