"""The VM as its metadata server describes it, and its own end."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from hydra_gce.agent.instance import CannotDelete, Instance
from tests.agent.google import TREE, Google, google_at_hand

PATH = "/compute/v1/projects/my-project/zones/us-central1-a/instances/hg-calm-otter-0"
VM = Instance("hg-calm-otter-0", "us-central1-a", "my-project", "e2-micro", {"hydra-gce-sweep": "calm-otter"})


@pytest.fixture
def google(monkeypatch: pytest.MonkeyPatch) -> Iterator[Google]:
    with google_at_hand(monkeypatch) as made:
        yield made


class Pauses(list[float]):
    """A clock that only writes down how long it was asked to wait."""

    def __call__(self, seconds: float) -> None:
        self.append(seconds)


def test_a_vm_learns_from_its_metadata_who_it_is(google: Google) -> None:
    assert Instance.here() == VM
    assert len(google.asked) == 1


def test_a_vm_knows_whether_it_is_a_spot_vm(google: Google) -> None:
    instance = {**TREE["instance"], "scheduling": {"preemptible": "TRUE"}}
    google.answers["?recursive=true&alt=json"] = json.dumps({**TREE, "instance": instance})
    assert Instance.here().spot


def test_a_metadata_server_that_is_not_ready_is_asked_again(google: Google) -> None:
    google.refusals = [503, 500, 429]
    pauses = Pauses()
    assert Instance.here(pauses) == VM
    assert len(pauses) == 3


def test_a_vm_deletes_itself_as_its_own_service_account(google: Google) -> None:
    VM.delete()
    assert google.deleted == [(PATH, "Bearer ya29.x")]


def test_a_deletion_that_fails_for_a_moment_is_asked_for_again(google: Google) -> None:
    limited = json.dumps({"error": {"code": 403, "errors": [{"reason": "rateLimitExceeded"}]}})
    google.deletions = [(503, ""), (429, ""), (401, ""), (403, limited)]
    google.refusals = [503]  # the token, too
    pauses = Pauses()
    VM.delete(pauses)
    assert len(google.deleted) == 5
    assert len(pauses) == 5
    assert max(pauses) <= 16


@pytest.mark.parametrize("status", [404, 409])
def test_a_vm_that_is_being_deleted_already_is_content(google: Google, status: int) -> None:
    google.deletions = [(status, "")]
    VM.delete()
    assert len(google.deleted) == 1


def test_a_vm_that_may_not_delete_itself_says_why(google: Google) -> None:
    said = "Required 'compute.instances.delete' permission for 'projects/my-project/zones/z/instances/i'"
    google.deletions = [(403, json.dumps({"error": {"code": 403, "message": said}}))]
    with pytest.raises(CannotDelete, match=r"HTTP 403 .*compute\.instances\.delete"):
        VM.delete()
    assert len(google.deleted) == 1
