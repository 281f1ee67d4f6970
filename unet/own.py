"""Functions of other people's modules, which a setting names as `module:function`."""

import importlib
from collections.abc import Callable
from typing import Any

from unet.errors import SettingsError


def own_function(field: str, value: str) -> Callable[..., Any]:
    """The function that the setting `field` names by its value.

    Raises:
        SettingsError: there is no such module, or it has no such function.
    """
    module_name, _, name = value.partition(":")
    said = f"{field} is {value!r}"
    try:
        function: Callable[..., Any] = getattr(importlib.import_module(module_name), name)
    except ImportError as error:
        raise SettingsError(
            f"{said}, but {module_name} cannot be imported ({error}); it has to lie beside train.py, or be installed."
        ) from error
    except AttributeError:
        raise SettingsError(f"{said}, but {module_name} has no {name}.") from None
    return function
