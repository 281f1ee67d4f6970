"""Setup makes what is missing, once; and takes away what it has made, and nothing else."""

from __future__ import annotations

import sys
from typing import Any

import pexpect
import pytest

from hydra_gce.local.services.call import ADMIN
from tests.doctor.clinic import POLICY, Clinic
from tests.local.embedded import PROJECT

VM = f"hydra-gce-vm@{PROJECT}.iam.gserviceaccount.com"
BUCKET = f"hydra-gce-{PROJECT}"
NAT = ("--nat", "us-central1", "europe-west4")


def inventory(clinic: Clinic) -> dict[str, Any]:
    """All that a setup could have changed."""
    services = clinic.rest("GET", f"serviceusage/v1/projects/{PROJECT}/services?filter=state:ENABLED")
    policy = clinic.rest("POST", f"{POLICY}:getIamPolicy", {"options": {"requestedPolicyVersion": 3}})
    compute = f"compute/v1/projects/{PROJECT}"
    routers = clinic.rest("GET", f"{compute}/aggregated/routers")["items"].values()
    buckets = clinic.rest("GET", f"storage/v1/b?project={PROJECT}").get("items", [])
    return {
        "services": sorted(one["name"] for one in services["services"]),
        "policy": sorted(
            (one["role"], sorted(one["members"]), str(one.get("condition"))) for one in policy["bindings"]
        ),
        "accounts": clinic.rest("GET", f"iam/v1/projects/{PROJECT}/serviceAccounts")["accounts"],
        "roles": clinic.rest("GET", f"iam/v1/projects/{PROJECT}/roles").get("roles", []),
        "firewalls": clinic.rest("GET", f"{compute}/global/firewalls")["items"],
        "routers": [one for scope in routers for one in scope.get("routers", [])],
        "buckets": [{**one, "updated": None, "timeCreated": None} for one in buckets],
        "bucket policies": [clinic.rest("GET", f"storage/v1/b/{one['name']}/iam") for one in buckets],
    }


def setup(clinic: Clinic, *words: str) -> tuple[int, str, str]:
    return clinic.hydra_gce("setup", "--backend", "local", *words)


def test_the_second_setup_changes_nothing_and_undo_leaves_nothing(bare: Clinic) -> None:
    before = inventory(bare)

    code, out, err = setup(bare, "--yes", *NAT)
    assert code == 0, out + err
    first = inventory(bare)
    assert first != before
    assert {one["email"] for one in first["accounts"]} > {VM}
    assert len(first["routers"]) == 2
    assert "iap.googleapis.com" in str(first["services"])

    code, out, err = setup(bare, "--yes", *NAT)
    assert code == 0, out + err
    assert "nothing to do: all is there" in out
    assert inventory(bare) == first

    code, out, err = setup(bare, "--undo", "--yes")
    assert code == 0, out + err
    assert "nothing of it is left" in out
    assert inventory(bare) == before

    code, out, _ = setup(bare, "--undo", "--yes")
    assert (code, out) == (0, f"nothing in project {PROJECT} was made by hydra-gce setup\n")


def test_after_an_undo_it_can_be_made_again(bare: Clinic) -> None:
    """The role's name is taken for a week after its deletion; it is brought back."""
    before = inventory(bare)
    for _ in range(2):
        assert setup(bare, "--yes")[0] == 0
        assert setup(bare, "--undo", "--yes")[0] == 0
    assert inventory(bare) == before


def test_a_dry_run_shows_each_step_and_does_nothing(bare: Clinic) -> None:
    before = inventory(bare)
    code, out, _ = setup(bare, "--dry-run", *NAT)
    assert code == 0
    for said in (VM, BUCKET, "hydraGceVm", "hydra-gce-iap-ssh", "iap.googleapis.com", "us-central1"):
        assert said in out
    assert inventory(bare) == before


def test_without_anybody_to_ask_it_does_nothing(bare: Clinic) -> None:
    before = inventory(bare)
    code, _, err = setup(bare)
    assert code == 1
    assert "--yes" in err
    assert inventory(bare) == before


