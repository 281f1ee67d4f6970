"""Which VMs may wait for a sweeper's next batch."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace

import pytest

from hydra_gce.cargo.pack import Sent
from hydra_gce.cloud.backend import Backend
from hydra_gce.follow.warm import WarmVMs
from hydra_gce.jobs import Placement

SENT = Sent(Placement("code/a.tar.gz", "/project"), [], "environments/a.json", "launcher/a.whl")


@pytest.fixture
def warm(embedded: Backend) -> Iterator[WarmVMs]:
    vms = WarmVMs(embedded, "bucket", "calm-otter", SENT, io.StringIO())
    yield vms
    vms.taken_over()


def test_code_and_data_may_change_between_batches(warm: WarmVMs) -> None:
    other = Placement("code/b.tar.gz", "/project")
    assert warm.fit(replace(SENT, code=other, data=[other]))


@pytest.mark.parametrize(
    "other", [replace(SENT, environment="environments/b.json"), replace(SENT, launcher="launcher/b.whl")]
)
def test_what_a_vm_boots_with_may_not(warm: WarmVMs, other: Sent) -> None:
    assert not warm.fit(other)
