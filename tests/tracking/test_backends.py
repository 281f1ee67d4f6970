"""The relay into stores as teams have them: a server with users, a server over PostgreSQL, PostgreSQL itself."""

from __future__ import annotations

import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from bench.mlflow_server import MLflowServer, User
from hydra_gce.bucket import Bucket
from hydra_gce.jobs import JobState
from hydra_gce.tracking.relay.database import missing_driver
from tests.tracking.equality import records
from tests.tracking.lab import STARTED, SWEEP, TRAINING, Scribe, relay_for, run_on_vm
from tests.tracking.postgres import PASSWORD, Cluster, programs

pytestmark = pytest.mark.timeout(600)  # a server's start and a training are part of the first test

ADA = User("ada", "correct horse: battery/staple")


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    found = programs()
    if found is None:
        pytest.skip("PostgreSQL is not installed here (Debian: apt-get install postgresql)")
    # Not below pytest's directory, which only its own user may enter.
    directory = Path(tempfile.mkdtemp(prefix="postgres-"))
    one = Cluster(found, directory)
    if driver := missing_driver(one.uri("mlflow")):
        pytest.skip(f"the driver for PostgreSQL that SQLAlchemy asks for here is not installed: {driver}")
    try:
        one.start()
        yield one
    finally:
        one.stop()
        shutil.rmtree(directory)


@pytest.fixture(scope="session")
def empty_database(cluster: Cluster) -> str:
    """The name of an MLflow database with nothing in it: making one takes seconds."""
    from mlflow.store.db.utils import _initialize_tables, create_sqlalchemy_engine

    engine = create_sqlalchemy_engine(cluster.create("empty"))
    _initialize_tables(engine)
    engine.dispose()
    return "empty"


