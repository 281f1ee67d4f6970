"""A VM's first seconds, on this machine: its startup script, and the paths of a cloud over HTTP."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

from hydra_gce.agent import bootstrap

AGENT = Path(bootstrap.__file__).parent
MINOR = "{}.{}".format(*sys.version_info)
SYSTEM_PYTHON = shutil.which("python3", path="/usr/bin:/bin") or sys.executable
UV = Path(sys.executable).with_name("uv")


BOOT_REPORT = "hydra-gce/sweeps/calm-otter/boot/vm-1"
INSTANCE = "/compute/v1/projects/p/zones/z-a/instances/vm-1"


def told(output: str) -> dict[str, str]:
    """What the agent says."""
    line = next(line for line in output.splitlines() if line.startswith("agent "))
    answer: dict[str, str] = json.loads(line[len("agent ") :])
    return answer


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


def fake_command(folder: Path, name: str, script: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(f"#!/bin/bash\n{script}\n")
    (folder / name).chmod(0o755)


class Cloud(ThreadingHTTPServer):
    """Metadata server, Cloud Storage and Compute Engine, as far as a boot needs them, at one address."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), CloudPaths)
        self.attributes = {"hydra-gce-bucket": "b", "hydra-gce-sweep": "calm-otter"}
        self.objects: dict[str, bytes] = {}
        self.deleted: list[str] = []
        self.failing = 0
        self.refuses_deletion = False

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
        if self.server.refuses_deletion:
            self._answer(403, b"Required 'compute.instances.delete' permission")
        else:
            self._answer(200, b"{}")

    def _answer(self, status: int, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


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
