"""A project as Google makes it."""

from __future__ import annotations

from tests.doctor.conftest import bare, cloud

__all__ = ["bare", "cloud"]
