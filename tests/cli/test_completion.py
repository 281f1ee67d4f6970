"""Shell completion: verbs, options, sweeps and jobs; in a real bash, and quickly asked of what is known here."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from hydra_gce.bucket import Bucket
from hydra_gce.cli import parser
from hydra_gce.cli.candidates import candidates, split
from hydra_gce.cli.completion import SCRIPTS
from hydra_gce.cli.known import jobs_of, note_jobs
from hydra_gce.home import SweepRecord
from hydra_gce.jobs import JobState
from tests.cli.conftest import Command
from tests.cli.stored import Stored

SWEEPS = [("calm-otter", "/home/me/multirun"), ("wild-yak", "/data")]
JOBS = {"last": [0, 1, 2], "calm-otter": [0, 1, 2], "wild-yak": [0, 10, 11]}


def completed(line: str) -> list[str]:
    return [
        word for word, _ in candidates(parser(), f"hydra-gce {line}", lambda: SWEEPS, lambda name: JOBS[name])
    ]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("sho", ["show"]),
        ("lo", ["logs", "local"]),
        ("show ", ["calm-otter", "wild-yak"]),
        ("show w", ["wild-yak"]),
        ("show calm-otter ", []),
        ("show --ex", ["--exit-code"]),
        ("show --js", ["--json"]),
        ("show --json --js", []),  # said once
        ("show --backend ", ["auto", "cloud", "local"]),
        ("show --backend l", ["local"]),
        ("show --backend=l", ["local"]),
        ("logs wild-yak --job 1", ["10", "11"]),
        ("logs wild-yak --job 10 1", ["10", "11"]),
        ("logs --job ", ["0", "1", "2"]),
        ("logs wild-yak --job 10 --fo", ["--follow"]),
        ("logs --job 1 --jo", ["--job"]),  # may be said again
        ("pull ", ["calm-otter", "wild-yak", "0", "1", "2"]),
        ("ssh wild-yak 1", ["10", "11"]),
        ("ssh wild-yak 1 -- l", []),
        ("ssh 1 ", []),
        ("pull --to ", [":files"]),
        ("open --page v", ["vm"]),
        ("local st", ["start", "stop", "status"]),
        ("local sh", ["shell"]),
        ("completion b", ["bash"]),
        ("nonsense ", []),
        ("show 'cal", ["calm-otter"]),
    ],
)
def test_how_a_line_may_go_on(line: str, words: Sequence[str]) -> None:
    assert completed(line) == list(words)


def test_every_verb_and_every_word_on_it() -> None:
    words = dict(candidates(parser(), "hydra-gce ", list, lambda name: []))
    assert {"ls", "show", "logs", "top", "ssh", "pull", "open", "cost", "down", "completion"} <= set(words)
    assert all(words.values())


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        ("hydra-gce", ([], "")),
        ("hydra-gce ", ([], "")),
        ("hydra-gce sh", ([], "sh")),
        ("hydra-gce show 'a b' c", (["show", "a b"], "c")),
        ('hydra-gce show "a b', (["show", "a"], "b")),
    ],
)
def test_words_are_a_shells(line: str, parts: tuple[list[str], str]) -> None:
    assert split(line) == parts


def test_sweeps_of_this_machine_are_known(command: Command, record: SweepRecord) -> None:
    _, out, _ = command("completion", "words", f"hydra-gce show {record.sweep[:6]}")
    assert f"{record.sweep}\t{record.sweep_dir}" in out.splitlines()


def test_jobs_are_known_from_the_last_look_and_asked_for_otherwise(
    command: Command, stored: Stored, record: SweepRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    for num in (0, 1):
        stored.status(num, JobState.COMPLETED)
    assert list(jobs_of(record.sweep)) == [0, 1]
    note_jobs(record.sweep, [0, 1, 2])
    monkeypatch.delattr(Bucket, "list")
    assert list(jobs_of(record.sweep)) == [0, 1, 2]
    assert list(jobs_of("last")) == [0, 1, 2]


def test_a_sweep_that_nobody_knows_has_no_jobs(hydra_gce_home: Path) -> None:
    assert list(jobs_of("no-such-sweep")) == []
    assert list(jobs_of("../../etc/passwd")) == []


def test_show_makes_the_jobs_known(command: Command, stored: Stored, monkeypatch: pytest.MonkeyPatch) -> None:
    stored.status(4, JobState.COMPLETED)
    command("show", stored.sweep)
    monkeypatch.delattr(Bucket, "list")
    assert list(jobs_of(stored.sweep)) == [4]


@pytest.mark.parametrize("shell", SCRIPTS)
def test_each_shells_script_is_printed_and_is_one(command: Command, shell: str) -> None:
    code, out, _ = command("completion", shell)
    assert (code, out) == (0, SCRIPTS[shell])
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    subprocess.run([shell, "-n"], input=out, text=True, check=True, timeout=60)


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("hydra-gce sho", ["show"]),
        ("hydra-gce show --exit", ["--exit-code"]),
        ("hydra-gce show --backend=lo", ["local"]),
    ],
)
def test_in_a_real_bash(record: SweepRecord, line: str, words: Sequence[str], tmp_path: Path) -> None:
    _in_bash(line, words, tmp_path)


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_files_in_a_real_bash(tmp_path: Path) -> None:
    (tmp_path / "my outputs").mkdir()
    _in_bash("hydra-gce pull --to my", ["my outputs"], tmp_path)


def _with_command(directory: Path) -> dict[str, str]:
    """An environment in which `hydra-gce` is this one."""
    command = directory / "bin" / "hydra-gce"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m hydra_gce.cli "$@"\n')
    command.chmod(0o755)
    return {**os.environ, "PATH": f"{command.parent}:{os.environ['PATH']}", "PYTHONPATH": os.getcwd()}


def _in_bash(line: str, words: Sequence[str], directory: Path) -> None:
    """Asks the function for what a person at a prompt would be offered behind this line."""
    asked = line.replace("=", " = ").split()
    script = f"""
        eval "$(hydra-gce completion bash)"
        COMP_WORDS=({" ".join(asked)}) COMP_CWORD={len(asked) - 1}
        COMP_LINE={json.dumps(line)} COMP_POINT={len(line)}
        complete -p hydra-gce >&2
        _hydra_gce
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    environ = _with_command(directory)
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=directory,
        env=environ,
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    assert done.stdout.splitlines() == list(words), done.stderr


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
def test_in_a_real_fish(record: SweepRecord, tmp_path: Path) -> None:
    environ = _with_command(tmp_path)
    for line, words in (("show " + record.sweep[:-1], [record.sweep]), ("show --backend l", ["local"])):
        script = f"hydra-gce completion fish | source; complete -C 'hydra-gce {line}'"
        done = subprocess.run(
            ["fish", "-c", script], env=environ, capture_output=True, text=True, timeout=100, check=True
        )
        assert [said.partition("\t")[0] for said in done.stdout.splitlines()] == words, done.stderr
