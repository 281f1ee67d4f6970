"""A project as Google makes it."""

from __future__ import annotations

from tests.doctor.conftest import bare, cloud, machines

__all__ = ["bare", "cloud", "machines"]
