"""A VM's first seconds: startup.sh and bootstrap.py with a real uv and the paths of a cloud over HTTP."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import urllib.parse
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from hydra_gce.agent import bootstrap, pins
from tests.tiny_wheels import tiny_wheel

AGENT = Path(bootstrap.__file__).parent
MINOR = "{}.{}".format(*sys.version_info)
SYSTEM_PYTHON = shutil.which("python3", path="/usr/bin:/bin") or sys.executable
UV = Path(sys.executable).with_name("uv")


@pytest.fixture
def index(tmp_path: Path) -> Path:
    """A folder of wheels: what PyPI is to a VM."""
    folder = tmp_path / "index"
    for version in ("1.0", "2.0"):
        tiny_wheel(folder, "tinything", version)
    return folder


@pytest.fixture
def launcher(tmp_path: Path) -> Path:
    """An unpacked launcher whose agent says where it runs, and ends."""
    folder = tmp_path / "launcher"
    shutil.copytree(AGENT, folder / "hydra_gce" / "agent", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "hydra_gce" / "__init__.py").touch()
    (folder / "hydra_gce" / "agent" / "__init__.py").touch()
    (folder / "hydra_gce" / "agent" / "__main__.py").write_text(
        "import json, os, sys\n"
        "try:\n    import tinything\nexcept ImportError:\n    tinything = None\n"
        "path = os.environ.get('LD_LIBRARY_PATH')\n"
        "told = {'python': sys.executable, 'tinything': tinything and tinything.version, 'libraries': path}\n"
        "print('agent ' + json.dumps(told))\n"
        "if os.environ.get('AGENT_WAITS'):\n"
        "    import signal\n"
        "    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})\n"
        "    print('agent waits', flush=True)\n"
        "    signal.sigwait({signal.SIGTERM})\n"
        "    print('agent has saved', flush=True)\n"
        "sys.exit(int(os.environ.get('AGENT_EXIT', '0')))\n"
    )
    return folder


def told(output: str) -> dict[str, str]:
    """What the agent says."""
    line = next(line for line in output.splitlines() if line.startswith("agent "))
    answer: dict[str, str] = json.loads(line[len("agent ") :])
    return answer


def wanted_file(
    prefix: Path,
    requirements: str,
    *,
    apt: tuple[str, ...] = (),
    setup: tuple[str, ...] = (),
    python: str = MINOR,
) -> Path:
    content = json.dumps({"python": python, "requirements": requirements, "apt": apt, "setup": setup})
    path = prefix / "wanted" / f"{hashlib.sha256(content.encode()).hexdigest()}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def guest_environment(prefix: Path, **more: str) -> dict[str, str]:
    """Nothing of the test's own but what the network would give: uv, and a Python of that minor."""
    fetched = prefix.parent / "fetched"
    if not fetched.exists():
        fetched.mkdir(parents=True)
        (fetched / "uv").symlink_to(UV)
        (fetched / f"python{MINOR}").symlink_to(os.path.realpath(sys.executable))
    return {
        "PATH": f"{fetched}:/usr/bin:/bin",
        "HOME": str(prefix),
        "HYDRA_GCE_PREFIX": str(prefix),
        **more,
    }


