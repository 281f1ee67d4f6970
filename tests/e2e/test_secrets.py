"""What a person hands over in secret is nowhere to be read: not in the bucket, not at Compute Engine, not here."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import os
import secrets
import stat
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pytest

from bench.mlflow_server import MLflowServer, User
from hydra_gce.bucket import SweepNames
from hydra_gce.cloud.backend import Backend
from hydra_gce.compute import HereCompute
from tests.e2e.on_server import TOLD, runs_in, server_for_vms, tell
from tests.e2e.project import Ended, Project, eventually

pytestmark = pytest.mark.timeout(600)

# Others for each process: this file itself is in the bucket where a test sends this repository as a user's code.
PLANTED = secrets.token_hex(8)
PASSWORD = f"{PLANTED}:Pa55/word within@address"
TOKEN = f"{PLANTED}-t0ken?as=it&is"
PASSED = f"{PLANTED} variable ü/5"
HASH = hashlib.sha256(PASSED.encode()).hexdigest()
# Uses all that it was given, and ends when it is told to: until then there are VMs to look at.
PROGRAM = (
    TOLD
    + f"""
    import hashlib
    import mlflow

    assert hashlib.sha256(os.environ["API_KEY"].encode()).hexdigest() == "{HASH}"
    with mlflow.start_run():
        mlflow.log_param("x", cfg.x)
        mlflow.log_metric("loss", 0.5)
        mlflow.log_text("a", "a.txt")
        while not told("end"):
            time.sleep(0.2)
    return 0.5
