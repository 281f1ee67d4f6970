"""``hydra-gce run``: one job of a Hydra program on a VM, seen as if it ran here."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest
import yaml

from hydra_gce.cloud.backend import Backend
from hydra_gce.compute import HereCompute
from tests.e2e.on_server import TOLD, tell
from tests.e2e.person import terminal_of
from tests.e2e.project import SMALL, Ended, Project, Running, eventually, hydra_gce, sweep_in
from tests.e2e.test_coming_back import attach, files_in, started

pytestmark = pytest.mark.timeout(600)

WORKS = """
    print("begins with", cfg.x, flush=True)
    (out / "result.txt").write_text(str(cfg.x))
    for step in range(2):
        print("step", step, flush=True)
        time.sleep(1)
    print("ends")
    return 7
"""
DIES = """
    import signal, sys

    print("about to", cfg.end, flush=True)
    (out / "kept.txt").write_text(cfg.end)
    if cfg.end == "raise":
        raise ValueError("the learning rate is a banana")
    if cfg.end == "exit":
        sys.exit(3)
    os.kill(os.getpid(), signal.SIGKILL)
"""
WAITS = (
    TOLD
    + """
    (out / "begun.txt").write_text("begun")
    print("well under way", flush=True)
    while not told("end"):
        time.sleep(0.1)
    return 7
