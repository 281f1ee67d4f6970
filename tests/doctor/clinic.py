"""A project on an embedded Compute Engine of the test's own, with hands to plant faults and to carry remedies out."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests

from hydra_gce.cli import main
from hydra_gce.cloud.backend import Backend, connect
from hydra_gce.local.launch import call
from hydra_gce.local.services.call import ADMIN, PERSON
from tests.local.embedded import PROJECT, Embedded

POLICY = f"cloudresourcemanager/v3/projects/{PROJECT}"


@dataclass
class Clinic:
    cloud: Embedded
    home: Path
    capsys: pytest.CaptureFixture[str]
    monkeypatch: pytest.MonkeyPatch
    by_hand: list[str] = field(default_factory=list)

    @property
    def backend(self) -> Backend:
        return connect("local", None)

    def rest(self, verb: str, path: str, body: Any = None, member: str = ADMIN, ok: bool = True) -> Any:
        """One request to any of the services, as a member of IAM's."""
        answer = requests.request(
            verb,
            f"{self.cloud.url}/{path}",
            json=body,
            headers={"Authorization": f"Bearer {member}"},
            timeout=30,
        )
        assert answer.ok or not ok, answer.text
        return answer.json() if answer.content else {}

    def hydra_gce(self, *words: str) -> tuple[int, str, str]:
        self.capsys.readouterr()
        code = main(list(words))
        said = self.capsys.readouterr()
        return code, said.out, said.err

    def doctor(self, *words: str) -> dict[str, list[dict[str, Any]]]:
        """The findings by check; the exit code is held against them."""
        code, out, err = self.hydra_gce("doctor", "--backend", "local", "--json", *words)
        assert out, err
        report = json.loads(out)
        states = [one["state"] for one in report["findings"]]
        assert code == (1 if "error" in states else 0)
        assert report["ok"] is (code == 0)
        found: dict[str, list[dict[str, Any]]] = {}
        for one in report["findings"]:
            found.setdefault(one["check"], []).append(one)
        return found

    def chaos(self, scenario: dict[str, Any] | None) -> None:
        code, answer = call(
            self.cloud.server.running, "DELETE" if scenario is None else "POST", "chaos", scenario
        )
        assert code == 200, answer

    def give(self, *roles: str) -> None:
        """The person has just these roles from now on."""
        policy = self.rest("POST", f"{POLICY}:getIamPolicy")
        for one in policy["bindings"]:
            one["members"] = [each for each in one["members"] if each != PERSON]
        policy["bindings"] += [{"role": role, "members": [PERSON]} for role in roles]
        self.rest("POST", f"{POLICY}:setIamPolicy", {"policy": policy})

    def carry_out(self, steps: list[str]) -> list[str]:
        """Does what a remedy says; the settings among it are returned, for the next sweep."""
        settings = []
        for step in steps:
            if step.startswith("hydra.launcher."):
                settings.append(step)
            elif step.startswith("hydra-gce "):
                words = shlex.split(step)[1:]
                code, out, err = self.hydra_gce(*words, *(["--yes"] if words[0] == "setup" else []))
                assert code == 0, out + err
            elif step.startswith("gcloud ") and not step.startswith("gcloud auth "):
                self._gcloud(shlex.split(step)[1:])
            elif step.startswith("unset "):
                self.monkeypatch.delenv(step.split()[1])
            else:
                self.by_hand.append(step)
        return settings

    def _gcloud(self, words: list[str]) -> None:
        """As the project's other owner: the person may not be able to."""
        if shutil.which("gcloud") is None:
            pytest.skip("gcloud is not installed")
        token = self.home / "token"
        token.write_text(ADMIN)
        services = ("cloudbilling", "cloudresourcemanager", "iam", "serviceusage", "storage")
        ends = {"storage": "storage/v1"}
        environ = {
            **os.environ,
            **{
                f"CLOUDSDK_API_ENDPOINT_OVERRIDES_{one.upper()}": f"{self.cloud.url}/{ends.get(one, one)}/"
                for one in services
            },
            "CLOUDSDK_AUTH_ACCESS_TOKEN_FILE": str(token),
            "CLOUDSDK_CONFIG": str(self.home / "gcloud"),
            "CLOUDSDK_CORE_PROJECT": PROJECT,
        }
        done = subprocess.run(
            ["gcloud", *words, "--quiet"],
            env=environ,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr


Plant = Callable[[Clinic], None]