def boot(prefix: Path, wanted: Path, launcher: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    script = launcher / "hydra_gce" / "agent" / "bootstrap.py"
    return subprocess.run(
        [SYSTEM_PYTHON, "-I", "-S", str(script), str(wanted), str(launcher)],
        env=guest_environment(prefix, **environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
    )


def bake(prefix: Path, index: Path, requirement: str) -> Path:
    """An environment as a baked image has it, with its mark."""
    home = prefix.parent / "baked"
    subprocess.run([UV, "venv", "-q", "--python", sys.executable, home], check=True)
    python = home / "bin" / "python"
    install = [str(UV), "pip", "install", "-q", "--python", str(python), "--no-index"]
    subprocess.run([*install, "--find-links", str(index), requirement], check=True)
    prefix.mkdir(exist_ok=True)
    (prefix / "environment.json").write_text(json.dumps({"python": str(python)}))
    return python


def tree(folder: Path) -> set[str]:
    return {str(path) for path in folder.rglob("*") if "__pycache__" not in path.parts}


def test_a_baked_environment_is_taken_as_it_is(tmp_path: Path, index: Path, launcher: Path) -> None:
    prefix = tmp_path / "prefix"
    python = bake(prefix, index, "tinything==1.0")
    before = tree(python.parent.parent)
    wanted = wanted_file(prefix, "tinything==1.0\nabsent==9 ; sys_platform == 'win32'\n")
    done = boot(prefix, wanted, launcher, LD_LIBRARY_PATH="/usr/local/nvidia/lib64")
    assert done.returncode == 0, done.stdout
    assert told(done.stdout) == {
        "python": str(python),
        "tinything": "1.0",
        "libraries": "/usr/local/nvidia/lib64",
    }
    assert tree(python.parent.parent) == before


def test_an_environment_is_made_where_the_baked_one_lacks_something(
    tmp_path: Path, index: Path, launcher: Path
) -> None:
    prefix = tmp_path / "prefix"
    python = bake(prefix, index, "tinything==1.0")
    before = tree(python.parent.parent)
    wanted = wanted_file(prefix, f"--no-index\n--find-links {index}\ntinything==2.0\n")
    done = boot(prefix, wanted, launcher)
    assert done.returncode == 0, done.stdout
    assert f"hydra-gce: environment: {python} lacks tinything==2.0\n" in done.stdout
    assert "hydra-gce: environment: 1 packages installed in " in done.stdout
    assert told(done.stdout)["tinything"] == "2.0"
    assert tree(python.parent.parent) == before, "the image's environment is not ours to change"


def test_a_bare_machine_makes_its_environment_once(tmp_path: Path, index: Path, launcher: Path) -> None:
    prefix = tmp_path / "prefix"
    requirements = f"--no-index\n--find-links {index}\ntinything==2.0\n"
    wanted = wanted_file(prefix, requirements)
    first = boot(prefix, wanted, launcher)
    assert told(first.stdout)["tinything"] == "2.0"
    shutil.rmtree(index)
    again = boot(prefix, wanted, launcher)
    assert told(again.stdout) == told(first.stdout)
    assert "as at the last boot" in again.stdout
    other_sweep = boot(prefix, wanted_file(prefix, "tinything==2.0\n"), launcher)
    assert told(other_sweep.stdout) == told(first.stdout), (
        "an image baked from this disk serves other sweeps too"
    )


def test_an_interrupted_installation_is_begun_anew(tmp_path: Path, index: Path, launcher: Path) -> None:
    prefix = tmp_path / "prefix"
    wanted = wanted_file(prefix, f"--no-index\n--find-links {index}\ntinything==2.0\n")
    half = prefix / "environments" / wanted.stem
    (half / "bin").mkdir(parents=True)
    (half / "bin" / "python").write_text("#!/bin/sh\nexit 1\n")
    assert told(boot(prefix, wanted, launcher).stdout)["tinything"] == "2.0"


def test_uv_judges_what_is_no_plain_pin(tmp_path: Path, index: Path, launcher: Path) -> None:
    prefix = tmp_path / "prefix"
    python = bake(prefix, index, "tinything==1.0")
    enough = wanted_file(prefix, f"--no-index\n--find-links {index}\ntinything>=0.5\n")
    assert told(boot(prefix, enough, launcher).stdout)["python"] == str(python)
    more = wanted_file(prefix, f"--no-index\n--find-links {index}\ntinything>=1.5\n")
    assert told(boot(prefix, more, launcher).stdout)["tinything"] == "2.0"


def test_what_cannot_be_installed_is_said_in_one_line(tmp_path: Path, index: Path, launcher: Path) -> None:
    prefix = tmp_path / "prefix"
    wanted = wanted_file(prefix, f"--no-index\n--find-links {index}\ntinything==3.0\n")
    done = boot(prefix, wanted, launcher)
    assert done.returncode == 1
    last = done.stdout.splitlines()[-1]
    assert last.startswith("hydra-gce: environment: uv pip install failed: ")
    assert "tinything==3.0" in last
    assert not (prefix / "environments" / f"{wanted.stem}.json").exists()


def test_setup_commands_run_once_before_the_packages(tmp_path: Path, index: Path, launcher: Path) -> None:
    prefix = tmp_path / "prefix"
    ran = tmp_path / "ran"
    setup = (f"echo first >> {ran}", f"test ! -e {prefix}/environments && echo second >> {ran}")
    wanted = wanted_file(prefix, f"--no-index\n--find-links {index}\ntinything==1.0\n", setup=setup)
    for _ in range(2):
        assert boot(prefix, wanted, launcher).returncode == 0
    assert ran.read_text() == "first\nsecond\n"


def test_a_failing_setup_command_is_named(tmp_path: Path, launcher: Path) -> None:
    prefix = tmp_path / "prefix"
    done = boot(prefix, wanted_file(prefix, "", setup=("true", "exit 7")), launcher)
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1] == (
        "hydra-gce: setup: exit code 7 of hydra.launcher.env.setup[1]: exit 7"
    )


def fake_command(folder: Path, name: str, script: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(f"#!/bin/bash\n{script}\n")
    (folder / name).chmod(0o755)


def test_only_missing_debian_packages_are_installed(tmp_path: Path, index: Path, launcher: Path) -> None:
    prefix, bin_, asked = tmp_path / "prefix", tmp_path / "bin", tmp_path / "asked"
    bake(prefix, index, "tinything==1.0")
    fake_command(bin_, "dpkg-query", 'if [ "${@: -1}" = ffmpeg ]; then printf installed; else exit 1; fi')
    fake_command(bin_, "apt-get", f'echo "$DEBIAN_FRONTEND ${{@: -2}}" >> {asked}')
    wanted = wanted_file(prefix, "tinything==1.0", apt=("ffmpeg", "libgl1"))
    done = boot(prefix, wanted, launcher, PATH=f"{bin_}:/usr/bin:/bin")
    assert done.returncode == 0, done.stdout
    assert asked.read_text().splitlines()[1] == "noninteractive --no-install-recommends libgl1"
    assert "hydra-gce: apt: libgl1 installed in " in done.stdout


FACTS = {
    "python_version": "3.11",
    "python_full_version": "3.11.7",
    "sys_platform": "linux",
    "platform_machine": "x86_64",
    "platform_python_implementation": "CPython",
    "implementation_name": "cpython",
    "extra": "",
}


@pytest.mark.parametrize(
    ("marker", "expected"),
    [
        ("sys_platform == 'win32'", False),
        ("sys_platform != 'win32' and platform_machine == 'x86_64'", True),
        ("(sys_platform == 'darwin' or python_full_version < '3.12') and extra == ''", True),
        ("python_version < '3.9'", False),
        ("python_version >= '3.9' and python_version < '3.11.0'", False),
        ("'linux' in sys_platform", True),
        ("platform_machine not in 'arm64 aarch64'", True),
    ],
)
def test_markers_hold_as_the_specification_says(marker: str, expected: bool) -> None:
    assert pins.holds(marker, FACTS) is expected


@pytest.mark.parametrize(
    "marker", ["python_version ~= '3.9'", "colour == 'red'", "sys_platform > 'a'", "f()", "1"]
)
def test_markers_that_are_not_understood_are_left_to_uv(marker: str) -> None:
    assert pins.compare(f"a==1 ; {marker}", {}, FACTS) == ([], [f"a==1 ; {marker}"])


@pytest.mark.parametrize(
    ("line", "installed", "met"),
    [
        ("Foo_Bar==1.0", {"foo-bar": "1.0.0"}, True),
        ("foo[extra]==1.0  # why", {"foo": "1.0"}, True),
        ("foo==1.0", {"foo": "1.0.1"}, False),
        ("foo==1.0", {"foo": "1.0+cpu"}, True),
        ("foo==1.0+cu121", {"foo": "1.0+cpu"}, False),
        ("foo==1.0rc1", {"foo": "1.0rc1"}, True),
        ("foo==1.0", {}, False),
        ("# foo==1.0", {}, True),
        ("--index-url https://example.org", {}, True),
    ],
)
def test_pins_are_compared_as_versions(line: str, installed: dict[str, str], met: bool) -> None:
    assert pins.compare(line, installed, FACTS) == ([] if met else [line.partition("  #")[0]], [])


class Cloud(ThreadingHTTPServer):
    """Metadata server, Cloud Storage and Compute Engine, as far as a boot needs them, at one address."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), CloudPaths)
        self.attributes = {"hydra-gce-bucket": "b", "hydra-gce-sweep": "calm-otter"}
        self.objects: dict[str, bytes] = {}
        self.deleted: list[str] = []
        self.failing = 0

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_port}"


class CloudPaths(BaseHTTPRequestHandler):
    METADATA: ClassVar[str] = "/computeMetadata/v1/"
    server: Cloud

    def do_GET(self) -> None:
        url = urllib.parse.urlsplit(self.path)
        if url.path.startswith(self.METADATA):
            self._metadata(url.path[len(self.METADATA) :])
        elif self.server.failing:
            self.server.failing -= 1
            self._answer(503, b"try again")
        elif self.headers["Authorization"] != "Bearer t0ken":
            self._answer(401, b"who are you")
        else:
            name = urllib.parse.unquote(url.path.rpartition("/o/")[2])
            content = self.server.objects.get(name)
            self._answer(404, b"No such object") if content is None else self._answer(200, content)

    def _metadata(self, path: str) -> None:
        if self.headers["Metadata-Flavor"] != "Google":
            self._answer(403, b"")
        elif path == "instance/service-accounts/default/token":
            self._answer(200, b'{"access_token": "t0ken", "expires_in": 3599, "token_type": "Bearer"}')
        else:
            instance = {"name": "vm-1", "zone": "projects/7/zones/z-a", "attributes": self.server.attributes}
            content = {"instance": instance, "project": {"projectId": "p"}}
            self._answer(200, json.dumps(content).encode())

    def do_POST(self) -> None:
        name = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)["name"][0]
        self.server.objects[name] = self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(200, b"{}")

    def do_DELETE(self) -> None:
        self.server.deleted.append(self.path)
        self._answer(200, b"{}")

    def _answer(self, status: int, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def cloud(launcher: Path) -> Iterator[Cloud]:
    """A cloud whose bucket holds the launcher; ``want`` adds the environment."""
    server = Cloud()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as wheel:
        for path in sorted(launcher.rglob("*.py")):
            wheel.write(path, path.relative_to(launcher))
    put(server, "launcher", "launcher", ".whl", buffer.getvalue())
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def put(cloud: Cloud, attribute: str, folder: str, suffix: str, content: bytes) -> str:
    name = f"{folder}/{hashlib.sha256(content).hexdigest()}{suffix}"
    cloud.objects[f"hydra-gce/{name}"] = content
    cloud.attributes[f"hydra-gce-{attribute}"] = name
    return name


def want(cloud: Cloud, requirements: str) -> str:
    content = {"python": MINOR, "requirements": requirements, "apt": [], "setup": []}
    return put(cloud, "environment", "environments", ".json", json.dumps(content).encode())


def power_on(cloud: Cloud, prefix: Path, **environment: str) -> subprocess.Popen[str]:
    guest = guest_environment(
        prefix,
        GCE_METADATA_HOST=cloud.address,
        STORAGE_EMULATOR_HOST=f"http://{cloud.address}",
        CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE=f"http://{cloud.address}/compute/v1/",
        **environment,
    )
    return subprocess.Popen(
        ["bash", str(AGENT / "startup.sh")],
        env=guest,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def start(cloud: Cloud, prefix: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    machine = power_on(cloud, prefix, **environment)
    console, _ = machine.communicate(timeout=120)
    return subprocess.CompletedProcess(machine.args, machine.returncode, console)


BOOT_REPORT = "hydra-gce/sweeps/calm-otter/boot/vm-1"
INSTANCE = "/compute/v1/projects/p/zones/z-a/instances/vm-1"


def test_startup_brings_the_launcher_and_starts_the_agent(cloud: Cloud, tmp_path: Path, index: Path) -> None:
    python = bake(tmp_path / "prefix", index, "tinything==1.0")
    want(cloud, "tinything==1.0")
    done = start(cloud, tmp_path / "prefix")
    assert done.returncode == 0, done.stdout
    assert told(done.stdout)["python"] == str(python)
    assert not cloud.deleted
    assert BOOT_REPORT not in cloud.objects


def test_startup_outlasts_a_storage_that_is_not_ready(cloud: Cloud, tmp_path: Path, index: Path) -> None:
    bake(tmp_path / "prefix", index, "tinything==1.0")
    want(cloud, "tinything==1.0")
    cloud.failing = 3
    assert told(start(cloud, tmp_path / "prefix").stdout)["tinything"] == "1.0"


def test_a_reboot_fetches_nothing_again(cloud: Cloud, tmp_path: Path, index: Path) -> None:
    bake(tmp_path / "prefix", index, "tinything==1.0")
    want(cloud, "tinything==1.0")
    start(cloud, tmp_path / "prefix")
    cloud.objects.clear()
    assert start(cloud, tmp_path / "prefix").returncode == 0


def test_a_vm_that_cannot_boot_says_why_and_deletes_itself(cloud: Cloud, tmp_path: Path) -> None:
    name = want(cloud, "")
    del cloud.objects[f"hydra-gce/{name}"]
    done = start(cloud, tmp_path / "prefix")
    reason = f"hydra-gce: gs://b/hydra-gce/{name}: HTTP 404 No such object"
    assert done.returncode == 1
    assert reason in done.stdout.splitlines()
    assert reason in cloud.objects[BOOT_REPORT].decode().splitlines()
    assert cloud.deleted == [INSTANCE]


def test_a_failed_environment_reaches_the_report(cloud: Cloud, tmp_path: Path, index: Path) -> None:
    want(cloud, f"--no-index\n--find-links {index}\ntinything==3.0\n")
    start(cloud, tmp_path / "prefix")
    assert "hydra-gce: environment: uv pip install failed" in cloud.objects[BOOT_REPORT].decode()
    assert cloud.deleted == [INSTANCE]


def test_a_vm_is_kept_for_a_look_where_the_person_asks_for_it(cloud: Cloud, tmp_path: Path) -> None:
    cloud.attributes["hydra-gce-keep-failed"] = "true"
    start(cloud, tmp_path / "prefix")
    assert "no attribute hydra-gce-environment" in cloud.objects[BOOT_REPORT].decode()
    assert not cloud.deleted


def test_an_agent_that_dies_takes_its_vm_along(cloud: Cloud, tmp_path: Path, index: Path) -> None:
    bake(tmp_path / "prefix", index, "tinything==1.0")
    want(cloud, "tinything==1.0")
    done = start(cloud, tmp_path / "prefix", AGENT_EXIT="3")
    assert done.returncode == 3
    assert (
        cloud.objects[BOOT_REPORT].decode().splitlines()[-1].startswith("hydra-gce: ended with exit code 3")
    )
    assert cloud.deleted == [INSTANCE]


def test_a_shutdown_is_no_failure_and_the_agent_can_write_to_its_end(
    cloud: Cloud, tmp_path: Path, index: Path
) -> None:
    bake(tmp_path / "prefix", index, "tinything==1.0")
    want(cloud, "tinything==1.0")
    machine = power_on(cloud, tmp_path / "prefix", AGENT_WAITS="1", AGENT_EXIT="1")
    assert machine.stdout is not None
    assert any(line == "agent waits\n" for line in machine.stdout)
    os.killpg(machine.pid, signal.SIGTERM)
    console, _ = machine.communicate(timeout=60)
    assert "agent has saved" in console
    assert not cloud.deleted
    assert BOOT_REPORT not in cloud.objects


def test_an_object_that_is_not_what_its_name_says_is_not_used(cloud: Cloud, tmp_path: Path) -> None:
    want(cloud, "")
    cloud.objects[f"hydra-gce/{cloud.attributes['hydra-gce-launcher']}"] = b"evil"
    done = start(cloud, tmp_path / "prefix")
    assert "is not what its name says" in done.stdout
    assert not (tmp_path / "prefix" / "launcher").exists()


def test_the_way_to_the_agent_is_short(cloud: Cloud, tmp_path: Path, index: Path) -> None:
    bake(tmp_path / "prefix", index, "tinything==1.0")
    want(cloud, "tinything==1.0")
    before = os.times()
    start(cloud, tmp_path / "prefix")
    after = os.times()
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    assert spent < 1.0, "the aim is 0.4 s on a quiet machine"