"""
)


def forms(secret: str) -> list[bytes]:
    """A secret as it may stand somewhere: as it is, for an address, in base64 wherever in a text it begins."""
    raw = secret.encode()
    found = {raw, quote(secret, safe="").encode(), quote(secret).encode(), quote_plus(secret).encode()}
    found |= {json.dumps(secret)[1:-1].encode(), secret.encode("unicode_escape"), secret.encode("utf-16-le")}
    for before in range(3):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            # Only what no neighbour can change: whole groups of three bytes.
            whole = encode(b"\0" * before + raw)
            found.add(whole[4 if before else 0 : (before + len(raw)) // 3 * 4])
    return sorted(found)


FORMS = [form for secret in (PASSWORD, TOKEN, PASSED) for form in forms(secret)]


def leaks(content: bytes) -> list[bytes]:
    """Also in what is packed."""
    if content[:2] == b"\x1f\x8b":
        with suppress(EOFError, OSError, zlib.error):  # one that is being written
            content = gzip.decompress(content)
    return [form for form in FORMS if form in content]


def test_a_leak_would_be_seen() -> None:
    for number in range(4):
        assert leaks(b"Basic " + base64.b64encode(f"{'ada'[:number]}:{PASSWORD}, and more".encode()))
    assert leaks(quote(f"x{TOKEN}y", safe="").encode())
    assert leaks(gzip.compress(f"before {PASSED} after".encode()))
    assert leaks(json.dumps({"API_KEY": PASSED}).encode())
    assert not leaks(PLANTED.encode())


def files_with_leaks(directory: Path) -> list[Path]:
    """Files below it; what goes away meanwhile is looked at by nobody else either."""
    found = []
    for path in directory.rglob("*"):
        try:
            if stat.S_ISREG(path.lstat().st_mode) and leaks(path.read_bytes()):
                found.append(path)
        except FileNotFoundError:
            continue
    return found


def leaking_beside_records(home: Path) -> list[Path]:
    """In the launcher's own directory, which holds the embedded Compute Engine, too: the bucket's files, consoles, VMs'
    disks. One file of each sweep has the address of its store as it was given, for ``hydra-gce ui``; its owner alone
    may read it.
    """
    records = set((home / "sweeps").glob("*.json"))
    assert {stat.S_IMODE(os.stat(record).st_mode) for record in records} <= {0o600}
    return [path for path in files_with_leaks(home) if path not in records]


@dataclass(frozen=True)
class Swept:
    """A sweep that is over, and all that was to be seen while it ran, by where it was."""

    project: Project
    ended: Ended
    experiment: str
    seen: dict[str, bytes]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MLflowServer]:
    with server_for_vms(tmp_path_factory.mktemp("server"), User("ada", PASSWORD)) as one:
        yield one


@pytest.fixture(scope="module", params=[pytest.param("direct", marks=pytest.mark.slow), "durable", "relay"])
def swept(
    request: pytest.FixtureRequest,
    server: MLflowServer,
    engine: Backend,
    hydra_gce_home: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Swept]:
    experiment = f"secret-{request.param}"
    project = Project(tmp_path_factory.mktemp("secrets") / "project")
    project.program(PROGRAM)
    address = server.uri.replace("://", f"://ada:{quote(PASSWORD, safe='')}@")
    try:
        running = project.start(
            "+x=0",
            f"hydra.launcher.tracking.mode={'relay' if request.param == 'relay' else 'direct'}",
            f"hydra.launcher.tracking.durable={request.param == 'durable'}",
            "hydra.launcher.tracking.capture=true",
            "hydra.launcher.env.pass_variables=[API_KEY]",
            env={
                "MLFLOW_TRACKING_URI": address,
                "MLFLOW_TRACKING_USERNAME": "ada",
                "MLFLOW_TRACKING_PASSWORD": PASSWORD,
                "MLFLOW_TRACKING_TOKEN": TOKEN,
                "MLFLOW_EXPERIMENT_NAME": experiment,
                "API_KEY": PASSED,
            },
        )
        sweep = running.sweep()
        eventually(
            lambda: any("loss" in run.data.metrics for run in runs_in(server, experiment)),
            "the program's metric never came to the server",
            lambda: running.out + running.err,
        )
        seen = looked_at(engine, sweep)
        seen |= {f"file {path}": path.read_bytes() for path in leaking_beside_records(hydra_gce_home)}
        tell(engine, sweep, "end")
        yield Swept(project, running.end(300), experiment, seen)
    finally:
        project.close()


def looked_at(engine: Backend, sweep: str) -> dict[str, bytes]:
    """What whoever may look at the project sees of the sweep's VMs, and every user of this machine of its processes."""
    seen: dict[str, bytes] = {}
    for vm in HereCompute(engine).instances(sweep):
        place: dict[str, Any] = {
            "project": engine.project,
            "zone": vm.zone.rpartition("/")[2],
            "instance": vm.name,
        }
        seen[f"instance {vm.name}"] = type(found := engine.instances.get(**place)).to_json(found).encode()
        seen[f"console {vm.name}"] = engine.instances.get_serial_port_output(**place).contents.encode()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            seen[f"command {process.name}"] = (process / "cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue
    return seen


def test_the_program_had_what_it_was_given_and_its_run_is_there(swept: Swept, server: MLflowServer) -> None:
    assert swept.ended.code == 0, swept.ended.said
    points = [run for run in runs_in(server, swept.experiment) if "loss" in run.data.metrics]
    assert [run.info.status for run in points] == ["FINISHED"]


def test_nothing_is_to_be_read_of_its_vms_while_they_run(swept: Swept) -> None:
    assert any(place.startswith("instance ") for place in swept.seen)
    assert any(
        b"hydra-gce" in content for place, content in swept.seen.items() if place.startswith("console ")
    )
    leaking = [place for place, content in swept.seen.items() if leaks(content)]
    assert leaking == []


def test_nothing_is_to_be_read_in_the_bucket(swept: Swept, engine: Backend) -> None:
    bucket = engine.bucket(None)
    assert len(list(bucket.list(SweepNames(swept.ended.sweep).prefix))) > 5
    leaking = [
        entry.name
        for entry in bucket.list("")
        if leaks(repr(entry.metadata).encode())
        or leaks(entry.name.encode())
        or leaks(bucket.read(entry.name))
    ]
    assert leaking == []


def test_nothing_is_to_be_read_on_the_laptop_but_by_its_owner(swept: Swept, hydra_gce_home: Path) -> None:
    assert not leaks(swept.ended.said.encode()), swept.ended.said
    assert files_with_leaks(swept.project.directory) == []
    assert (hydra_gce_home / "sweeps" / f"{swept.ended.sweep}.json").exists()
    assert leaking_beside_records(hydra_gce_home) == []


def test_nothing_is_to_be_read_in_mlflow(swept: Swept, server: MLflowServer) -> None:
    """Its database, its artifacts and its log; of who may log in it keeps hashes."""
    assert (server.directory / "server.db").stat().st_size > 0
    assert files_with_leaks(server.directory) == []
    for run in runs_in(server, swept.experiment):
        assert not leaks(repr(run.to_dictionary()).encode())
