"""How far a VM is kept apart from the machine that it runs on."""

from __future__ import annotations

import enum
import os


class Isolation(str, enum.Enum):
    """NAMESPACES: own files, processes and network. ENVIRONMENT: own directories by environment variables only."""

    NAMESPACES = "namespaces"
    ENVIRONMENT = "environment"


SWITCH = "HYDRA_GCE_LOCAL_ISOLATION"


def wanted() -> list[Isolation]:
    """The kinds to try, best first: namespaces where Linux allows them, unless the switch names one."""
    choice = os.environ.get(SWITCH, "auto") or "auto"
    if choice == "auto":
        return [Isolation.NAMESPACES, Isolation.ENVIRONMENT]
    try:
        return [Isolation(choice)]
    except ValueError:
        raise ValueError(f"{SWITCH} is {choice!r}: write namespaces, environment or auto") from None
