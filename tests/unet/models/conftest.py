"""ImageNet's weights are out of reach: no test waits for them."""

from __future__ import annotations

from collections.abc import Iterator

import keras
import pytest


@pytest.fixture(autouse=True)
def float32() -> Iterator[None]:
    """Each test computes in float32, whatever the one before has chosen."""
    keras.mixed_precision.set_global_policy("float32")
    yield
    keras.mixed_precision.set_global_policy("float32")
