"""Stands in for ``docker``: writes down how it was called, and runs a container's command on this machine.

``DOCKER_CALLS`` names the file for the calls, one JSON list a line; ``DOCKER_FAILS`` the verbs that fail, separated by
blanks; ``DOCKER_PATH`` the PATH inside.
"""

from __future__ import annotations

import json
import os
import sys

WITHOUT_VALUE = {"--rm", "--init"}


def main(arguments: list[str]) -> int:
    verb, *rest = arguments
    call = {"arguments": arguments, "stdin": sys.stdin.read() if verb == "login" else ""}
    with open(os.environ["DOCKER_CALLS"], "a", encoding="utf-8") as calls:
        calls.write(json.dumps(call) + "\n")
    if verb in os.environ.get("DOCKER_FAILS", "").split():
        print(f"docker: {verb} failed", file=sys.stderr)
        return 1
    if verb != "run":
        return 0
    options: dict[str, list[str]] = {}
    while rest[0].startswith("--"):
        name = rest.pop(0)
        options.setdefault(name, []).append("" if name in WITHOUT_VALUE else rest.pop(0))
    inside = {"PATH": os.environ.get("DOCKER_PATH", os.environ["PATH"]), "HOME": "/"}
    for setting in options.get("--env", []):
        name, given, value = setting.partition("=")
        inside[name] = value if given else os.environ[name]
    # What only the tests' own agent looks at.
    inside.update({name: value for name, value in os.environ.items() if name.startswith(("AGENT_", "UV_"))})
    (shell,) = options["--entrypoint"]
    os.execve(shell, [shell, *rest[1:]], inside)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
