"""From inside a guest: its metadata server, its cloud's services, and the world through this machine."""

from __future__ import annotations

import http.client
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from hydra_gce.local.vm import Isolation, network
from hydra_gce.local.vm.proxy import Proxy

FETCH = (
    "import sys, urllib.request as u;"
    "print(u.urlopen(u.Request(sys.argv[1], headers={'Metadata-Flavor': 'Google'}), timeout=20).read().decode())"
)


class Service(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = f"{self.requestline} for {self.headers['Host']}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        return


@pytest.fixture
def service() -> Iterator[str]:
    """A service of this machine's, as the embedded Cloud Storage is one."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Service) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_the_services_of_the_cloud_answer_at_their_address(
    guests: Any, isolation: Isolation, service: str
) -> None:
    script = f'python3 -c "{FETCH}" $STORAGE_EMULATOR_HOST/b/o'
    lines = guests.output(script, services={"STORAGE_EMULATOR_HOST": service})
    assert lines == [f"GET /b/o HTTP/1.1 for {service.removeprefix('http://')}"]


@pytest.mark.usefixtures("namespaces")
@pytest.mark.parametrize("host", ["169.254.169.254", "metadata.google.internal", "metadata"])
def test_the_metadata_server_answers_at_googles_address(guests: Any, host: str) -> None:
    lines = guests.output(f'python3 -c "{FETCH}" http://{host}/computeMetadata/v1/instance/name', name="hg-1")
    assert lines == ["hg-1"]


def test_the_metadata_server_answers_where_the_environment_says(guests: Any, isolation: Isolation) -> None:
    address = "${GCE_METADATA_HOST:-metadata.google.internal}"
    lines = guests.output(
        f'python3 -c "{FETCH}" http://{address}/computeMetadata/v1/instance/name', name="hg-2"
    )
    assert lines == ["hg-2"]


WATCH = """
import os, urllib.request as u
host = os.environ.get("GCE_METADATA_HOST", "metadata.google.internal")
def ask(query):
    address = "http://" + host + "/computeMetadata/v1/instance/preempted?" + query
    return u.urlopen(u.Request(address, headers={"Metadata-Flavor": "Google"}), timeout=60)
print("now", ask("").read().decode(), flush=True)
print("then", ask("wait_for_change=true&timeout_sec=50&last_etag=" + ask("").headers["ETag"]).read().decode())
"""


def test_metadata_set_from_outside_is_seen_at_once_by_who_waits(guests: Any, isolation: Isolation) -> None:
    machine = guests.boot(f"#!/usr/bin/env python3\n{WATCH}", instance={"preempted": "FALSE"})
    guests.says(machine, "startup-script: now FALSE")
    tree = machine.spec().metadata
    tree["instance"]["preempted"] = "TRUE"
    changed = time.monotonic()
    machine.set_metadata(tree)
    guests.says(machine, "startup-script: then TRUE")
    assert time.monotonic() - changed < 100


def test_guest_attributes_come_out_of_the_guest(guests: Any, isolation: Isolation) -> None:
    address = "http://${GCE_METADATA_HOST:-metadata}/computeMetadata/v1/instance/guest-attributes/job/state"
    put = FETCH.replace("u.Request(sys.argv[1]", "u.Request(sys.argv[1], b'done', method='PUT'")
    script = f'python3 -c "{put}" {address}'
    machine = guests.boot(script, attributes={"enable-guest-attributes": "TRUE"})
    guests.says(machine, "startup-script exit status 0")
    assert machine.guest_attributes() == {"job": {"state": "done"}}


@pytest.mark.usefixtures("namespaces")
def test_other_services_of_this_machine_are_out_of_reach(guests: Any, service: str) -> None:
    ask_for_it = f'python3 -c "{FETCH}" {service} 2>&1 | tail -1'
    lines = guests.output(f"{ask_for_it}; no_proxy= NO_PROXY= {ask_for_it}")
    assert "refused" in lines[0]
    assert "502" in lines[1]


@pytest.fixture
def proxied() -> Iterator[tuple[str, int]]:
    """A proxy whose own way out is another proxy: the service above, which answers anything."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Service) as upstream:
        threading.Thread(target=upstream.serve_forever, daemon=True).start()
        listener = network.listen("127.0.0.1", 0)
        settings = {
            "HTTP_PROXY": f"http://me:pass@127.0.0.1:{upstream.server_address[1]}",
            "NO_PROXY": ".internal",
        }
        network.serve(listener, Proxy(settings).answer, "proxy")
        yield listener.getsockname()
        upstream.shutdown()


def ask(address: tuple[str, int], target: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection(*address, timeout=30)
    connection.request("GET", target)
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def test_this_machines_own_proxy_is_used(proxied: tuple[str, int]) -> None:
    status, words = ask(proxied, "http://example.test/x")
    assert (status, words) == (200, "GET http://example.test/x HTTP/1.1 for example.test")


def test_this_machines_exceptions_from_its_proxy_hold(proxied: tuple[str, int]) -> None:
    status, words = ask(proxied, "http://nowhere.internal/x")
    assert status == 502
    assert "nowhere.internal cannot be reached from this machine" in words


def test_the_proxy_says_what_it_cannot_do(proxied: tuple[str, int]) -> None:
    assert ask(proxied, "/x")[0] == 400


@pytest.mark.slow
def test_packages_are_installed_from_the_world(guests: Any, isolation: Isolation, python: str) -> None:
    try:
        urllib.request.urlopen("https://pypi.org/simple/six/", timeout=10).close()
    except (urllib.error.URLError, TimeoutError) as error:
        pytest.skip(f"this machine does not reach PyPI itself: {error}")
    machine = guests.boot(
        f"cd; {python} -m venv env && env/bin/pip install six && env/bin/python -c 'import six; print(six)'",
        python=python,
    )
    guests.says(machine, "<module 'six'")
