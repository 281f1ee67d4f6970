"""Where a job works: at the laptop's paths, and never over what is there already."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hydra_gce.agent.workplace import Workplace, prepare
from hydra_gce.bucket import Bucket
from hydra_gce.cargo import snapshot
from hydra_gce.jobs import JobSpec, Placement
from hydra_gce.paths import translate


class Lab:
    def __init__(self, bucket: Bucket, base: Path) -> None:
        self.bucket = bucket
        self.base = base
        self.code = base / "laptop" / "project"
        self.data = base / "laptop" / "data"
        for folder in (self.code, self.data):
            folder.mkdir(parents=True)
        (self.code / "train.py").write_text("sent")
        (self.data / "image").write_text("pixels")
        taken = snapshot.take(self.code, [], [], 10**6, base / "cache")
        code = Placement(snapshot.upload(bucket, taken), str(self.code))
        data = Placement(
            snapshot.upload(bucket, snapshot.take_data(self.data, base / "cache")), str(self.data)
        )
        self.spec = JobSpec(
            sweep="calm-otter",
            num=0,
            overrides=[],
            code=code,
            cwd=str(self.code),
            script=None,
            data=[data],
            sweep_dir=str(self.code / "multirun"),
            output_dir=str(self.code / "multirun" / "0"),
            variables={},
            preempt_grace_s=0.0,
            tracking="none",
            experiment=None,
            sys_path=[],
        )
        shutil.rmtree(base / "laptop")

    def prepare(self, spec: JobSpec | None = None) -> Workplace:
        archives = self.base / "archives"
        return prepare(
            self.bucket, spec or self.spec, archives, self.base / "elsewhere", archives / "made-here"
        )


@pytest.fixture
def lab(bucket: Bucket, tmp_path: Path) -> Lab:
    return Lab(bucket, tmp_path)


def test_code_data_and_output_lie_where_they_do_on_the_laptop(lab: Lab) -> None:
    place = lab.prepare()
    assert place.translate == []
    assert (place.code, place.cwd) == (lab.code, lab.code)
    assert (lab.code / "train.py").read_text() == "sent"
    assert (lab.data / "image").read_text() == "pixels"
    assert place.output_dir == lab.code / "multirun" / "0"
    assert place.output_dir.is_dir()
    assert place.here(str(lab.data / "image")) == str(lab.data / "image")


def test_the_next_job_of_a_vm_works_at_the_same_paths_and_fetches_nothing_again(lab: Lab) -> None:
    lab.prepare()
    (lab.code / "train.py").write_text("changed by the job before")
    (lab.code / "left").write_text("behind")
    for placement in (lab.spec.code, *lab.spec.data):
        lab.bucket.delete(placement.object)
    place = lab.prepare(replace(lab.spec, num=1, output_dir=str(lab.code / "multirun" / "1")))
    assert place.translate == []
    assert (lab.code / "train.py").read_text() == "sent"
    assert not (lab.code / "left").exists()
    assert (lab.data / "image").read_text() == "pixels"


@pytest.mark.parametrize("taken", ["code", "data", "sweep_dir"])
def test_what_lies_on_the_vm_already_is_never_written_to(lab: Lab, taken: str) -> None:
    sweep_dir = lab.base / "laptop" / "sweeps"
    spec = replace(lab.spec, sweep_dir=str(sweep_dir), output_dir=str(sweep_dir / "0"))
    path = {"code": lab.code, "data": lab.data, "sweep_dir": sweep_dir}[taken]
    path.mkdir(parents=True)
    (path / "theirs").write_text("theirs")
    for num in range(2):
        place = lab.prepare(replace(spec, num=num))
        elsewhere = str(lab.base / "elsewhere")
        assert place.translate == [(str(path), elsewhere + str(path))]
        assert [child.name for child in path.iterdir()] == ["theirs"]
        assert Path(place.here(spec.code.path), "train.py").read_text() == "sent"
        assert Path(place.here(spec.data[0].path), "image").read_text() == "pixels"
        assert place.output_dir == Path(place.here(spec.output_dir))
        assert place.output_dir.is_dir()


def test_an_archive_that_is_not_what_its_name_says_is_not_unpacked(lab: Lab) -> None:
    other = lab.bucket.read(lab.spec.data[0].object)
    lab.bucket.write(lab.spec.code.object, other)
    with pytest.raises(Exception, match=r"sha256|SHA-256|name"):
        lab.prepare()
    assert not (lab.code / "train.py").exists()


def test_what_a_program_writes_beside_its_output_is_saved_into_it(lab: Lab) -> None:
    place = lab.prepare()
    (lab.code / "new").mkdir()
    (lab.code / "new" / "notes.txt").write_text("new")
    (lab.code / "train.py").write_text("changed")
    (lab.code / "__pycache__").mkdir()
    (lab.code / "__pycache__" / "train.pyc").write_text("no")
    (place.output_dir / "model").write_text("mine anyway")
    (lab.code / "multirun" / "1").mkdir()
    (lab.code / "multirun" / "1" / "model").write_text("another job's")
    assert place.rescue() == ["new/notes.txt", "train.py"]
    saved = place.output_dir / "working_dir"
    assert (saved / "new" / "notes.txt").read_text() == "new"
    assert (saved / "train.py").read_text() == "changed"
    assert sorted(path.name for path in place.output_dir.iterdir()) == ["model", "working_dir"]


def test_an_output_directory_outside_the_sweeps_is_not_saved_into_itself(lab: Lab) -> None:
    place = lab.prepare(replace(lab.spec, output_dir=str(lab.code / "elsewhere" / "0")))
    (place.output_dir / "model").write_text("mine anyway")
    assert place.rescue() == []


@given(st.lists(st.text("abc", min_size=1, max_size=3), min_size=1, max_size=4))
def test_a_translated_path_keeps_what_follows_the_prefix(parts: list[str]) -> None:
    pairs = [("/home/me/project", "/x/home/me/project"), ("/home/me", "/y")]
    rest = "/".join(parts)
    assert translate(f"/home/me/project/{rest}", pairs) == f"/x/home/me/project/{rest}"
    assert translate("/home/me/project", pairs) == "/x/home/me/project"
    assert translate(f"/home/me/projects{rest}", pairs) == f"/y/projects{rest}"
    assert translate(f"/else/{rest}", pairs) == f"/else/{rest}"
