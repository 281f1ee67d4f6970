"""Jobs that raise and jobs that die, beside one that does not: what comes back of each."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from hydra_gce.cloud.backend import Backend
from hydra_gce.compute import HereCompute
from tests.e2e.project import Ended, Project, hydra_gce

DEATHS = """
    import ctypes, errno, signal, sys

    print("about to", cfg.end, flush=True)
    (out / "kept.txt").write_text(cfg.end)
    if cfg.end == "raise":
        raise ValueError("the learning rate is a banana")
    if cfg.end == "exit":
        os._exit(3)
    if cfg.end == "segfault":
        ctypes.string_at(0)
    if cfg.end == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if cfg.end == "disk":
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "model.ckpt")
    if cfg.end == "hoard":
        hoard = [b"x" * (32 << 20) for _ in range(1000)]
    if cfg.end == "unpicklable":
        return (number for number in range(3))
    Path("notes").mkdir()
    Path("notes/beside.txt").write_text("written beside the output directory")
    return 7
"""
ENDS = ["raise", "exit", "segfault", "kill", "disk", "unpicklable", "well"]


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, Ended]:
    """One sweep with every kind of end; one VM takes all of its jobs."""
    project = Project(tmp_path_factory.mktemp("ends") / "project")
    project.program(DEATHS)
    return project, project.launch(f"+end={','.join(ENDS)}", "hydra.launcher.max_vms=1")


def test_a_failed_job_fails_the_sweep_with_the_jobs_own_traceback(sweep: tuple[Project, Ended]) -> None:
    project, ended = sweep
    line = (project.directory / "app.py").read_text().splitlines().index(
        '        raise ValueError("the learning rate is a banana")'
    ) + 1

    assert ended.code != 0
    assert "ValueError: the learning rate is a banana" in ended.err
    assert f'File "{project.directory}/app.py", line {line}, in main' in ended.err


@pytest.mark.parametrize(
    "end, told",
    [
        ("raise", "ValueError: the learning rate is a banana"),
        ("exit", "exit code 3"),
        ("segfault", "SIGSEGV"),
        ("kill", "SIGKILL"),
        ("disk", "disk full: OSError: [Errno 28] No space left on device: 'model.ckpt'"),
        ("unpicklable", "the job's return value of type generator cannot be pickled"),
    ],
)
def test_each_kind_of_end_is_told_apart(sweep: tuple[Project, Ended], end: str, told: str) -> None:
    _, ended = sweep

    [line] = [
        line
        for line in ended.out.splitlines()
        if f"job {ENDS.index(end)} failed: " in line and "logs:" in line
    ]

    assert told in line


def test_siblings_of_failed_jobs_go_on_and_all_outputs_are_kept(sweep: tuple[Project, Ended]) -> None:
    project, ended = sweep

    for num, end in enumerate(ENDS):
        assert (project.sweep_dir / str(num) / "kept.txt").read_text() == end
        assert yaml.safe_load((project.sweep_dir / str(num) / ".hydra/config.yaml").read_text()) == {
            "end": end
        }
    assert f"job {ENDS.index('well')}  COMPLETED" in ended.out


def test_a_file_written_beside_the_output_directory_is_kept_in_it(sweep: tuple[Project, Ended]) -> None:
    project, ended = sweep
    kept = project.sweep_dir / str(ENDS.index("well")) / "working_dir/notes/beside.txt"

    assert kept.read_text() == "written beside the output directory"
    assert not (project.directory / "notes").exists()
    assert "kept as working_dir/notes/beside.txt" in ended.out


def test_the_last_lines_of_a_job_that_died_are_in_its_log(sweep: tuple[Project, Ended]) -> None:
    _, ended = sweep

    logs = hydra_gce("logs", ended.sweep, "--job", str(ENDS.index("segfault")))

    assert logs.code == 0
    assert "about to segfault" in logs.out


def test_no_vm_is_left(sweep: tuple[Project, Ended], engine: Backend) -> None:
    assert "no VM is left" in sweep[1].out
    assert not HereCompute(engine).instances(sweep[1].sweep)


@pytest.mark.slow
@pytest.mark.skipif(
    not any(Path(p).exists() for p in ("/sys/fs/cgroup/memory", "/sys/fs/cgroup/memory.max")),
    reason="no cgroups",
)
def test_a_job_that_takes_all_the_memory_of_its_vm_is_told_so(project: Project) -> None:
    project.program(DEATHS)

    ended = project.launch("+end=hoard", "hydra.launcher.vm.machine_type=e2-micro")

    assert ended.code != 0
    assert "out of memory" in ended.out
    assert "memory was full" in ended.err
    assert "about to hoard" in ended.err
