"""What is in a project, by plain requests: for commands that should be there at once.

Importing ``google.cloud.compute_v1`` takes longer than ``hydra-gce ls`` may. Reading alone is done here, at the same
endpoint, with the same credentials, filters, repetitions and errors as through Google's client.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from hydra_gce.compute.asking import asking, patiently

if TYPE_CHECKING:
    from hydra_gce.cloud.backend import Backend

Json = dict[str, Any]

_PAGE = 500  # the most that Compute Engine gives


def aggregated(
    backend: Backend, collection: str, wanted: str, fields: str, silent: list[str]
) -> Iterator[Json]:
    """Everything of a collection in all zones and regions that the filter lets through.

    :param fields: those of each that are needed: ``name,zone``.
    :param silent: the zones and regions that did not answer are added to it.
    :raises Unreachable: Compute Engine does not answer.
    :raises CredentialsError: it may not be asked.
    """
    path = f"projects/{backend.project}/aggregated/{collection}"
    asked = {
        "filter": wanted,
        "maxResults": str(_PAGE),
        "fields": f"items/*/{collection}({fields}),nextPageToken,unreachables",
    }
    with _Session(backend) as session:
        while True:
            page = session.get(path, asked)
            silent += [place.rpartition("/")[2] for place in page.get("unreachables", [])]
            for scope in page.get("items", {}).values():
                yield from scope.get(collection, [])
            if not page.get("nextPageToken"):
                return
            asked["pageToken"] = page["nextPageToken"]


def instance(backend: Backend, zone: str, name: str) -> Json | None:
    """A VM as Compute Engine has it; None where it has none of that name."""
    from google.api_core.exceptions import NotFound

    with _Session(backend) as session:
        try:
            return session.get(f"projects/{backend.project}/zones/{zone}/instances/{name}", {})
        except NotFound:
            return None


class _Session:
    def __init__(self, backend: Backend) -> None:
        from google.auth.transport.requests import AuthorizedSession

        self._root = f"{backend.compute_endpoint}/compute/v1/"
        self._session = AuthorizedSession(backend.credentials)

    def __enter__(self) -> _Session:
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()

    def get(self, path: str, parameters: dict[str, str]) -> Json:
        how = patiently()

        def ask() -> Json:
            from google.api_core.exceptions import from_http_response

            answer = self._session.get(self._root + path, params=parameters, timeout=how["timeout"])
            if answer.status_code >= 400:
                raise from_http_response(answer)
            content: Json = answer.json()
            return content

        with asking():
            content: Json = how["retry"](ask)()
        return content