"""
)
HERE = ("hydra.launcher.backend=local", *SMALL)


@pytest.fixture(autouse=True)
def nothing_goes_on(hydra_gce_home: Path) -> Iterator[None]:
    yield
    for log in (hydra_gce_home / "watchers").glob("*.log"):
        hydra_gce("down", log.stem)


def begin(project: Project, *command: str, options: tuple[str, ...] = ()) -> Running:
    return project.begin([sys.executable, "-m", "hydra_gce.cli", "run", *options, "--", *command, *HERE])


def run(project: Project, *command: str, options: tuple[str, ...] = ()) -> Ended:
    return begin(project, *command, options=options).end()


def plain(project: Project, *command: str) -> Ended:
    """The same here, by Hydra alone."""
    done = subprocess.run(command, cwd=project.directory, capture_output=True, text=True, check=False)
    return Ended(done.returncode, done.stdout, done.stderr)


def test_a_single_run_prints_and_leaves_what_it_would_here(project: Project, engine: Backend) -> None:
    project.program(WORKS)
    command = (sys.executable, "app.py", "+x='one, two'")
    here = plain(project, *command, "hydra.run.dir=here")
    there = run(project, *command, "hydra.run.dir='there ${hydra.job.name}/${now:%Y}'")

    assert (there.code, here.code) == (0, 0), there.said
    assert there.out == here.out == "begins with one, two\nstep 0\nstep 1\nends\n"
    assert "COMPLETED" in there.err and "no VM is left" in there.err
    (directory,) = project.directory.glob("there app/2*")
    assert files_in(directory) == files_in(project.directory / "here") == {"result.txt": b"one, two"}
    assert not list(project.directory.glob("**/multirun.yaml"))
    hydra = yaml.safe_load((directory / ".hydra/hydra.yaml").read_text())["hydra"]
    assert hydra["mode"] == "RUN"
    assert hydra["runtime"]["output_dir"] == str(directory)
    assert hydra["overrides"]["task"] == ["+x='one, two'"]
    assert not HereCompute(engine).instances()


@pytest.mark.parametrize(
    "end, code, said", [("raise", 1, "ValueError: the"), ("exit", 3, ""), ("kill", 137, "SIGKILL")]
)
def test_a_failing_job_ends_the_command_as_it_would_have_ended_here(
    project: Project, end: str, code: int, said: str
) -> None:
    project.program(DIES)
    ended = run(project, sys.executable, "app.py", f"+end={end}", "hydra.run.dir=out")

    assert ended.code == code, ended.said
    assert f"about to {end}" in ended.out
    assert said in ended.said
    assert (project.directory / "out/kept.txt").read_text() == end
    assert "no VM is left" in ended.err


def test_the_same_directory_again_goes_on_after_a_failure_and_begins_anew_after_success(
    project: Project,
) -> None:
    project.program("""
        marker = out / "was_here.txt"
        if not marker.exists():
            marker.write_text("1")
            raise ValueError("the first time")
        print("goes on")
    """)
    command = (sys.executable, "app.py", "hydra.run.dir=out")
    failed, went_on = run(project, *command), run(project, *command)
    anew = run(project, *command)

    assert failed.code == 1 and went_on.code == 0, went_on.said
    assert sweep_in(went_on.err) == sweep_in(failed.err)
    assert went_on.out.endswith("goes on\n")
    assert anew.code == 1 and "the first time" in anew.said, anew.said
    assert sweep_in(anew.err) != sweep_in(failed.err)


def test_a_module_of_a_package_and_a_script_of_an_environment_in_a_path_with_spaces(tmp_path: Path) -> None:
    project = Project(tmp_path / "my project")
    try:
        project.program("    print('module', cfg.x)\n    return cfg.x")
        package = project.write("pack/train.py", (project.directory / "app.py").read_text())
        package.with_name("__init__.py").touch()
        script = project.write(
            "bin/train it",
            f"#!{sys.executable}\nimport sys\nsys.path.insert(0, '.')\nfrom pack.train import main\nmain()\n",
        )
        script.chmod(0o755)
        module = run(project, sys.executable, "-m", "pack.train", "+x=3", options=("--max-run-hours", "1"))
        assert (module.code, module.out) == (0, "module 3\n"), module.said
        assert "in 1 h" in module.err, "the option was not heard"
        installed = run(project, "bin/train it", "--config-dir", str(project.directory), "+x=4")
        assert (installed.code, installed.out) == (0, "module 4\n"), installed.said
        assert len(list(project.directory.glob("outputs/*/*/.hydra"))) == 2
    finally:
        project.close()


def test_a_run_is_left_and_come_back_to(project: Project, engine: Backend) -> None:
    project.program(WAITS)
    left = run(project, sys.executable, "app.py", "hydra.run.dir=out", options=("--detach",))
    assert left.code == 0, left.said
    assert "hydra-gce attach" in left.err
    sweep = sweep_in(left.err)
    started(engine, sweep, 1)
    tell(engine, sweep, "end")
    ended, came = attach(sweep)

    assert ended.code == 0, ended.said
    assert [job["return_value"] for job in came["jobs"]] == [7]
    assert (project.directory / "out/begun.txt").exists()


def test_ctrl_c_ends_the_job_and_brings_home_what_it_saved(project: Project, engine: Backend) -> None:
    project.program(WAITS)
    running = begin(project, sys.executable, "app.py", "hydra.run.dir=out")
    running.until("well under way")
    os.killpg(running.process.pid, signal.SIGINT)  # as a terminal does
    ended = running.end()

    assert ended.code == 130, ended.said
    assert "cancelled" in ended.err and "no VM is left" in ended.err
    assert "Traceback" not in ended.err
    assert (project.directory / "out/begun.txt").exists()
    assert not HereCompute(engine).instances(sweep_in(ended.err))


def test_sigterm_of_the_command_reaches_the_launcher(project: Project, engine: Backend) -> None:
    project.program(WAITS)
    running = begin(
        project, sys.executable, "app.py", "hydra.run.dir=out", "hydra.launcher.on_interrupt=detach"
    )
    running.until("well under way")
    running.process.send_signal(signal.SIGTERM)
    ended = running.end()

    assert ended.code == 130, ended.said
    sweep = sweep_in(ended.err)
    assert f"hydra-gce attach {sweep}" in ended.err
    assert HereCompute(engine).instances(sweep)
    tell(engine, sweep, "end")
    eventually(lambda: not HereCompute(engine).instances(sweep), "nobody went on with it")


def test_in_a_terminal_ctrl_c_asks_and_leaving_leaves_it(project: Project, engine: Backend) -> None:
    project.program(WAITS)
    words = ["-m", "hydra_gce.cli", "run", "--", sys.executable, "app.py", "hydra.run.dir=out", *HERE]
    with terminal_of([sys.executable, *words], project.directory) as terminal:
        terminal.expect(r"sweep ([a-z]+-[a-z]+)")
        sweep = terminal.match[1]
        terminal.expect("well under way")
        terminal.sendintr()
        terminal.expect(r"\[d\]etach .*\[k\]eep watching\? ")
        terminal.sendline("d")
        terminal.expect("the VMs go on: hydra-gce attach")
        terminal.expect(pexpect.EOF)
        terminal.wait()
        assert terminal.exitstatus == 130
    tell(engine, sweep, "end")
    ended, came = attach(sweep)
    assert ended.code == 0, ended.said
    assert [job["return_value"] for job in came["jobs"]] == [7]
