"""hydra-gce ssh: gcloud on Google's VMs, a shell in the namespaces of the embedded ones."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pexpect
import pytest

from hydra_gce.cli import exits
from hydra_gce.cloud.backend import Backend
from hydra_gce.compute import HereCompute
from hydra_gce.jobs import JobState
from tests.cli.conftest import PLACE, Command
from tests.cli.stored import Stored
from tests.patience import wait_until

CLOUD = Backend("cloud", "ml-lab", "https://compute.googleapis.com", None, None, None)


@pytest.fixture
def working(stored: Stored, vm: str, embedded: Backend) -> Stored:
    """Job 0 runs on a VM; job 1 waits; job 2 has ended, its VM is gone."""
    stored.status(0, JobState.RUNNING, instance=vm, zone=PLACE.zone)
    stored.status(1, JobState.PENDING, attempt=0)
    stored.status(2, JobState.COMPLETED, instance="hg-gone-2", zone=PLACE.zone)
    compute = HereCompute(embedded)

    def runs() -> bool:
        found = compute.find(PLACE.zone, vm)
        return found is not None and found.status == "RUNNING"

    wait_until(runs, "the VM runs")
    return stored


def hydra_gce(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "hydra_gce.cli", *words],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_a_command_runs_in_the_vm_and_its_exit_code_is_ours(working: Stored, vm: str) -> None:
    done = hydra_gce("ssh", working.sweep, "0", "--", "sh", "-c", "hostname; echo 'two  words' $0; exit 42")
    assert done.stdout == f"{vm}\ntwo  words sh\n", done.stderr
    assert done.returncode == 42


def test_a_shell_in_the_vm_at_a_terminal(working: Stored, vm: str) -> None:
    words = ["-m", "hydra_gce.cli", "ssh", working.sweep, "0"]
    child = pexpect.spawn(
        sys.executable,
        words,
        encoding="utf-8",
        use_poll=True,
        timeout=60,
        env={**os.environ, "TERM": "xterm"},
    )
    child.expect(r"[#$] ")
    child.sendline("echo in-$(hostname) term-$TERM tty-$(test -t 0 && echo yes)")
    child.expect(f"in-{vm} term-xterm tty-yes")
    child.expect(r"[#$] ")
    child.sendline("sh -c 'echo sle\"\"eps; exec sleep 1000'")
    child.expect("sleeps\r\n")
    child.sendintr()  # ends what runs there, and not the shell
    child.expect(r"[#$] ")
    child.sendline("exit 7")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 7


def test_the_embedded_compute_engine_has_the_shell_itself(working: Stored, vm: str) -> None:
    done = hydra_gce("local", "shell", vm, "--", "hostname")
    assert (done.returncode, done.stdout) == (0, f"{vm}\n"), done.stderr
    gone = hydra_gce("local", "shell", "hg-gone-2")
    assert gone.returncode == 1
    assert "There is no VM hg-gone-2" in gone.stderr


def test_a_job_that_waits_has_no_vm(command: Command, working: Stored) -> None:
    code, _, err = command("ssh", working.sweep, "1")
    assert code == exits.UNKNOWN
    assert f"job 1 of {working.sweep} has no VM: it is PENDING" in err


def test_a_vm_that_is_gone_is_said_with_where_its_outputs_are(command: Command, working: Stored) -> None:
    code, _, err = command("ssh", working.sweep, "2")
    assert code == exits.UNKNOWN
    assert "VM hg-gone-2 of job 2 is gone" in err
    assert f"hydra-gce pull {working.sweep} 2" in err


@pytest.mark.parametrize("address", [True, False])
def test_on_google_it_is_gcloud_through_iap_where_there_is_no_address(address: bool) -> None:
    words = CLOUD.shell("hg-calm-otter-3", "us-central1-a", address, ["ls", "a b"])
    assert words == [
        *("gcloud", "compute", "ssh", "hg-calm-otter-3", "--zone=us-central1-a", "--project=ml-lab"),
        *([] if address else ["--tunnel-through-iap"]),
        "--command=ls 'a b'",
    ]


def test_what_would_be_run_can_be_printed(command: Command, working: Stored, vm: str) -> None:
    code, out, _ = command("ssh", "--print", working.sweep, "0", "--", "nvidia-smi", "-l", "1")
    assert code == 0
    assert out.endswith(f"-m hydra_gce.local shell {vm} -- nvidia-smi -l 1\n")


def test_without_gcloud_it_says_where_to_get_it(
    command: Command, working: Stored, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(Backend, "shell", lambda self, *words: ["gcloud", "compute", "ssh"])
    code, _, err = command("ssh", working.sweep, "0")
    assert code == exits.ERROR
    assert "gcloud is not installed here" in err


@pytest.mark.gcloud
@pytest.mark.skipif(shutil.which("gcloud") is None, reason="gcloud is not installed")
def test_gcloud_knows_these_words() -> None:
    """It refuses words that it does not know before it asks anybody."""
    words = CLOUD.shell("hg-calm-otter-3", "us-central1-a", False, ["ls"])
    done = subprocess.run([*words, "--dry-run"], capture_output=True, text=True, timeout=100, check=False)
    assert "unrecognized arguments" not in done.stderr
    unknown = subprocess.run(
        [*words, "--no-such-word"], capture_output=True, text=True, timeout=100, check=False
    )
    assert "unrecognized arguments" in unknown.stderr
