"""What a running job prints, records and writes reaches the bucket whole, once, and while it runs."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from requests.exceptions import ConnectionError as NoConnection

from hydra_gce.agent.courier import Courier, Lane, LogFile, PartSource, Tree
from hydra_gce.bucket import REMOVED, Bucket, SweepNames
from hydra_gce.mirror import Mirror, read_manifest
from tests.patience import wait_until

KEY = b"k" * 32
NAMES = SweepNames("calm-otter")


class FailsOnce(Bucket):
    """The first write of each object fails, as when the network is away."""

    def __init__(self, bucket: Bucket) -> None:
        super().__init__(bucket._bucket)
        self.failed: set[str] = set()

    def write(
        self,
        name: str,
        content: bytes,
        *,
        metadata: dict[str, str] | None = None,
        if_generation: int | None = None,
    ) -> int:
        if name not in self.failed:
            self.failed.add(name)
            raise NoConnection("away")
        return super().write(name, content, metadata=metadata, if_generation=if_generation)


def logged(bucket: Bucket) -> list[bytes]:
    names = sorted(entry.name for entry in bucket.list(f"{NAMES.job(0)}log/"))
    assert names == [NAMES.log(0, 1, part) for part in range(len(names))]
    return [bucket.read(name) for name in names]


def lane(bucket: Bucket, source: PartSource) -> Lane:
    return Lane(bucket, source, lambda part: NAMES.log(0, 1, part))


def test_a_growing_text_arrives_in_numbered_parts_each_once(bucket: Bucket, tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"one\n")
    brings = lane(bucket, LogFile(path))
    brings.bring()
    brings.bring()
    with path.open("ab") as file:
        file.write(b"two\nhalf a li")
    brings.bring()
    assert logged(bucket) == [b"one\n", b"two\nhalf a li"]
    assert brings.parts == 2


def test_a_long_text_arrives_in_parts_of_a_mebibyte(bucket: Bucket, tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"x" * (5 << 19))
    brings = lane(bucket, LogFile(tmp_path / "log"))
    brings.bring()
    assert [len(part) for part in logged(bucket)] == [1 << 20, 1 << 20, 1 << 19]


def test_a_part_that_did_not_get_through_is_sent_again_before_the_next(
    bucket: Bucket, tmp_path: Path
) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"one\n")
    brings = lane(FailsOnce(bucket), LogFile(path))
    with pytest.raises(NoConnection):
        brings.bring()
    with path.open("ab") as file:
        file.write(b"two\n")
    with pytest.raises(NoConnection):
        brings.bring()
    brings.bring()
    assert b"".join(logged(bucket)) == b"one\ntwo\n"


def test_the_tail_of_a_log_is_its_last_lines(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"".join(b"line %d\n" % number for number in range(20_000)) + b"\xff no newline")
    assert LogFile(path).tail(3) == ["line 19998", "line 19999", "\ufffd no newline"]


def test_files_that_are_new_or_changed_are_sent_and_no_others(bucket: Bucket, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.png").write_bytes(b"1")
    sends = Tree(bucket, NAMES.artifacts(0), tmp_path)
    sends.sync()
    before = {entry.name: entry.generation for entry in bucket.list("")}
    assert list(before) == [f"{NAMES.artifacts(0)}sub/a.png"]
    (tmp_path / "b.png").write_bytes(b"2")
    sends.sync()
    after = {entry.name: entry.generation for entry in bucket.list("")}
    assert before.items() < after.items()
    (tmp_path / "sub" / "a.png").write_bytes(b"changed")
    sends.sync()
    assert bucket.read(f"{NAMES.artifacts(0)}sub/a.png") == b"changed"


def test_a_folder_that_the_program_removes_meanwhile_holds_nothing_up_and_is_told_to_be_gone(
    bucket: Bucket, tmp_path: Path
) -> None:
    class Removes(Bucket):
        def upload(self, name: str, path: Path, metadata: dict[str, str] | None = None) -> int:
            if path.name == "b":
                shutil.rmtree(tmp_path / "models" / "1")
            return super().upload(name, path, metadata)

    for name in ("models/1/a", "models/1/b", "models/2/c"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"1")
    sends = Tree(Removes(bucket._bucket), NAMES.artifacts(0), tmp_path)
    assert sends.sync()
    there = {entry.name.removeprefix(NAMES.artifacts(0)): entry.metadata for entry in bucket.list("")}
    assert there == {"models/1/a": {REMOVED: "true"}, "models/2/c": {}}
    sends.sync()
    assert sends.syncs == 1


@pytest.fixture
def output(tmp_path: Path) -> Path:
    (tmp_path / "output").mkdir()
    (tmp_path / "log").write_bytes(b"")
    return tmp_path / "output"


@pytest.fixture
def couriers() -> Iterator[list[Courier]]:
    made: list[Courier] = []
    yield made
    for courier in made:
        courier._stop.set()
        courier._thread.join()


def courier(bucket: Bucket, output: Path, mirror_every_s: float = 0.0) -> Courier:
    mirror = Mirror(bucket, NAMES, KEY, 0, 1, output)
    return Courier(
        bucket,
        NAMES,
        0,
        1,
        output.parent / "log",
        mirror,
        None,
        None,
        pause_s=0.01,
        mirror_every_s=mirror_every_s,
    )


def mirrored(bucket: Bucket) -> list[str]:
    manifest = read_manifest(bucket, NAMES, KEY, 0, 1)
    return sorted(manifest.files) if manifest else []


def test_log_and_output_arrive_while_the_job_runs(
    bucket: Bucket, output: Path, couriers: list[Courier]
) -> None:
    carries = courier(bucket, output)
    couriers.append(carries)
    carries.start()
    (output.parent / "log").write_bytes(b"epoch 1\n")
    (output / "ckpt-1").write_bytes(b"1")
    wait_until(lambda: logged(bucket) == [b"epoch 1\n"], "the log has arrived")
    wait_until(lambda: mirrored(bucket) == ["ckpt-1"], "the checkpoint has arrived")
    (output / "ckpt-2").write_bytes(b"2")
    wait_until(lambda: mirrored(bucket) == ["ckpt-1", "ckpt-2"], "the next one has arrived")


def test_at_the_end_everything_is_there_the_output_directory_first(
    bucket: Bucket, output: Path, couriers: list[Courier]
) -> None:
    order: list[str] = []

    class Seen(Bucket):
        def write(self, name: str, content: bytes, **more: Any) -> int:
            order.append(name)
            return super().write(name, content, **more)

    carries = courier(Seen(bucket._bucket), output, mirror_every_s=1e9)
    carries._pause_s = 1e9
    carries.start()
    (output.parent / "log").write_bytes(b"the last words")
    (output / "ckpt").write_bytes(b"1")
    carries.finish()
    assert order == [NAMES.output(0, 1) + "manifest", NAMES.log(0, 1, 0)]
    assert mirrored(bucket) == ["ckpt"]
    assert logged(bucket) == [b"the last words"]
    assert (carries.log_parts, carries.journal_parts) == (1, 0)


def test_a_bucket_out_of_reach_for_a_while_loses_nothing(
    bucket: Bucket, output: Path, couriers: list[Courier]
) -> None:
    carries = courier(FailsOnce(bucket), output)
    couriers.append(carries)
    (output.parent / "log").write_bytes(b"epoch 1\n")
    (output / "ckpt").write_bytes(b"1")
    carries.start()
    wait_until(lambda: logged(bucket) == [b"epoch 1\n"], "the log has arrived after all")
    wait_until(lambda: mirrored(bucket) == ["ckpt"], "the checkpoint has arrived after all")


class Records:
    """A journal; what is written to it is handed over as one part."""

    def __init__(self) -> None:
        self.new = b""

    def new_part(self) -> bytes | None:
        part, self.new = self.new, b""
        return part or None


def test_no_checkpoint_is_there_before_what_was_recorded_until_then(
    bucket: Bucket, output: Path, tmp_path: Path, couriers: list[Courier]
) -> None:
    journal, artifacts = Records(), tmp_path / "artifacts"
    artifacts.mkdir()
    seen: list[tuple[list[str], list[str], list[str]]] = []

    class ProgramGoesOn(Bucket):
        """While the checkpoint is sent, the program records a step, and saves the next one."""

        def upload(self, name: str, path: Path, metadata: dict[str, str] | None = None) -> int:
            if path.read_bytes() == b"after step 0":
                journal.new = b"step 1"
                (artifacts / "picture.png").write_bytes(b"1")
                path.write_bytes(b"after step 1")
            return super().upload(name, path, metadata)

        def write(self, name: str, content: bytes, **how: Any) -> int:
            if name.endswith("manifest"):
                job = [entry.name for entry in bucket.list(NAMES.job(0))]
                kinds = [
                    [name for name in job if kind in name] for kind in ("/journal/", "/artifacts/", "ckpt")
                ]
                seen.append((kinds[0], kinds[1], kinds[2]))
            return super().write(name, content, **how)

    (output / "ckpt").write_bytes(b"after step 0")
    mirror = Mirror(ProgramGoesOn(bucket._bucket), NAMES, KEY, 0, 1, output)
    carries = Courier(
        bucket, NAMES, 0, 1, tmp_path / "log", mirror, journal, artifacts, pause_s=0.01, mirror_every_s=0.0
    )
    couriers.append(carries)
    carries.start()
    wait_until(lambda: bool(seen), "a manifest is written")
    journals, pictures, checkpoints = seen[0]
    assert journals == [NAMES.journal(0, 1, 0)]
    assert pictures == [f"{NAMES.artifacts(0)}picture.png"]
    assert len(checkpoints) == 1


def test_an_artifact_that_is_written_to_all_the_time_is_sent_all_the_same(
    bucket: Bucket, tmp_path: Path
) -> None:
    (tmp_path / "table.json").write_bytes(b"1")
    sends = Tree(bucket, NAMES.artifacts(0), tmp_path)
    sends.sync(settled_s=1e9)
    assert not list(bucket.list(""))
    (tmp_path / "table.json").write_bytes(b"12")
    sends.sync(settled_s=1e9)
    assert [bucket.read(entry.name) for entry in bucket.list("")] == [b"12"]
    assert sends.is_settled(1e9)
    (tmp_path / "table.json").write_bytes(b"123")
    assert not sends.is_settled(1e9)


def test_what_cannot_be_brought_at_the_end_is_an_error(bucket: Bucket, output: Path) -> None:
    carries = courier(FailsOnce(bucket), output, mirror_every_s=1e9)
    carries._pause_s = 1e9
    carries.start()
    (output / "ckpt").write_bytes(b"1")
    with pytest.raises(NoConnection):
        carries.finish()


def test_where_there_is_no_time_for_all_it_says_so(bucket: Bucket, output: Path) -> None:
    carries = courier(bucket, output, mirror_every_s=1e9)
    carries._pause_s = 1e9
    carries.start()
    (output / "ckpt").write_bytes(b"1")
    assert not carries.finish(lambda: 0.0 if not carries._thread.is_alive() else 10.0)
    assert mirrored(bucket) == []


def test_artifacts_that_there_is_no_time_for_are_said_to_be_missing(bucket: Bucket, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"1")
    sends = Tree(bucket, NAMES.artifacts(0), tmp_path)
    assert not sends.sync(lambda: 0.0)
    assert not list(bucket.list(""))
    assert sends.sync()


def test_nothing_is_written_of_a_job_that_is_anothers(bucket: Bucket, output: Path) -> None:
    carries = courier(bucket, output, mirror_every_s=1e9)
    carries._pause_s = 1e9
    carries._may_write = lambda: False
    carries.start()
    (output / "ckpt").write_bytes(b"1")
    assert not carries.finish()
    assert not list(bucket.list(""))


def test_in_a_hurry_the_directory_is_looked_at_without_a_pause(
    bucket: Bucket, output: Path, couriers: list[Courier]
) -> None:
    carries = courier(bucket, output, mirror_every_s=1e9)
    couriers.append(carries)
    carries._pause_s = 1e6
    carries.start()
    (output / "ckpt").write_bytes(b"1")
    carries.hurry()
    wait_until(lambda: mirrored(bucket) == ["ckpt"], "the checkpoint has arrived")
    carries.abandon()
