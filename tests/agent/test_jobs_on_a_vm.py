"""A job on a VM: from its claim to its result, by way of a real program and a real bucket."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud.storage import Client
from omegaconf import OmegaConf

from hydra_gce import claims
from hydra_gce.agent import lasting_bucket
from hydra_gce.agent.child import Child
from hydra_gce.agent.courier import Courier
from hydra_gce.agent.departure import Cause
from hydra_gce.bucket import Bucket
from hydra_gce.collect import RemoteTraceback
from hydra_gce.errors import JobFailed, SealBroken
from hydra_gce.jobs import Failure, JobState, JobStatus
from tests.agent.lab import Lab
from tests.lossy_proxy import lossy_proxy
from tests.patience import wait_until


@pytest.fixture
def lab(bucket: Bucket, tmp_path: Path) -> Lab:
    return Lab(bucket, tmp_path)


def test_a_job_runs_as_on_the_laptop_and_all_that_it_leaves_comes_home(lab: Lab) -> None:
    def train(config: Any) -> dict[str, Any]:
        import importlib
        import os
        import sys
        from pathlib import Path

        helper = importlib.import_module("helper")  # a module of the project: on the VM it is on the path
        from hydra.core.hydra_config import HydraConfig
        from hydra.utils import get_original_cwd

        hydra = HydraConfig.get()
        Path(hydra.runtime.output_dir, "model").write_text("weights")
        Path("notes.txt").write_text("beside")
        Path(str(helper.__file__)).write_text("ANSWER = 43\n")
        print("it is training")
        return {
            "lr": config.lr,
            "num": hydra.job.num,
            "id": hydra.job.id,
            "overrides": list(hydra.overrides.task),
            "cwd": os.getcwd(),
            "original": get_original_cwd(),
            "output_dir": hydra.runtime.output_dir,
            "answer": helper.ANSWER,
            "argv": sys.argv,
            "token": os.environ["TOKEN"],
        }

    lab.send(train, variables={"TOKEN": "secret"})
    assert not lab.project.exists()
    lab.agent().work()
    collected = lab.collect()
    project = str(lab.project)
    assert collected.job_return.return_value == {
        "lr": 0.5,
        "num": 0,
        "id": "train_0",
        "overrides": ["lr=0.5"],
        "cwd": project,
        "original": project,
        "output_dir": f"{project}/multirun/0",
        "answer": 42,
        "argv": [f"{project}/train.py"],
        "token": "secret",
    }
    assert collected.job_return.overrides == ["lr=0.5"]
    assert collected.job_return.task_name == "train"
    assert collected.uncollected is None
    home = lab.base / "home" / "0"
    assert (home / "model").read_text() == "weights"
    assert (home / ".hydra" / "overrides.yaml").read_text() == "- lr=0.5\n"
    assert collected.result.state is JobState.COMPLETED
    assert collected.result.working_dir_files == ["helper.py", "notes.txt"]
    assert (home / "working_dir" / "notes.txt").read_text() == "beside"
    assert lab.log() == "it is training\n"
    status = lab.status()
    assert (status.state, status.attempt, status.instance) == (JobState.COMPLETED, 1, "hg-calm-otter-0")


def test_a_module_that_registers_a_resolver_can_be_imported_on_the_vm_too(lab: Lab) -> None:
    """On the laptop it was imported before, and its resolver has come along."""
    OmegaConf.register_new_resolver("twice", lambda x: 2 * x)
    register = (
        'from omegaconf import OmegaConf\n\nOmegaConf.register_new_resolver("twice", lambda x: 2 * x)\n'
    )
    (lab.project / "resolvers.py").write_text(register)
    (lab.project / "same_name.py").write_text(register)

    def train(config: Any) -> list[float | str]:
        import importlib

        before = OmegaConf.create({"lr": config.lr, "twice": "${twice:${lr}}"}).twice
        importlib.import_module("resolvers")
        after = OmegaConf.create({"lr": config.lr, "twice": "${twice:${lr}}"}).twice
        try:
            importlib.import_module("same_name")
        except ValueError as error:
            return [before, after, str(error)]
        return [before, after, "registered again"]

    try:
        lab.send(train)
    finally:
        OmegaConf.clear_resolver("twice")
    lab.agent().work()
    assert lab.collect().job_return.return_value == [1.0, 1.0, "resolver 'twice' is already registered"]


def test_an_exception_comes_home_with_where_it_was_raised(lab: Lab) -> None:
    def train(config: Any) -> None:
        from pathlib import Path

        from hydra.core.hydra_config import HydraConfig

        Path(HydraConfig.get().runtime.output_dir, "partial").write_text("kept")
        raise KeyError("no such layer")

    lab.send(train)
    lab.agent().work()
    collected = lab.collect()
    assert (collected.result.state, collected.result.failure) == (JobState.FAILED, Failure.RAISED)
    assert lab.status().state is JobState.FAILED
    with pytest.raises(KeyError, match="no such layer") as raised:
        _ = collected.job_return.return_value
    assert isinstance(raised.value.__cause__, RemoteTraceback)
    assert "in train" in str(raised.value.__cause__)
    assert 'raise KeyError("no such layer")' in str(raised.value.__cause__)
    assert (lab.base / "home" / "0" / "partial").read_text() == "kept"
    assert "KeyError: 'no such layer'" in lab.log()


def test_a_program_that_just_ends_is_told_apart_and_leaves_no_child_behind(lab: Lab) -> None:
    def train(config: Any) -> None:
        import os
        import subprocess

        child = subprocess.Popen(["sleep", "1000"])
        print(f"child {child.pid}", flush=True)
        os._exit(7)

    lab.send(train)
    lab.agent().work()
    collected = lab.collect()
    result = collected.result
    assert (result.state, result.failure, result.exit_code) == (JobState.FAILED, Failure.EXITED, 7)
    assert result.log_tail[-1].startswith("child ")
    child = int(result.log_tail[-1].split()[1])
    wait_until(lambda: not psutil.pid_exists(child) or psutil.Process(child).status() == "zombie", "no child")
    with pytest.raises(JobFailed, match=r"(?s)exit code 7.*hydra-gce logs calm-otter --job 0.*child"):
        _ = collected.job_return.return_value


def test_a_program_that_is_killed_says_by_which_signal(lab: Lab) -> None:
    def train(config: Any) -> None:
        import os
        import signal

        os.kill(os.getpid(), signal.SIGSEGV)

    lab.send(train)
    lab.agent().work()
    result = lab.collect().result
    assert (result.failure, result.signal) == (Failure.KILLED, "SIGSEGV")
    assert "SIGSEGV" in result.message


def test_a_value_that_was_returned_counts_though_the_process_ended_badly(lab: Lab) -> None:
    def train(config: Any) -> float:
        import atexit
        import os

        atexit.register(os._exit, 3)
        return 0.75

    lab.send(train)
    lab.agent().work()
    collected = lab.collect()
    assert collected.result.state is JobState.COMPLETED
    assert collected.job_return.return_value == 0.75


def test_a_job_whose_vm_is_taken_back_goes_on_where_it_was(lab: Lab) -> None:
    def train(config: Any) -> str:
        import signal
        import time
        from pathlib import Path

        from hydra.core.hydra_config import HydraConfig

        output_dir = Path(HydraConfig.get().runtime.output_dir)
        checkpoint = output_dir / "checkpoint"
        if checkpoint.exists():
            return "went on from " + checkpoint.read_text()

        def save(*_: Any) -> None:
            checkpoint.write_text("step 5")
            raise SystemExit

        signal.signal(signal.SIGTERM, save)
        Path("beside").write_text("the seconds that are left are not for this")
        print("ready", flush=True)
        while True:
            time.sleep(0.05)

    lab.send(train)
    agent = lab.agent()
    thread = threading.Thread(target=agent.work)
    thread.start()
    wait_until(lambda: "ready" in lab.log(), "the program runs")
    assert lab.status().state is JobState.RUNNING
    agent.departure.announce(Cause.MAINTENANCE, 60)
    thread.join()
    assert (lab.status().state, lab.status().message) == (JobState.PREEMPTED, "host maintenance")
    claim = claims.read(lab.bucket, lab.names, 0)
    assert claim is not None
    assert (claim.attempt, claim.state) == (1, "released")
    outputs = lab.outputs()
    assert outputs["checkpoint"] == "step 5"
    assert not any("beside" in name for name in outputs)

    lab.agent("hg-calm-otter-0-a2").work()
    collected = lab.collect()
    assert collected.result.attempt == 2
    assert collected.job_return.return_value == "went on from step 5"


@pytest.mark.parametrize(
    "how", ["os.kill(os.getpid(), 15)", "raise SystemExit(143)", "raise ValueError('told')"]
)
def test_a_program_that_heard_of_the_vms_end_before_the_agent_goes_on_elsewhere(how: str, lab: Lab) -> None:
    def train(config: Any) -> None:
        import os  # noqa: F401  for what is executed
        from pathlib import Path

        from hydra.core.hydra_config import HydraConfig

        (Path(HydraConfig.get().runtime.output_dir) / "checkpoint").write_text("step 5")
        exec(how)

    lab.send(train)
    agent = lab.agent()
    has_ended = Child.has_ended

    def announced_late(child: Child) -> bool:
        ended = has_ended(child)
        if ended:
            threading.Timer(0.2, agent.departure.announce, (Cause.SHUT_DOWN, 30.0)).start()
        return ended

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Child, "has_ended", announced_late)
        agent.work()
    assert lab.status().state is JobState.PREEMPTED
    assert lab.outputs()["checkpoint"] == "step 5"


def test_a_program_that_does_not_end_in_time_is_killed(lab: Lab) -> None:
    def train(config: Any) -> None:
        import signal
        import time

        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        print("ready", flush=True)
        while True:
            time.sleep(0.05)

    lab.send(train, preempt_grace_s=0.2)
    agent = lab.agent()
    thread = threading.Thread(target=agent.work)
    thread.start()
    wait_until(lambda: "ready" in lab.log(), "the program runs")
    agent.departure.announce(Cause.PREEMPTED, 30)
    thread.join()
    assert lab.status().state is JobState.PREEMPTED


def test_where_the_project_already_is_the_job_works_elsewhere_and_paths_come_home_translated(
    lab: Lab,
) -> None:
    def train(config: Any) -> dict[str, Any]:
        import importlib
        import os
        from pathlib import Path

        helper = importlib.import_module("helper")
        from hydra.core.hydra_config import HydraConfig

        Path(HydraConfig.get().runtime.output_dir, "model").write_text("weights")
        return {"cwd": os.getcwd(), "helper": helper.__file__, "answer": helper.ANSWER}

    lab.send(train, on_the_vm=False)
    (lab.project / "helper.py").write_text("ANSWER = 'not what was sent'\n")
    lab.agent().work()
    collected = lab.collect()
    value = collected.job_return.return_value
    assert value["answer"] == 42
    assert value["cwd"] != str(lab.project)
    assert value["cwd"].endswith(str(lab.project))
    assert value["helper"].startswith(value["cwd"])
    assert sorted(path.name for path in lab.project.iterdir()) == ["helper.py"]
    assert collected.job_return.working_dir == str(lab.project)
    assert collected.job_return.hydra_cfg is not None
    assert collected.job_return.hydra_cfg.hydra.runtime.output_dir == f"{lab.project}/multirun/0"
    assert (lab.base / "home" / "0" / "model").read_text() == "weights"


def test_one_vm_does_one_job_after_the_other_each_with_the_code_as_it_was_sent(lab: Lab) -> None:
    def train(config: Any) -> dict[str, Any]:
        from pathlib import Path

        from hydra.core.hydra_config import HydraConfig

        seen = {path.name: path.read_text() for path in Path().glob("*.*")}
        data = sorted(path.name for path in Path("..", "data").iterdir())
        Path("helper.py").write_text("ANSWER = 'changed'\n")
        Path("left.txt").write_text("left behind")
        return {"num": HydraConfig.get().job.num, "seen": seen, "data": data}

    data = lab.base / "data"
    for num in range(2):
        lab.project.mkdir(exist_ok=True)
        data.mkdir(exist_ok=True)
        (lab.project / "helper.py").write_text("ANSWER = 42\n")
        (data / "image.png").write_text("pixels")
        lab.send(train, num=num, data=[data])
    lab.agent(any_job=True).work()
    for num in range(2):
        collected = lab.collect(num)
        assert collected.job_return.return_value == {
            "num": num,
            "seen": {"helper.py": "ANSWER = 42\n"},
            "data": ["image.png"],
        }
        assert collected.result.translate == []
        assert sorted(collected.result.working_dir_files) == ["helper.py", "left.txt"]


def test_an_agent_leaves_other_jobs_alone_unless_it_may_take_them(lab: Lab) -> None:
    lab.send(lambda config: None, num=1)
    assert claims.take(lab.bucket, lab.names, 0, "another")
    lab.agent(num=0).work()
    assert claims.read(lab.bucket, lab.names, 1) is None
    lab.agent(num=0, any_job=True).work()
    assert lab.status(1).state is JobState.COMPLETED


def test_a_spec_that_somebody_changed_is_not_opened(lab: Lab) -> None:
    lab.send(lambda config: None)
    name = lab.names.spec(0)
    lab.bucket.write(name, lab.bucket.read(name)[:-1] + b"!")
    lab.agent().work()
    collected = lab.collect()
    assert (collected.result.state, collected.result.failure) == (JobState.FAILED, Failure.ENVIRONMENT)
    assert "signature" in collected.result.message
    assert lab.log() == ""


def test_a_program_may_save_for_a_share_of_what_the_vm_has_left_and_no_longer(lab: Lab) -> None:
    """The rest is for sending what it has saved."""

    def train(config: Any) -> None:
        import signal
        import time
        from pathlib import Path

        from hydra.core.hydra_config import HydraConfig

        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        Path(HydraConfig.get().runtime.output_dir, "checkpoint").write_text("saved")
        print("ready", flush=True)
        while True:
            time.sleep(0.05)

    lab.send(train, preempt_grace_s=1000.0)
    agent = lab.agent()
    thread = threading.Thread(target=agent.work)
    thread.start()
    wait_until(lambda: "ready" in lab.log(), "the program runs")
    agent.departure.announce(Cause.PREEMPTED, 7.0)
    thread.join()
    assert agent.departure.left_s() > 1.0
    assert (lab.status().state, lab.status().message) == (JobState.PREEMPTED, "preempted")
    assert lab.outputs()["checkpoint"] == "saved"


def waits_for_go(config: Any) -> str:
    import os
    import time
    from pathlib import Path

    print(f"ready {os.getpid()}", flush=True)
    while not Path("go").exists():
        time.sleep(0.05)
    return "late"


def test_an_attempt_that_lost_its_job_is_killed_and_writes_nothing_over_the_next_ones(lab: Lab) -> None:
    lab.send(waits_for_go)
    agent = lab.agent(any_job=True)
    thread = threading.Thread(target=agent.work)
    thread.start()
    wait_until(lambda: "ready" in lab.log(), "the program runs")
    program = int(lab.log().split()[1])
    wait_until(lambda: lab.status().state is JobState.RUNNING, "the first heartbeat")
    held = claims.read(lab.bucket, lab.names, 0)
    assert held is not None
    claims.release(lab.bucket, lab.names, held)
    second = claims.take(lab.bucket, lab.names, 0, "vm-2")
    status = JobStatus(0, JobState.RUNNING, 2, "vm-2", step=7)
    lab.bucket.write(lab.names.status(0), b"", metadata=status.to_metadata())
    thread.join(60)
    assert not thread.is_alive(), "a VM that was given up takes no other job either"
    assert not psutil.pid_exists(program)
    assert lab.status() == status
    assert claims.read(lab.bucket, lab.names, 0) == second


def test_a_result_of_an_attempt_that_lost_its_job_in_the_last_moment_does_not_count(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "is_held", lambda *_: True)
    lab.send(waits_for_go)
    agent = lab.agent()
    thread = threading.Thread(target=agent.work)
    thread.start()
    wait_until(lambda: "ready" in lab.log(), "the program runs")
    held = claims.read(lab.bucket, lab.names, 0)
    assert held is not None
    claims.release(lab.bucket, lab.names, held)
    second = claims.take(lab.bucket, lab.names, 0, "vm-2")
    (lab.project / "go").touch()
    thread.join(60)
    assert claims.read(lab.bucket, lab.names, 0) == second
    assert not lab.status().state.final


def test_a_job_that_ends_while_the_storage_is_away_is_not_lost(
    lab: Lab, storage_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lasting_bucket, "_CLIENT_TRIES_S", 0.0)
    lab.send(waits_for_go)
    with lossy_proxy(storage_url) as proxy:
        client = Client(
            project="p", credentials=AnonymousCredentials(), client_options={"api_endpoint": proxy.url}
        )
        agent = lab.agent(by_way_of=client.bucket(lab.bucket.name))
        thread = threading.Thread(target=agent.work)
        thread.start()
        wait_until(lambda: "ready" in lab.log(), "the program runs")
        proxy.refuse = lambda method, path: 503
        (lab.project / "go").touch()
        wait_until(lambda: proxy.refused > 8, "the agent has tried for a while")
        assert claims.take(lab.bucket, lab.names, 0, "another") is None
        proxy.refuse = lambda method, path: None
        thread.join(100)
    collected = lab.collect()
    assert collected.job_return.return_value == "late"
    assert collected.result.attempt == 1
    assert lab.status().state is JobState.COMPLETED


def test_a_result_whose_outputs_could_not_all_be_sent_does_not_count(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The program has ended, and its VM is taken back before its outputs are in the bucket."""
    agent = lab.agent()

    def taken_back(courier: Courier, left_s: Callable[[], float]) -> bool:
        agent.departure.announce(Cause.PREEMPTED, 30)
        return False

    monkeypatch.setattr(Courier, "finish", taken_back)
    lab.send(lambda config: 1.0)
    agent.work()
    claim = claims.read(lab.bucket, lab.names, 0)
    assert claim is not None and claim.state == "released"
    assert lab.status().state is JobState.PREEMPTED
    assert lab.bucket.find(lab.names.result(0, 1)) is None


