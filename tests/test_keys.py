"""A sweep's key, from wherever one looks at it: this laptop's record, one of its VMs, the project's own key."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from google.cloud import compute_v1

from hydra_gce.compute.project_key import TEMPLATE, project_key
from hydra_gce.errors import ConfigError
from hydra_gce.home import SweepRecord
from hydra_gce.keys import derived, sweep_key
from tests.patience import wait_until
from tests.quick_cloud import QuickCloud, quick_cloud

SWEEP = "calm-otter"
KEY = b"v" * 32


@pytest.fixture
def cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[QuickCloud]:
    """As seen from a laptop that knows nothing."""
    monkeypatch.setenv("HYDRA_GCE_HOME", str(tmp_path / "home"))
    with quick_cloud(tmp_path) as cloud:
        yield cloud


def with_key(cloud: QuickCloud, sweep: str) -> str:
    """A VM of the sweep, with its key."""
    item = compute_v1.Items(key="hydra-gce-key", value=KEY.hex())
    return cloud.make(sweep, metadata=compute_v1.Metadata(items=[item]))


def test_the_project_has_one_key_whoever_makes_it(cloud: QuickCloud) -> None:
    assert project_key(cloud.backend, make=False) is None
    key = project_key(cloud.backend)
    assert key is not None and len(key) == 32
    assert project_key(cloud.backend) == key == project_key(cloud.backend, make=False)
    assert sweep_key(cloud.backend, SWEEP) == derived(key, SWEEP) != derived(key, "brave-fox")


def test_the_record_of_this_laptop_comes_first(cloud: QuickCloud) -> None:
    with_key(cloud, SWEEP)
    project_key(cloud.backend)
    record = SweepRecord(SWEEP, (b"r" * 32).hex(), "local", cloud.backend.project, "b", "/sweep", 1.0, 1)
    record.save()
    assert sweep_key(cloud.backend, SWEEP) == b"r" * 32


def test_a_sweep_with_a_key_of_its_own_is_opened_while_a_vm_lives(cloud: QuickCloud) -> None:
    name = with_key(cloud, SWEEP)
    project_key(cloud.backend)  # of later sweeps: not this one's
    assert sweep_key(cloud.backend, SWEEP, of_project=False) == KEY
    cloud.embedded.call("delete", name)
    with pytest.raises(ConfigError) as refused:
        sweep_key(cloud.backend, SWEEP, of_project=False)
    assert "its key is on the machine that launched it" in str(refused.value)
    assert f"hydra-gce attach {SWEEP}" in str(refused.value)
    assert "compute.instanceTemplates.create" in str(refused.value)


def test_without_any_key_it_is_said_what_is_missing(cloud: QuickCloud) -> None:
    with pytest.raises(ConfigError, match=rf"has none \(an instance template named {TEMPLATE}\)"):
        sweep_key(cloud.backend, SWEEP)


def test_somebody_elses_template_of_that_name_is_no_key(cloud: QuickCloud) -> None:
    properties = compute_v1.InstanceProperties(
        machine_type="e2-micro",
        disks=[
            compute_v1.AttachedDisk(
                boot=True,
                initialize_params=compute_v1.AttachedDiskInitializeParams(
                    source_image="projects/debian-cloud/global/images/family/debian-12"
                ),
            )
        ],
        network_interfaces=[compute_v1.NetworkInterface(network="global/networks/default")],
    )
    template = compute_v1.InstanceTemplate(name=TEMPLATE, properties=properties)
    client, project = cloud.backend.instance_templates, cloud.backend.project
    client.insert_unary(project=project, instance_template_resource=template)
    wait_until(lambda: any(one.name == TEMPLATE for one in client.list(project=project)), "it is made")
    assert project_key(cloud.backend) is None
