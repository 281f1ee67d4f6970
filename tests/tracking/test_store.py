"""The store of a program on a VM: ids that come again, runs that go on, what other packages of MLflow see."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from hydra_gce.tracking.environment import Point, variables
from hydra_gce.tracking.journal import FILE_NAME, Record, read, verify
from tests.tracking.lab import ROOT, SWEEP, run_program

PROGRAM = """
import json, sys, threading
from pathlib import Path
import mlflow

client = mlflow.MlflowClient()
with mlflow.start_run() as first:
    mlflow.log_param("lr", 1)
    with mlflow.start_run(run_name="fold", nested=True) as fold: pass
    with mlflow.start_run(run_name="fold", nested=True) as again: pass
with mlflow.start_run(run_name="named") as named: pass
earlier = Path("earlier.json")
if earlier.exists():
    known = json.loads(earlier.read_text())
    with mlflow.start_run(run_id=known["second"]): mlflow.log_metric("went_on", 1)
    client.log_param(known["third"], "without", "asking for it first")
with mlflow.start_run() as second: pass
with mlflow.start_run() as third:
    threads = [threading.Thread(target=mlflow.log_metric, args=(f"m{i}", i, 0), kwargs={"run_id": third.info.run_id})
               for i in range(8)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    assert len(client.get_run(third.info.run_id).data.metrics) == 8
runs = {"first": first, "fold": fold, "again": again, "named": named, "second": second, "third": third}
Path("ids.json").write_text(json.dumps({name: run.info.run_id for name, run in runs.items()}))
try:
    client.get_run("0" * 32)
except mlflow.exceptions.MlflowException as error:
    assert error.error_code == "RESOURCE_DOES_NOT_EXIST"
else:
    raise AssertionError("a run that nobody made was found")
"""


def attempt(directory: Path, number: int, earlier: dict[str, str] | None = None) -> dict[str, str]:
    directory.mkdir()
    script = directory / "train.py"
    script.write_text(PROGRAM)
    if earlier:
        (directory / "earlier.json").write_text(json.dumps(earlier))
    said = run_program(script, variables(directory / "tracking", SWEEP, 3, number), directory)
    assert "database tables" not in said
    verify(directory / "tracking" / FILE_NAME)
    ids: dict[str, str] = json.loads((directory / "ids.json").read_text())
    return ids


def test_the_same_program_on_another_vm_gets_the_same_ids_and_can_go_on_in_a_run_of_the_first(
    tmp_path: Path,
) -> None:
    first = attempt(tmp_path / "first", 1)
    assert len(set(first.values())) == len(first)
    assert all(Point(SWEEP, 3, 2).owns(run_id) for run_id in first.values())
    assert not any(Point(SWEEP, 4, 1).owns(run_id) for run_id in first.values())

    second = attempt(tmp_path / "second", 2, earlier=first)
    assert {name: second[name] for name in ("first", "fold", "again", "named")} == {
        name: first[name] for name in ("first", "fold", "again", "named")
    }
    # "second" and "third" were gone on with: runs that begin after that are new ones.
    assert not {second["second"], second["third"]} & set(first.values())
    content = (tmp_path / "second" / "tracking" / FILE_NAME).read_bytes()
    records = [record for record in read(content, "") if isinstance(record, Record)]
    logged = [
        record.args for record in records if record.op == "batch" and record.args["run"] == first["second"]
    ]
    assert [args["metrics"][0][0] for args in logged] == ["went_on"]


def test_importing_mlflow_beside_the_plugin_imports_nothing_of_ours_but_its_name() -> None:
    script = (
        "import sys, warnings; warnings.simplefilter('error'); import mlflow; "
        "ours = sorted(name for name in sys.modules if name.startswith('hydra_gce')); "
        "assert ours == ['hydra_gce', 'hydra_gce.tracking', 'hydra_gce.tracking.store'], ours; "
        "from mlflow.tracking._tracking_service.utils import _tracking_store_registry as registry; "
        "assert 'hydra-gce' in registry._registry"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", script], cwd=ROOT, check=True, timeout=200)


@pytest.mark.parametrize("module", ["journal", "environment", "relay.relay"])
def test_what_agent_and_launcher_import_loads_no_mlflow(module: str) -> None:
    script = f"import sys, hydra_gce.tracking.{module}; assert 'mlflow' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True, timeout=200)


def test_the_variables_name_an_experiment_only_where_one_was_chosen(tmp_path: Path) -> None:
    chosen = variables(tmp_path, SWEEP, 3, 1, "membrane")
    assert chosen["MLFLOW_TRACKING_URI"] == f"hydra-gce://{tmp_path}"
    assert chosen["MLFLOW_EXPERIMENT_NAME"] == "membrane"
    assert "MLFLOW_EXPERIMENT_NAME" not in variables(tmp_path, SWEEP, 3, 1, None)
    assert Point.from_environment(chosen) == Point(SWEEP, 3, 1)
    assert Point.from_environment({}) is None
