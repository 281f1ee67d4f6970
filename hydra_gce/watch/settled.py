"""A point's config as plain values, and the numbers in it: some programs say there how many steps they will take."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException


def numbers_in(config: DictConfig) -> dict[str, float]:
    """Each number of the program's own part: ``{"trainer.steps": 240}``."""
    return dict(_flat(own_values(config)))


def own_values(config: DictConfig) -> dict[str, Any]:
    """The program's own part, resolved where this machine can."""
    own = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    try:
        values = OmegaConf.to_container(own, resolve=True)
    except OmegaConfBaseException:  # a resolver of the program's own, or a value that has to be given still
        values = OmegaConf.to_container(own)
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, float]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flat(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield name, value
