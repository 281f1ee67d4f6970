"""Run a Hydra sweep on Google Cloud: a Compute Engine VM for each point, MLflow beside it."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hydra_gce.api.calls import attach as attach
    from hydra_gce.api.calls import map as map
    from hydra_gce.api.calls import submit as submit
    from hydra_gce.api.job import Job as Job
    from hydra_gce.api.job import Status as Status

__version__ = "0.1.0"
__all__ = ["Job", "Status", "attach", "map", "submit"]

_MODULES = {
    "submit": "api.calls",
    "map": "api.calls",
    "attach": "api.calls",
    "Job": "api.job",
    "Status": "api.job",
}


def __getattr__(name: str) -> Any:
    """Late: this is imported at each start of each Hydra program."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
