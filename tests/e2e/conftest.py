"""What the tests of the whole way share: a project, and a look at the embedded Compute Engine behind our back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hydra_gce.cloud.backend import Backend, connect
from hydra_gce.compute import HereCompute
from tests.e2e.project import Project


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    made = Project(tmp_path / "project")
    yield made
    made.close()


@pytest.fixture(scope="module")
def engine() -> Backend:
    """The embedded Compute Engine, through Google's own client."""
    return connect("local", None)


@pytest.fixture
def no_vm_was_asked_for(engine: Backend) -> Iterator[None]:
    """Fails a test in whose time a VM was asked for."""
    before = _insertions(engine)
    yield
    assert _insertions(engine) == before
    assert not HereCompute(engine).instances()


def _insertions(engine: Backend) -> set[str]:
    from google.cloud import compute_v1

    client = compute_v1.GlobalOperationsClient(
        credentials=engine.credentials, client_options={"api_endpoint": engine.compute_endpoint}
    )
    return {
        operation.name
        for _, scope in client.aggregated_list(project=engine.project)
        for operation in scope.operations
        if operation.operation_type == "insert"
    }
