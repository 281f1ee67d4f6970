"""An embedded Compute Engine that makes VMs at once, and a proxy before it that may answer in its place."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lossy_proxy import serving
from tests.quick_cloud import AnsweringProxy, QuickCloud, quick_cloud


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[QuickCloud]:
    with quick_cloud(tmp_path) as made:
        yield made


@pytest.fixture
def proxy(cloud: QuickCloud) -> Iterator[AnsweringProxy]:
    with serving(AnsweringProxy(cloud.embedded.url)) as made:
        yield made