@pytest.fixture
def database(cluster: Cluster, empty_database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of a database of the test's own, as a laptop has it; its artifacts lie in the test's directory."""
    monkeypatch.chdir(tmp_path)
    return cluster.create(f"mlflow_{uuid.uuid4().hex}", like=empty_database)


@pytest.fixture(scope="session")
def guarded(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MLflowServer]:
    """A server that lets nobody but Ada in."""
    if find_spec("flask_wtf") is None:
        pytest.skip("MLflow's server with users is not installed here: mlflow[auth]")
    home = tmp_path_factory.mktemp("guarded")
    shutil.copy(empty_store, home / "server.db")
    with MLflowServer(home, user=ADA) as server:
        yield server


@pytest.fixture
def as_ada(guarded: MLflowServer, monkeypatch: pytest.MonkeyPatch) -> MLflowServer:
    """That server, in a shell of Ada's."""
    for name, value in guarded.environment.items():
        monkeypatch.setenv(name, value)
    return guarded


@pytest.fixture
def sweep() -> str:
    """That server is shared by all tests of a session."""
    return f"{SWEEP}-{uuid.uuid4().hex[:8]}"


def same_records_in(store: str, plain: dict[str, Any], bucket: Bucket, directory: Path) -> None:
    vm = run_on_vm(TRAINING, bucket, directory / "vm", num=0, attempt=1)
    relay = relay_for(bucket, store)
    relay.tick({0: vm.upload()})
    relay.finish(vm.status(JobState.COMPLETED), ended=STARTED + 100, tags={"cost_usd": "0.031"})
    relay.close(JobState.COMPLETED, STARTED + 200, {"cost_usd": "0.031"})

    assert relay.trouble == ""
    assert relay.refused == []
    run_id = relay.run_id(0)
    assert run_id is not None
    assert records(MlflowClient(store), run_id) == plain


def test_a_server_with_users_gets_the_records_that_a_program_leaves_in_mlflow_itself(
    as_ada: MLflowServer, plain: dict[str, Any], bucket: Bucket, tmp_path: Path
) -> None:
    same_records_in(as_ada.uri, plain, bucket, tmp_path)


def test_postgresql_itself_gets_them(
    database: str, plain: dict[str, Any], bucket: Bucket, tmp_path: Path
) -> None:
    same_records_in(database, plain, bucket, tmp_path)


@pytest.mark.slow
def test_a_server_over_postgresql_gets_them(
    database: str, plain: dict[str, Any], bucket: Bucket, tmp_path: Path
) -> None:
    with MLflowServer(tmp_path / "server", store=database) as server:
        same_records_in(server.uri, plain, bucket, tmp_path)


def test_in_postgresql_a_step_is_the_last_attempts_that_logged_it(
    database: str, scribe: Callable[..., Scribe], bucket: Bucket
) -> None:
    relay = relay_for(bucket, database)
    for attempt, steps in ((1, range(6)), (2, range(3, 9))):
        vm = scribe(attempt=attempt)
        vm.log(vm.run(), [("loss", step + attempt / 10, step) for step in steps])
        relay.tick({0: vm.upload()})
    assert relay.trouble == ""
    assert history(relay.run_id(0), database) == [
        *((step, step + 0.1) for step in range(3)),
        *((step, step + 0.2) for step in range(3, 9)),
    ]


def test_a_postgresql_that_restarts_costs_nothing_but_delay(
    cluster: Cluster,
    database: str,
    scribe: Callable[..., Scribe],
    bucket: Bucket,
    capfd: pytest.CaptureFixture[str],
) -> None:
    vm = scribe()
    run_id = vm.run()
    vm.log(run_id, [("loss", 1.0, 0)])
    relay = relay_for(bucket, database)
    relay.tick({0: vm.upload()})
    vm.log(run_id, [("loss", 0.5, 1)])
    last = vm.upload()
    cluster.stop()
    try:
        for one in (relay, relay_for(bucket, database)):  # one that knows the store, and one that opens it
            began = time.monotonic()
            one.tick({0: last})
            assert "are tried again" in one.trouble
            assert PASSWORD not in one.trouble and "@" not in one.trouble
            assert time.monotonic() - began < 60
            one.leave()
    finally:
        cluster.start()
    relay.finish(vm.status(JobState.COMPLETED), STARTED + 60, {})
    relay.close(JobState.COMPLETED, STARTED + 61, {})

    assert relay.trouble == "" and relay.refused == []
    assert history(relay.run_id(0), database) == [(0, 1.0), (1, 0.5)]
    assert "Traceback" not in capfd.readouterr().err


def test_a_password_that_is_wrong_for_a_while_costs_nothing_but_delay(
    as_ada: MLflowServer, sweep: str, bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a token that runs out in the middle of a sweep."""
    vm = Scribe(bucket, tmp_path, 0, sweep=sweep)
    run_id = vm.run()
    vm.log(run_id, [("loss", 1.0, 0)])
    relay = relay_for(bucket, as_ada.uri, experiment="membrane", sweep=sweep)
    relay.tick({0: vm.upload()})
    vm.log(run_id, [("loss", 0.5, 1)])
    with monkeypatch.context() as meanwhile:
        meanwhile.setenv("MLFLOW_TRACKING_PASSWORD", "expired")
        relay.tick({0: vm.upload()})
        assert "does not allow this user" in relay.trouble and "expired" not in relay.trouble
    relay.finish(vm.status(JobState.COMPLETED), STARTED + 60, {})
    relay.close(JobState.COMPLETED, STARTED + 61, {})

    assert relay.trouble == "" and relay.refused == []
    assert history(relay.run_id(0), as_ada.uri) == [(0, 1.0), (1, 0.5)]


def test_a_user_who_may_not_make_runs_is_told(
    as_ada: MLflowServer, sweep: str, bucket: Bucket, tmp_path: Path
) -> None:
    """MLflow's default experiment is not Ada's to write to."""
    vm = Scribe(bucket, tmp_path, 0, sweep=sweep)
    vm.log(vm.run(), [("loss", 1.0, 0)])
    relay = relay_for(bucket, as_ada.uri, experiment="Default", sweep=sweep)
    relay.tick({0: vm.upload()})
    assert "does not allow this user" in relay.trouble
    relay.finish(vm.status(JobState.COMPLETED), STARTED + 60, {})
    relay.close(JobState.COMPLETED, STARTED + 61, {})
    assert "does not allow this user" in relay.trouble


def history(run_id: str | None, store: str) -> list[tuple[int, float]]:
    assert run_id is not None
    found = MlflowClient(store).get_metric_history(run_id, "loss")
    return sorted((point.step, point.value) for point in found)
