"""uv comes from wherever it is to be had, and only if it is what the index promised."""

from __future__ import annotations

import base64
import hashlib
import http.server
import io
import json
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from hydra_gce.agent import get_uv
from hydra_gce.agent.get_uv import Machine, UvUnavailable, Wheel

SCRIPT = f"#!/bin/sh\necho 'uv {get_uv.VERSION} (fake)'\n"
WHEEL_NAME = f"uv-{get_uv.VERSION}-py3-none-any-test.whl"
NO_PIP = "/nowhere/python"


def wheel_bytes(script: str = SCRIPT) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr(f"uv-{get_uv.VERSION}.data/scripts/uv", script)
        archive.writestr("uv/__init__.py", "")
    return content.getvalue()


def executable(path: Path, script: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(script)
    path.chmod(0o755)
    return path


class Index:
    """A package index on this machine: `pages` by path; what was asked of it in `asked`."""

    def __init__(self) -> None:
        self.pages: dict[str, tuple[str, bytes]] = {}
        self.failures: list[int] = []
        self.asked: list[tuple[str, str | None]] = []
        index = self

        class Answer(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                index.asked.append((self.path, self.headers.get("Authorization")))
                if index.failures:
                    self.send_error(index.failures.pop(0))
                    return
                if self.path not in index.pages:
                    self.send_error(404)
                    return
                kind, body = index.pages[self.path]
                self.send_response(200)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """The test's output is no place for a server's log."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self.host = f"127.0.0.1:{self.server.server_port}"

    def offer(self, wheel: bytes, *, sha256: str | None = None, html: bool = False) -> None:
        """Lists the wheel under /simple/uv/ and serves it beside, by a relative link."""
        name = f"uv-{get_uv.VERSION}-py3-none-{platform_tag()}.whl"
        digest = hashlib.sha256(wheel).hexdigest() if sha256 is None else sha256
        self.pages[f"/files/{name}"] = ("application/octet-stream", wheel)
        if html:
            page = f'<!DOCTYPE html><a href="../../files/{name}#sha256={digest}">{name}</a>'
            self.pages["/simple/uv/"] = ("text/html", page.encode())
        else:
            listing = {
                "files": [{"filename": name, "url": f"../../files/{name}", "hashes": {"sha256": digest}}]
            }
            self.pages["/simple/uv/"] = (get_uv.SIMPLE_JSON, json.dumps(listing).encode())


def platform_tag() -> str:
    machine = Machine.this()
    if machine.system == "darwin":
        return f"macosx_10_12_{machine.architecture}"
    return (
        f"manylinux_2_17_{machine.architecture}"
        if machine.libc != (0, 0)
        else f"musllinux_1_1_{machine.architecture}"
    )


@pytest.fixture
def index() -> Iterator[Index]:
    served = Index()
    thread = threading.Thread(target=served.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield served
    served.server.shutdown()
    thread.join()
    served.server.server_close()


def environment(index: Index | None = None, login: str = "") -> dict[str, str]:
    """A PATH with no uv on it."""
    where = {"UV_DEFAULT_INDEX": f"http://{login}{index.host}/simple"} if index else {}
    return {"PATH": "/nowhere", "NO_PROXY": "*", **where}


def never(seconds: float) -> None:
    pytest.fail(f"slept {seconds} s")


def test_a_uv_on_path_is_taken_and_nothing_is_fetched(tmp_path: Path) -> None:
    here = executable(tmp_path / "bin" / "uv", SCRIPT)
    into = tmp_path / "into"
    assert get_uv.get_uv(into, {"PATH": f"{here.parent}:/bin"}, NO_PIP, never) == here
    assert not into.exists()


def test_one_on_path_that_does_not_run_or_is_too_old_is_passed_over(tmp_path: Path) -> None:
    for number, script in enumerate(
        ["#!/bin/sh\necho 'uv: command not found' >&2; exit 127\n", "#!/bin/sh\necho uv 0.1.9\n"]
    ):
        shim = executable(tmp_path / str(number) / "uv", script)
        beside = executable(tmp_path / "python" / "uv", SCRIPT)
        environ = {"PATH": f"{shim.parent}:/bin"}
        assert get_uv.get_uv(tmp_path / "into", environ, str(beside.parent / "python"), never) == beside


def test_what_was_fetched_before_is_used_again(tmp_path: Path) -> None:
    kept = executable(tmp_path / "uv", SCRIPT)
    assert get_uv.get_uv(tmp_path, environment(), NO_PIP, never) == kept


def test_pip_fetches_the_wheel_where_there_is_pip(tmp_path: Path) -> None:
    wheel = tmp_path / WHEEL_NAME
    wheel.write_bytes(wheel_bytes())
    python = executable(
        tmp_path / "python",
        "#!/bin/sh\n"
        'test "$1 $2 $3" = "-m pip download" || exit 9\n'
        'while [ "$1" != --dest ]; do shift; done\n'
        f'test "$3" = uv=={get_uv.VERSION} && exec /bin/cp "{wheel}" "$2"\n',
    )
    found = get_uv.get_uv(tmp_path / "into with space", environment(), str(python), never)
    assert found == tmp_path / "into with space" / "uv"
    assert subprocess.run([found], capture_output=True, text=True, check=True).stdout.startswith("uv ")
    assert [path.name for path in found.parent.iterdir()] == ["uv"]


@pytest.mark.parametrize("html", [False, True], ids=["json", "html"])
def test_without_pip_it_comes_from_the_index_that_the_environment_names(
    tmp_path: Path, index: Index, html: bool
) -> None:
    index.offer(wheel_bytes(), html=html)
    found = get_uv.get_uv(tmp_path, environment(index), NO_PIP, never)
    assert found == tmp_path / "uv"
    assert found.read_text() == SCRIPT


def test_a_wheel_whose_sha256_is_another_is_refused(tmp_path: Path, index: Index) -> None:
    index.offer(wheel_bytes("#!/bin/sh\necho stolen\n"), sha256=hashlib.sha256(wheel_bytes()).hexdigest())
    with pytest.raises(UvUnavailable, match=r"sha256 of .* is not what the index says"):
        get_uv.get_uv(tmp_path, environment(index), NO_PIP, never)
    assert list(tmp_path.iterdir()) == []


def test_a_wheel_without_a_sha256_is_refused(tmp_path: Path, index: Index) -> None:
    index.offer(wheel_bytes(), sha256="")
    with pytest.raises(UvUnavailable, match="gives no sha256"):
        get_uv.get_uv(tmp_path, environment(index), NO_PIP, never)


def test_a_login_in_the_index_url_goes_to_the_index_alone_and_into_no_message(
    tmp_path: Path, index: Index
) -> None:
    index.offer(wheel_bytes())
    name = next(path for path in index.pages if path.startswith("/files/"))
    digest = hashlib.sha256(wheel_bytes()).hexdigest()
    listing = {
        "files": [
            {
                "filename": name[7:],
                "url": f"http://localhost:{index.server.server_port}{name}",
                "hashes": {"sha256": digest},
            }
        ]
    }
    index.pages["/simple/uv/"] = (get_uv.SIMPLE_JSON, json.dumps(listing).encode())
    get_uv.get_uv(tmp_path / "a", environment(index, login="me:s3cret@"), NO_PIP, never)
    expected = "Basic " + base64.b64encode(b"me:s3cret").decode()
    assert index.asked == [("/simple/uv/", expected), (name, None)]

    index.pages.clear()
    with pytest.raises(UvUnavailable) as refusal:
        get_uv.get_uv(tmp_path / "b", environment(index, login="me:s3cret@"), NO_PIP, never)
    assert "s3cret" not in str(refusal.value)


def test_a_server_that_stumbles_is_asked_again_and_one_that_refuses_is_not(
    tmp_path: Path, index: Index
) -> None:
    index.offer(wheel_bytes())
    index.failures = [503, 502]
    slept: list[float] = []
    get_uv.get_uv(tmp_path / "a", environment(index), NO_PIP, slept.append)
    assert slept == [1.0, 2.0]

    index.failures = [403]
    index.asked.clear()
    with pytest.raises(UvUnavailable, match="HTTP 403"):
        get_uv.get_uv(tmp_path / "b", environment(index), NO_PIP, never)
    assert len(index.asked) == 1


def test_the_error_names_each_way_and_what_to_do(tmp_path: Path, index: Index) -> None:
    python = executable(tmp_path / "python", "#!/bin/sh\necho No module named pip; exit 1\n")
    with pytest.raises(UvUnavailable) as refusal:
        get_uv.get_uv(tmp_path, environment(index), str(python), never)
    message = str(refusal.value)
    assert "pip: No module named pip" in message
    assert f"http://{index.host}/simple/uv/: HTTP 404" in message
    assert "UV_DEFAULT_INDEX" in message


@pytest.mark.parametrize(
    ("machine", "expected"),
    [
        (Machine("linux", "x86_64", (2, 36)), "manylinux_2_17_x86_64.manylinux2014_x86_64"),
        (Machine("linux", "aarch64", (2, 36)), "manylinux_2_28_aarch64"),
        (Machine("linux", "aarch64", (2, 17)), "manylinux_2_17_aarch64.musllinux_1_1_aarch64"),
        (Machine("linux", "aarch64", (0, 0)), "manylinux_2_17_aarch64.musllinux_1_1_aarch64"),
        (Machine("linux", "x86_64", (0, 0)), "musllinux_1_1_x86_64"),
        (Machine("linux", "x86_64", (2, 12)), None),
        (Machine("darwin", "arm64", (14, 1)), "macosx_11_0_arm64"),
        (Machine("darwin", "x86_64", (12, 0)), "macosx_10_12_x86_64"),
        (Machine("win32", "amd64", (0, 0)), "win_amd64"),
    ],
)
def test_the_wheel_fits_the_machine(machine: Machine, expected: str | None) -> None:
    tags = [
        "macosx_10_12_x86_64",
        "macosx_11_0_arm64",
        "manylinux_2_17_aarch64.musllinux_1_1_aarch64",
        "manylinux_2_17_x86_64.manylinux2014_x86_64",
        "manylinux_2_28_aarch64",
        "musllinux_1_1_x86_64",
        "win_amd64",
    ]
    others = [Wheel(f"uv-99.0.0-py3-none-{tag}.whl", "", "") for tag in tags]
    wheels = [Wheel(f"uv-{get_uv.VERSION}-py3-none-{tag}.whl", "", "") for tag in tags]
    chosen = get_uv.choose([*others, *wheels, Wheel(f"uv-{get_uv.VERSION}.tar.gz", "", "")], machine)
    assert (chosen.name if chosen else None) == (
        f"uv-{get_uv.VERSION}-py3-none-{expected}.whl" if expected else None
    )


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, get_uv.DEFAULT_INDEX),
        ({"PIP_INDEX_URL": "https://pip"}, "https://pip"),
        ({"PIP_INDEX_URL": "https://pip", "UV_INDEX_URL": "https://uv"}, "https://uv"),
        (
            {"UV_INDEX_URL": "https://uv", "UV_DEFAULT_INDEX": "mine=https://default/simple?a=b"},
            "https://default/simple?a=b",
        ),
        ({"UV_DEFAULT_INDEX": " "}, get_uv.DEFAULT_INDEX),
    ],
)
def test_the_index_is_the_one_that_uv_or_pip_would_ask(environ: dict[str, str], expected: str) -> None:
    assert get_uv.index_url(environ) == expected


def test_the_script_imports_nothing_that_is_not_in_the_standard_library() -> None:
    path = Path(get_uv.__file__)
    code = f"import runpy; runpy.run_path({str(path)!r})"
    subprocess.run([sys.executable, "-I", "-S", "-c", code], check=True)
