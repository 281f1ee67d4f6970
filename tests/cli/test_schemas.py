"""What the verbs print with --json is what docs/commands.schema.json says: no field more, none less."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from hydra_gce.cli import exits, parser
from hydra_gce.cloud.backend import Backend
from hydra_gce.home import SweepRecord
from hydra_gce.jobs import JobState
from hydra_gce.view import JobView
from tests.cli.conftest import PLACE, Command
from tests.cli.stored import Stored
from tests.cli.test_top import BUSY

DOCS = Path(__file__).parents[2] / "docs"
SCHEMA: dict[str, Any] = json.loads((DOCS / "commands.schema.json").read_text())
PAGE = (DOCS / "commands.md").read_text()
SHARED = {"time", "text", "state", "counts", "thing", "leftover"}
VERBS = sorted(set(SCHEMA["$defs"]) - SHARED)
FOLLOWING = {"attach"}
"""What they print of a sweep that ran is looked at in tests/e2e/test_looking_on.py."""


def closed(schema: Any) -> Any:
    """The same, in which an object has no field that is not described."""
    if isinstance(schema, list):
        return [closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    made = {name: closed(one) for name, one in schema.items()}
    if "properties" in made:
        made.setdefault("additionalProperties", False)
    return made


def check(verb: str, content: Any) -> None:
    whole = {**closed(SCHEMA), "$ref": f"#/$defs/{verb}"}
    problems = [
        f"{error.json_path}: {error.message}" for error in Draft202012Validator(whole).iter_errors(content)
    ]
    assert not problems, problems


@pytest.fixture
def full(stored: Stored, record: SweepRecord, vm: str, tmp_path: Path) -> Iterator[Stored]:
    """A sweep of which there is something to say under every field."""
    stored.describe()
    stored.status(
        0, instance=vm, zone=PLACE.zone, usage=BUSY.to_text(), step=3, metric_name="loss", metric=0.1
    )
    stored.status(1, JobState.FAILED)
    stored.status(2, JobState.PENDING, attempt=0)
    stored.view(
        JobView(0, ["lr=0.1"], JobState.RUNNING, 1, vm, PLACE.zone, "e2-micro", 3, 10, cost=Decimal("0.1")),
        JobView(1, ["lr=0.2"], JobState.FAILED, 1, note="out of memory", mlflow_run="a41f"),
        JobView(2, ["lr=0.3"], JobState.PENDING, return_value=None),
        news=[(time.time(), "job 1 failed")],
        notes=["job 1 wrote a.txt beside its output directory"],
        mlflow="https://mlflow.example.org/#/experiments/7/runs",
        return_name="loss",
    )
    stored.ledger(job0=100, job1=50)
    stored.prints(0, b"one\n", b"two\n")
    for num in (0, 1, 2):
        stored.spec(num, tmp_path / "multirun")
    stored.outputs(0, tmp_path / "vm", model="weights")
    yield stored


WORDS = {
    "ls": ["ls", "--all", "--backend", "local"],
    "show": ["show", "SWEEP"],
    "logs": ["logs", "SWEEP"],
    "top": ["top", "SWEEP"],
    "pull": ["pull", "SWEEP", "0"],
    "collect": ["collect", "SWEEP"],
    "open": ["open", "SWEEP", "0"],
    "cost": ["cost", "SWEEP"],
    "offers": ["offers", "--gpu", "T4", "--backend", "local"],
    "down": ["down", "SWEEP", "--yes"],
}


@pytest.mark.parametrize("verb", sorted(set(VERBS) - FOLLOWING))
def test_what_is_printed_is_what_is_documented(
    command: Command, full: Stored, verb: str, embedded: Backend
) -> None:
    words = [full.sweep if word == "SWEEP" else word for word in WORDS[verb]]
    code, out, err = command(*words, "--json")
    assert code == exits.DONE, err
    if verb == "logs":
        lines = [json.loads(line) for line in out.splitlines()]
        assert len(lines) == 2
        for line in lines:
            check(verb, line)
    else:
        check(verb, json.loads(out))


def test_each_verb_that_has_json_is_documented() -> None:
    (choice,) = [one for one in parser()._actions if one.dest == "==SUPPRESS=="]
    assert isinstance(choice.choices, dict)
    having = {name for name, verb in choice.choices.items() if "--json" in verb._option_string_actions}
    elsewhere = {"doctor", "setup", "run"}  # pages of their own
    assert having - elsewhere == set(VERBS) == set(WORDS) | FOLLOWING


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("verb", VERBS)
def test_the_examples_of_the_page_are_true_to_it(verb: str) -> None:
    """Each follows a line ``$ hydra-gce VERB ... --json``."""
    blocks = re.findall(
        rf"^\$ hydra-gce {verb}\b[^\n]*--json[^\n]*\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL
    )
    assert blocks or verb == "offers"  # which has a page of its own
    for block in blocks:
        for content in [block] if verb != "logs" else block.strip().splitlines():
            check(verb, json.loads(content))


def test_every_verb_and_every_exit_code_stands_on_the_page() -> None:
    (choice,) = [one for one in parser()._actions if one.dest == "==SUPPRESS=="]
    assert isinstance(choice.choices, dict)
    for verb in choice.choices:
        assert f"hydra-gce {verb}" in PAGE, verb
    for code, meaning in exits.MEANINGS.items():
        assert f"| {code} | {meaning} |" in PAGE
