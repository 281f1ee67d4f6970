"""What tests of a VM's first seconds share."""

from __future__ import annotations

import io
import shutil
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.agent.machine import AGENT, Cloud, put
from tests.tiny_wheels import tiny_wheel


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