def test_a_job_gets_through_a_storage_that_fails_every_third_time(lab: Lab, storage_url: str) -> None:
    def train(config: Any) -> str:
        from pathlib import Path

        from hydra.core.hydra_config import HydraConfig

        output_dir = Path(HydraConfig.get().runtime.output_dir)
        for number in range(5):
            (output_dir / f"file-{number}").write_bytes(b"x" * 100_000)
        return "done"

    lab.send(train)
    with lossy_proxy(storage_url) as proxy:
        proxy.refuse = lambda method, path: 503 if len(proxy.seen) % 9 == 2 else None
        proxy.lose = lambda method, path: len(proxy.seen) % 9 == 5
        proxy.cut = lambda method, path: 10 if len(proxy.seen) % 9 == 8 else None
        client = Client(
            project="p", credentials=AnonymousCredentials(), client_options={"api_endpoint": proxy.url}
        )
        lab.agent(by_way_of=client.bucket(lab.bucket.name)).work()
        assert proxy.refused + proxy.lost > 4
    collected = lab.collect()
    assert collected.job_return.return_value == "done"
    assert collected.result.attempt == 1
    assert len([*(lab.base / "home" / "0").glob("file-*")]) == 5


def test_a_forged_result_is_not_unpickled(lab: Lab) -> None:
    lab.send(lambda config: 1.0)
    lab.agent().work()
    name = lab.names.result(0, 1)
    envelope = bytearray(lab.bucket.read(name))
    envelope[-1] ^= 1
    lab.bucket.write(name, bytes(envelope))
    with pytest.raises(SealBroken):
        _ = lab.collect().job_return.return_value
