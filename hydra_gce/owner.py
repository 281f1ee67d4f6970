"""Whose a VM is: a label, so that people who share a project know whom to ask."""

from __future__ import annotations

import getpass
import re
import socket

_LONGEST = 63  # https://cloud.google.com/compute/docs/labeling-resources#requirements


def owner_label(user: str, host: str) -> str:
    """``ada`` on ``laptop.example.org`` as a label's value (a-z, 0-9, ``-``, ``_``): ``ada_at_laptop``."""
    return f"{_plain(user)}_at_{_plain(host.partition('.')[0])}"[:_LONGEST].rstrip("-_")


def owner_here() -> str:
    """The label's value for whoever runs this process."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user may have a number and no name
        user = "unknown"
    return owner_label(user, socket.gethostname())


def _plain(text: str) -> str:
    return re.sub(r"[^a-z0-9_-]+", "-", text.lower()).strip("-") or "unknown"
