"""What is recorded for a program that never calls MLflow: config, return value, output, log."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from hydra_gce.tracking.relay.calls import Refused
from hydra_gce.tracking.relay.destination import Destination, KnownRun

RETURN_VALUE = "return_value"
_OUTPUT = "output"
_LOG = "log.txt"


@dataclass(frozen=True)
class Captured:
    """``config`` is the point's own, as plain containers; ``log`` gives what the program printed."""

    config: Mapping[str, Any]
    returned: object
    output_dir: Path
    log: Callable[[], str]


def record(
    to: Destination, run: KnownRun, captured: Captured, ended: float, refuse: Callable[[str, str], None]
) -> None:
    """Writes it to the point's run; repeating it changes nothing. ``refuse`` is told what the store would not have."""
    from mlflow.entities import Metric, Param

    client, run_id = to.client, run.run_id

    def give(what: str, write: Callable[[], object]) -> None:
        try:
            to.call(f"take {what}", write)
        except Refused as refused:
            refuse(what, str(refused))

    for key, value in flattened(captured.config):
        give(f"param {key}={value}"[:200], partial(client.log_batch, run_id, params=[Param(key, str(value))]))
    metrics = [Metric(key, value, int(ended * 1000), 0) for key, value in numbers(captured.returned)]
    if metrics:
        give("the return value", partial(client.log_batch, run_id, metrics=metrics))
    for path in sorted(captured.output_dir.rglob("*")):
        if path.is_file() and not path.is_symlink():
            below = (Path(_OUTPUT) / path.relative_to(captured.output_dir)).parent.as_posix()
            give(f"artifact {below}/{path.name}", partial(to.log_artifact, run_id, str(path), below))
    give(f"artifact {_LOG}", lambda: to.log_text(run_id, captured.log(), _LOG))


def flattened(config: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """``model.filters``, ``16`` and so on; lists stay whole."""
    for key, value in config.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            yield from flattened(value, f"{name}.")
        else:
            yield name, value


def numbers(returned: object, name: str = RETURN_VALUE) -> Iterator[tuple[str, float]]:
    """The numbers of a return value: itself, or those in its containers by their key or place."""
    if isinstance(returned, bool):
        return
    if isinstance(returned, Mapping):
        for key, value in returned.items():
            yield from numbers(value, str(key) if name == RETURN_VALUE else f"{name}.{key}")
    elif isinstance(returned, (list, tuple)):
        for place, value in enumerate(returned):
            yield from numbers(value, f"{name}.{place}")
    elif hasattr(returned, "__float__"):
        try:
            yield name, float(returned)
        except (TypeError, ValueError):  # an array of several
            return