def test_what_is_declined_is_left_out(bare: Clinic, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hydra_gce.cli.setup._agreed", lambda yes, question: False)
    before = inventory(bare)
    code, out, _ = setup(bare)
    assert code == 0
    assert "left out" in out
    assert inventory(bare) == before


def test_each_step_is_asked_for_at_a_terminal(bare: Clinic) -> None:
    """No to the firewall rule, yes to all else; the next run offers it again."""
    command = [sys.executable, "-m", "hydra_gce.cli", "setup", "--backend", "local"]
    terminal = pexpect.spawn(
        command[0], command[1:], encoding="utf-8", use_poll=True, timeout=100, dimensions=(40, 200)
    )
    asked = []
    while terminal.expect([r"next  ([^:]+):", pexpect.EOF]) == 0:
        asked.append(terminal.match[1])
        terminal.expect(r"do it\? \[Y/n\] ")
        terminal.sendline("n" if "firewall" in asked[-1] else "")
    terminal.close()
    assert terminal.exitstatus == 0
    assert "offered again" in terminal.before
    assert [one for one in asked if "firewall" in one] == ["firewall rule for ssh"]
    names = [one["name"] for one in inventory(bare)["firewalls"]]
    assert "hydra-gce-iap-ssh" not in names
    assert [one["email"] for one in inventory(bare)["accounts"]][1:] == [VM]

    code, out, _ = setup(bare, "--dry-run")
    assert (code, "1 step would be done" in out) == (0, True)


def test_the_vms_account_can_do_no_more_than_it_must(bare: Clinic) -> None:
    assert setup(bare, "--yes")[0] == 0
    found = inventory(bare)
    member = f"serviceAccount:{VM}"
    ((role, members, condition),) = [one for one in found["policy"] if member in one[1]]
    assert (role, members) == (f"projects/{PROJECT}/roles/hydraGceVm", [member])
    assert 'startsWith("hg-")' in condition
    (policy,) = found["bucket policies"]
    assert [one["role"] for one in policy["bindings"] if member in one["members"]] == [
        "roles/storage.objectUser"
    ]


def test_the_bucket_is_closed_to_the_public_and_forgets(bare: Clinic) -> None:
    assert setup(bare, "--yes", "--keep-days", "30", "--bucket-location", "europe-west4")[0] == 0
    bucket = bare.rest("GET", f"storage/v1/b/{BUCKET}", member="user:you@example.com")
    assert bucket["iamConfiguration"]["publicAccessPrevention"] == "enforced"
    assert bucket["iamConfiguration"]["uniformBucketLevelAccess"]["enabled"] is True
    assert bucket["location"] == "EUROPE-WEST4"
    delete, abort = bucket["lifecycle"]["rule"]
    assert (delete["action"]["type"], delete["condition"]["age"]) == ("Delete", 30)
    assert "hydra-gce/sweeps/" in delete["condition"]["matchesPrefix"]
    assert abort["action"]["type"] == "AbortIncompleteMultipartUpload"


def test_other_days_change_the_rule_and_no_other(bare: Clinic) -> None:
    assert setup(bare, "--yes")[0] == 0
    assert setup(bare, "--yes", "--keep-days", "7")[0] == 0
    bucket = bare.rest("GET", f"storage/v1/b/{BUCKET}")
    assert [one["condition"]["age"] for one in bucket["lifecycle"]["rule"]] == [7, 7]

    code, out, _ = setup(bare, "--yes")
    assert (code, "nothing to do" in out) == (0, True)  # days that were chosen stay

    assert setup(bare, "--yes", "--keep-days", "0")[0] == 0
    assert not bare.rest("GET", f"storage/v1/b/{BUCKET}").get("lifecycle", {}).get("rule")
    assert "nothing to do" in setup(bare, "--yes", "--keep-days", "0")[1]


def test_a_bucket_with_content_stays_unless_said_so(bare: Clinic) -> None:
    before = inventory(bare)
    assert setup(bare, "--yes")[0] == 0
    bare.backend.bucket(None).write("sweeps/calm-otter/sweep.json", b"{}")

    code, out, _ = setup(bare, "--undo", "--yes")
    assert code == 1
    assert f"gs://{BUCKET} (kept: sweeps lie in it; --with-content deletes them, too)" in out
    assert [one["name"] for one in inventory(bare)["buckets"]] == [BUCKET]

    code, out, err = setup(bare, "--undo", "--yes", "--with-content")
    assert code == 0, out + err
    assert inventory(bare) == before


def test_a_bucket_that_was_there_is_put_right_and_back(bare: Clinic) -> None:
    own_rule = {"action": {"type": "Delete"}, "condition": {"age": 365, "matchesPrefix": ["mine/"]}}
    body = {"name": BUCKET, "labels": {"team": "vision"}, "lifecycle": {"rule": [own_rule]}}
    bare.rest("POST", f"storage/v1/b?project={PROJECT}", body)
    before = inventory(bare)

    assert setup(bare, "--yes")[0] == 0
    changed = bare.rest("GET", f"storage/v1/b/{BUCKET}")
    assert own_rule in changed["lifecycle"]["rule"]
    assert len(changed["lifecycle"]["rule"]) == 3
    assert changed["labels"]["team"] == "vision"

    assert setup(bare, "--undo", "--yes")[0] == 0
    after = inventory(bare)
    for one in (*before["buckets"], *after["buckets"]):
        for volatile in ("etag", "metageneration"):
            one.pop(volatile)
    assert after["buckets"] == before["buckets"]
    assert {key: after[key] for key in after if key != "buckets"} == {
        key: before[key] for key in before if key != "buckets"
    }


def test_a_bucket_that_needs_nothing_but_a_role_is_remembered(bare: Clinic) -> None:
    """It is not the default one, and undo is not told its name."""
    body = {
        "name": "mine",
        "lifecycle": {"rule": [{"action": {"type": "Delete"}, "condition": {"age": 90}}]},
        "iamConfiguration": {
            "publicAccessPrevention": "enforced",
            "uniformBucketLevelAccess": {"enabled": True},
        },
    }
    bare.rest("POST", f"storage/v1/b?project={PROJECT}", body)
    before = inventory(bare)

    assert setup(bare, "--yes", "--bucket", "mine")[0] == 0
    assert inventory(bare)["buckets"][0]["labels"] == {"hydra-gce-setup": "role"}
    assert setup(bare, "--undo", "--yes")[0] == 0
    after = inventory(bare)
    assert after["bucket policies"] == before["bucket policies"]
    assert "labels" not in after["buckets"][0] or after["buckets"][0]["labels"] == {}


def test_a_bucket_cannot_be_moved(bare: Clinic) -> None:
    assert setup(bare, "--yes")[0] == 0
    code, _, err = setup(bare, "--yes", "--bucket-location", "europe-west4")
    assert code == 1
    assert f"--bucket {BUCKET}-europe-west4" in err


def test_a_rule_that_somebody_has_changed_is_put_right(bare: Clinic) -> None:
    assert setup(bare, "--yes")[0] == 0
    path = f"compute/v1/projects/{PROJECT}/global/firewalls/hydra-gce-iap-ssh"
    bare.rest("PATCH", path, {"sourceRanges": ["0.0.0.0/0"]})
    code, out, _ = setup(bare, "--yes")
    assert code == 0
    assert "put hydra-gce-iap-ssh right" in out
    assert bare.rest("GET", path)["sourceRanges"] == ["35.235.240.0/20"]


def test_only_apis_that_setup_enabled_are_disabled(bare: Clinic) -> None:
    path = f"serviceusage/v1/projects/{PROJECT}/services/iap.googleapis.com"
    bare.rest("POST", f"{path}:enable")
    assert setup(bare, "--yes")[0] == 0
    assert setup(bare, "--undo", "--yes")[0] == 0
    assert bare.rest("GET", path)["state"] == "ENABLED"


def test_a_setup_that_may_not_says_who_can(bare: Clinic) -> None:
    bare.give("roles/viewer")
    code, _, err = setup(bare, "--yes")
    assert code == 6  # credentials: see docs/commands.md
    assert "An owner of the project can do it" in err
    assert err.count("\n") == 1


def test_a_policy_that_changes_meanwhile_is_read_anew(bare: Clinic) -> None:
    """Somebody else's binding, written between our reading and our writing, is not lost."""
    from hydra_gce.setup import policy

    real = policy.project_policy
    reads = []

    def read(backend: Any) -> dict[str, Any]:
        found = real(backend)
        reads.append(found)
        if len(reads) == 1:
            theirs = bare.rest("POST", f"{POLICY}:getIamPolicy")
            theirs["bindings"].append({"role": "roles/compute.viewer", "members": ["user:eve@example.com"]})
            bare.rest("POST", f"{POLICY}:setIamPolicy", {"policy": theirs})
        return found

    bare.monkeypatch.setattr(policy, "project_policy", read)
    bare.monkeypatch.setattr("hydra_gce.setup.step._PAUSE_S", 0.0)
    policy.grant(bare.backend, "roles/browser", ADMIN)
    assert len(reads) == 2
    roles = {one["role"] for one in bare.rest("POST", f"{POLICY}:getIamPolicy")["bindings"]}
    assert {"roles/browser", "roles/compute.viewer"} <= roles
