"""`python -m hydra_gce.local chaos FILE | status | off`, and the example that the documentation shows."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from hydra_gce.local.chaos.command import in_words, read_file
from hydra_gce.local.home import Home
from hydra_gce.local.launch import LaunchError, call
from tests.local.chaos.weather import bring
from tests.local.embedded import Embedded, eventually

EXAMPLE = Path(__file__).parents[3] / "docs" / "bad-day.yaml"


class Command:
    """The command line in a home of its own."""

    def __init__(self, home: Path) -> None:
        self.home = Home(home / "local")
        self._environment = {**os.environ, "HYDRA_GCE_HOME": str(home)}

    def __call__(self, *arguments: str) -> tuple[int, str, str]:
        done = subprocess.run(
            [sys.executable, "-m", "hydra_gce.local", *arguments],
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr


@pytest.fixture
def command(tmp_path: Path) -> Iterator[Command]:
    command = Command(tmp_path / "home")
    try:
        yield command
    finally:
        command("stop")


def test_a_day_begins_from_a_file_outlives_a_kill_and_ends(command: Command, tmp_path: Path) -> None:
    file = tmp_path / "day.yaml"
    file.write_text("errors: [{methods: zones.get, times: 5, answer: {status: 503, reason: backendError}}]")
    code, said, error = command("chaos", str(file))  # which starts the server
    assert code == 0, error
    assert "zones.get: 503 backendError, at most 5" in said
    running = command.home.last()
    assert running is not None
    before = call(running, "GET", "chaos")[1]
    os.kill(running.pid, signal.SIGKILL)
    eventually(lambda: not command.home.served())
    assert command("chaos", "status")[1] == "The embedded Compute Engine is not running.\n"
    command("env")  # starts it
    assert json.loads(command("chaos", "status", "--json")[1]) == before
    assert "a bad day is on" in command("status")[1]
    assert command("chaos", "off")[1] == "No bad day is on.\n"
    assert "bad day" not in command("status")[1]


def test_a_file_with_mistakes_starts_nothing_and_names_them_all(command: Command, tmp_path: Path) -> None:
    file = tmp_path / "day.yaml"
    file.write_text("sed: 1\nvms: [{event: explode}]\n")
    code, said, error = command("chaos", str(file))
    assert (code, said) == (1, "")
    assert f"{file} is no scenario:" in error
    assert "sed: there is no such field; did you mean 'seed'." in error
    assert "vms[0].event: 'explode'; it must be one of preempt, " in error
    assert not command.home.served()


@pytest.mark.parametrize(
    ("text", "sentence"), [("a: [", "is no YAML"), ("- a", "is no mapping"), (None, "there is no such file")]
)
def test_a_file_that_is_no_scenario_is_named(tmp_path: Path, text: str | None, sentence: str) -> None:
    file = tmp_path / "day.yaml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(LaunchError, match=sentence) as refused:
        read_file(file)
    assert str(file) in str(refused.value)


def test_the_example_is_taken_and_told_rule_by_rule(cloud: Embedded) -> None:
    bring(cloud, read_file(EXAMPLE))
    known = call(cloud.server.running, "GET", "chaos")[1]
    lines = in_words(known, known["began"] + 60)
    assert "(60 s), seed 7" in lines[0]
    parts = yaml.safe_load(EXAMPLE.read_text())
    assert len(lines) == 1 + sum(len(parts[part]) for part in ("stock", "quotas", "errors", "vms"))
    assert " ".join(lines[1].split()) == "stock[0] us-central1-*: sold out, from 0 to 120 s 0 refused"


def test_the_documentation_shows_the_example() -> None:
    text = (EXAMPLE.parent / "local.md").read_text()
    assert "bad-day.yaml" in text
    shown = text.split("```yaml\n")[1].split("```")[0]
    whole = yaml.safe_load(EXAMPLE.read_text())
    for part, entries in yaml.safe_load(shown).items():
        if part == "seed":
            assert whole[part] == entries
        else:
            assert all(entry in whole[part] for entry in entries), part
