"""What the tests of the verbs share: the command as a person types it, a sweep of this machine, its VM."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hydra_gce.bucket import Bucket
from hydra_gce.cli import main
from hydra_gce.cloud.backend import Backend
from hydra_gce.compute import HereCompute
from hydra_gce.home import SweepRecord
from hydra_gce.machines import VMRequest, resolve
from hydra_gce.request import Order
from tests.cli.stored import KEY, Stored
from tests.scene import IDLE

Command = Callable[..., tuple[int, str, str]]

(PLACE,) = resolve(VMRequest(machine_type="e2-micro", zones=["us-central1-a"]))
NOBODY = 2**22 - 1  # no process has this number


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs ``hydra-gce`` with these words; its exit code, what it printed, and its errors."""

    def run(*words: str) -> tuple[int, str, str]:
        code = main(list(words))
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


@pytest.fixture
def store(embedded: Backend) -> Bucket:
    return embedded.bucket(f"b-{uuid.uuid4().hex[:12]}")


@pytest.fixture
def record(hydra_gce_home: Path, embedded: Backend, store: Bucket) -> Iterator[SweepRecord]:
    """A sweep whose launcher is dead."""
    made = SweepRecord(
        sweep=f"calm-{uuid.uuid4().hex[:6]}",
        key=KEY.hex(),
        backend="local",
        project=embedded.project,
        bucket=store.name,
        sweep_dir="/home/me/multirun",
        started=time.time() + 10**6,  # the newest of this session
        pid=NOBODY,
    )
    made.save()
    yield made
    (hydra_gce_home / "sweeps" / f"{made.sweep}.json").unlink(missing_ok=True)


@pytest.fixture
def stored(store: Bucket, record: SweepRecord) -> Stored:
    """The same sweep as it lies in its bucket: nothing of it yet."""
    return Stored(store, record.sweep)


@pytest.fixture
def forgotten(embedded: Backend) -> Iterator[Stored]:
    """A sweep in the project's own bucket, of which this machine knows nothing."""
    embedded.bucket(None)
    made = Stored(embedded.bucket(None), f"wild-{uuid.uuid4().hex[:6]}")
    made.describe()
    yield made
    made.delete()


@pytest.fixture
def vm(embedded: Backend, record: SweepRecord) -> Iterator[str]:
    """The name of a VM that the sweep has."""
    order = Order(record.sweep, embedded.project, IDLE, embedded.image, {})
    compute = HereCompute(embedded)
    assert compute.insert(PLACE.zone, order.body(0, 1, PLACE), str(uuid.uuid4())) is None
    yield order.instance_name(0, 1)
    compute.delete(PLACE.zone, order.instance_name(0, 1))
