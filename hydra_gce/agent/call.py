"""A plain function as the task of a Hydra job."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from omegaconf import DictConfig, OmegaConf


class Call:
    """The function as Hydra calls it: with a config, which the function gets as what it was given.

    :param kind: "config" (a DictConfig), "dict", or "object" (of a dataclass).
    """

    def __init__(self, function: Callable[[Any], Any], kind: str) -> None:
        self._function = function
        self._kind = kind
        functools.update_wrapper(self, function)  # messages name the function

    def __call__(self, config: DictConfig) -> Any:
        if self._kind == "config":
            return self._function(config)
        return self._function(
            OmegaConf.to_container(config) if self._kind == "dict" else OmegaConf.to_object(config)
        )
