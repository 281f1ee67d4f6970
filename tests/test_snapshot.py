"""What is in a snapshot, under which name, and that it unpacks to the same and nowhere else."""

from __future__ import annotations

import gzip
import io
import os
import shutil
import subprocess
import tarfile
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, cast

import pytest

from hydra_gce.bucket import Bucket
from hydra_gce.cargo import archive, hashes
from hydra_gce.cargo.hashes import FileHashes
from hydra_gce.cargo.snapshot import Snapshot, extract, find_root, take, take_data, upload
from hydra_gce.cargo.worktree import uncommitted
from hydra_gce.errors import CodeTooLarge, ConfigError, SealBroken

LIMIT = 10_000_000


@dataclass
class Blob:
    """The part of ``storage.Blob`` that an upload needs."""

    bucket: StorageBucket
    name: str
    metadata: dict[str, str] | None = None
    size = 1
    generation = 1
    updated = datetime.now(timezone.utc)

    def upload_from_filename(self, path: str, content_type: str, **how: object) -> None:
        self.bucket.objects[self.name] = Path(path).read_bytes()
        self.bucket.uploads += 1


class StorageBucket:
    """The part of ``storage.Bucket`` that an upload needs."""

    name = "bucket"

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.uploads = 0

    def get_blob(self, name: str, **how: object) -> Blob | None:
        return Blob(self, name) if name in self.objects else None

    def blob(self, name: str) -> Blob:
        return Blob(self, name)

    def opened(self) -> Bucket:
        return Bucket(cast(Any, self))

    def stored(self, name: str) -> bytes:
        return self.objects[f"hydra-gce/{name}"]


def write(path: Path, content: str = "x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def git(where: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=t", "-c", "user.email=t@t", "-c", "protocol.file.allow=always"]
    subprocess.run(["git", *identity, *arguments], cwd=where, check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    write(root / "train.py", "print('hello')")
    write(root / ".gitignore", "ignored/\n*.bin\n")
    write(root / "ignored" / "large.txt")
    git(root, "init", "-q")
    git(root, "add", ".")
    git(root, "commit", "-qm", "first")
    return root


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def names(taken: Snapshot) -> list[str]:
    with tarfile.open(taken.archive) as archive:
        return archive.getnames()


def code(root: Path, cache: Path, include: tuple[str, ...] = (), exclude: tuple[str, ...] = ()) -> Snapshot:
    return take(root, include, exclude, LIMIT, cache)


def test_the_root_is_the_top_of_the_repository_or_the_directory_itself(
    repository: Path, tmp_path: Path
) -> None:
    (repository / "pkg").mkdir()
    (tmp_path / "plain").mkdir()
    assert find_root(repository / "pkg") == repository.resolve()
    assert find_root(tmp_path / "plain") == (tmp_path / "plain").resolve()


def test_tracked_and_new_files_travel_ignored_and_deleted_ones_do_not(repository: Path, cache: Path) -> None:
    git(repository, "rm", "-q", "--cached", ".gitignore")
    write(repository / "new.py")
    write(repository / "gone.py")
    git(repository, "add", "gone.py")
    (repository / "gone.py").unlink()
    assert names(code(repository, cache)) == [".gitignore", "new.py", "train.py"]


def test_include_brings_ignored_files_and_exclude_wins(repository: Path, cache: Path) -> None:
    write(repository / "weights.bin")
    write(repository / "docs" / "guide.md")
    taken = code(repository, cache, include=("*.bin", "ignored/"), exclude=("docs/", "ignored/"))
    assert names(taken) == [".gitignore", "train.py", "weights.bin"]


def test_submodules_and_nested_repositories_travel(repository: Path, tmp_path: Path, cache: Path) -> None:
    library = tmp_path / "library"
    write(library / "lib.py")
    git(library, "init", "-q")
    git(library, "add", ".")
    git(library, "commit", "-qm", "first")
    git(repository, "submodule", "add", "-q", str(library), "vendor/library")
    write(repository / "vendor" / "library" / "dirty.py")
    shutil.copytree(library, repository / "nested")
    taken = names(code(repository, cache))
    assert {"vendor/library/lib.py", "vendor/library/dirty.py", "nested/lib.py"} <= set(taken)
    assert not [name for name in taken if ".git/" in name or name.endswith("/.git")]


def test_results_of_former_sweeps_are_no_code_even_if_git_does_not_ignore_them(
    repository: Path, cache: Path
) -> None:
    before = code(repository, cache).sha256
    write(repository / "multirun" / "2026-01-01" / "0" / "train.log")
    write(repository / "outputs" / "2026-01-01" / "train.log")
    write(repository / "mlflow.db")
    assert code(repository, cache).sha256 == before


def test_git_hooks_do_not_lead_to_another_repository(
    repository: Path, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = code(repository, cache).sha256
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    assert code(repository, cache).sha256 == before


def test_without_git_caches_environments_and_outputs_stay_here(tmp_path: Path, cache: Path) -> None:
    root = tmp_path / "plain"
    for name in ("train.py", "pkg/outputs/__init__.py", "pkg/a.py", "data/x.csv"):
        write(root / name)
    for name in (
        ".git/HEAD",
        "__pycache__/a.cpython-311.pyc",
        "pkg/a.pyc",
        "env/pyvenv.cfg",
        "env/lib/site.py",
        "node_modules/m/index.js",
        ".mypy_cache/x",
        "outputs/2026/a.log",
        "multirun/a",
        "mlruns/0/meta.yaml",
        "mlflow.db",
    ):
        write(root / name)
    assert names(code(root, cache)) == ["data/x.csv", "pkg/a.py", "pkg/outputs/__init__.py", "train.py"]


def test_a_project_in_an_ignored_folder_of_a_repository_travels(repository: Path, cache: Path) -> None:
    assert names(code(repository / "ignored", cache)) == ["large.txt"]


def test_the_name_follows_from_content_alone(repository: Path, tmp_path: Path, cache: Path) -> None:
    first = code(repository, cache)
    copy = tmp_path / "elsewhere"
    shutil.copytree(repository, copy)
    os.utime(copy / "train.py", (1, 1))
    second = code(copy, tmp_path / "another-cache")
    assert first.sha256 == second.sha256
    assert first.archive.read_bytes() == second.archive.read_bytes()
    (copy / "train.py").chmod(0o755)
    assert code(copy, cache).sha256 != first.sha256
    write(repository / "train.py", "print('HELLO')")
    assert code(repository, cache).sha256 != first.sha256


def test_an_unchanged_tree_is_not_packed_again(
    repository: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = code(repository, cache)

    def refuse(*_: object, **__: object) -> str:
        raise AssertionError("packed again")

    monkeypatch.setattr(archive, "pack", refuse)
    assert code(repository, cache) == first


def test_a_snapshot_over_its_limit_names_the_largest_files_and_the_field(
    repository: Path, cache: Path
) -> None:
    write(repository / "huge.dat", "x" * 5000)
    write(repository / "small.dat", "x" * 300)
    with pytest.raises(
        CodeTooLarge, match=r"huge\.dat \(5\.0 kB\), small\.dat.*hydra\.launcher\.code\.exclude"
    ):
        take(repository, [], [], 4000, cache)


def test_a_root_that_is_no_directory_names_its_field(tmp_path: Path, cache: Path) -> None:
    with pytest.raises(ConfigError, match=r"hydra\.launcher\.code\.root: .*nowhere is no directory"):
        code(tmp_path / "nowhere", cache)


def test_a_large_snapshot_is_noted_and_goes_through(repository: Path, cache: Path) -> None:
    write(repository / "huge.dat", "x" * 5000)
    taken = take(repository, [], [], 10_000, cache, warn_bytes=4000)
    assert taken.largest[0] == ("huge.dat", 5000)
    assert taken.bytes == 5000 + len("print('hello')") + len("ignored/\n*.bin\n")
    assert "huge.dat (5.0 kB)" in taken.notes[0]


def test_links_inside_travel_and_links_that_lead_out_are_noted(
    repository: Path, tmp_path: Path, cache: Path
) -> None:
    (repository / "pkg").mkdir()
    (repository / "pkg" / "relative.py").symlink_to("../train.py")
    (repository / "pkg" / "absolute.py").symlink_to(repository / "train.py")
    (repository / "out.txt").symlink_to(write(tmp_path / "secret.txt"))
    taken = code(repository, cache)
    assert "out.txt" in taken.notes[0]
    extract(taken.archive, tmp_path / "vm", taken.sha256)
    assert os.readlink(tmp_path / "vm" / "pkg" / "absolute.py") == "../train.py"
    assert (tmp_path / "vm" / "pkg" / "relative.py").read_text() == "print('hello')"
    assert not os.path.lexists(tmp_path / "vm" / "out.txt")


def test_exec_bits_and_strange_names_survive_the_journey(
    repository: Path, tmp_path: Path, cache: Path
) -> None:
    write(repository / "run.sh").chmod(0o755)
    write(repository / "Größe\n mit Zeilenumbruch.txt", "ä")
    (repository / os.fsdecode(b"latin-\xe4.txt")).write_text("y")
    taken = code(repository, cache)
    extract(taken.archive, tmp_path / "vm", taken.sha256)
    assert os.access(tmp_path / "vm" / "run.sh", os.X_OK)
    assert not os.access(tmp_path / "vm" / "train.py", os.X_OK)
    assert (tmp_path / "vm" / "Größe\n mit Zeilenumbruch.txt").read_text() == "ä"
    assert (tmp_path / "vm" / os.fsdecode(b"latin-\xe4.txt")).exists()


def test_two_versions_of_a_file_never_share_their_time(repository: Path, tmp_path: Path, cache: Path) -> None:
    times = []
    for content in ("lr = 1", "lr = 2"):
        write(repository / "train.py", content)
        extract(code(repository, cache).archive, tmp_path / "vm")
        times.append((tmp_path / "vm" / "train.py").stat().st_mtime)
    assert times[0] != times[1], "Python would run the cached bytecode of the other version"


def test_content_that_is_not_what_the_name_says_is_refused(
    repository: Path, tmp_path: Path, cache: Path
) -> None:
    good = code(repository, cache)
    write(repository / "train.py", "import os; os.system('evil')")
    evil = code(repository, cache)
    with pytest.raises(SealBroken, match="changed in the bucket"):
        extract(evil.archive, tmp_path / "vm", good.sha256)


def tar_with(path: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for info, content in members:
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def link(name: str, target: str) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = tarfile.SYMTYPE, target
    return info, b""


@pytest.mark.parametrize("name", ["../evil.txt", "/tmp/hydra-gce-evil.txt", "a/../../evil.txt", ".."])
def test_no_path_leaves_the_target(name: str, tmp_path: Path) -> None:
    evil = tar_with(tmp_path / "a.tar.gz", (tarfile.TarInfo(name), b"evil"))
    with pytest.raises(SealBroken):
        extract(evil, tmp_path / "vm" / "here")
    assert not list(tmp_path.rglob("evil.txt"))


def test_no_file_is_written_by_way_of_a_link(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    evil = tar_with(
        tmp_path / "a.tar.gz", link("door", str(outside)), (tarfile.TarInfo("door/evil.txt"), b"evil")
    )
    with pytest.raises(SealBroken):
        extract(evil, tmp_path / "vm")
    (tmp_path / "vm" / "old").symlink_to(outside)
    evil = tar_with(tmp_path / "b.tar.gz", (tarfile.TarInfo("old/evil.txt"), b"evil"))
    with pytest.raises(SealBroken):
        extract(evil, tmp_path / "vm")
    assert not list(outside.iterdir())


def test_links_do_not_lead_out_by_way_of_each_other(tmp_path: Path) -> None:
    evil = tar_with(tmp_path / "a.tar.gz", link("a", "."), link("b", "a/../.."))
    with pytest.raises(SealBroken):
        extract(evil, tmp_path / "vm")


def test_devices_are_refused(tmp_path: Path) -> None:
    info = tarfile.TarInfo("disk")
    info.type = tarfile.CHRTYPE
    with pytest.raises(SealBroken, match="neither a file"):
        extract(tar_with(tmp_path / "a.tar.gz", (info, b"")), tmp_path / "vm")


def test_an_archive_that_was_cut_short_is_refused(repository: Path, tmp_path: Path, cache: Path) -> None:
    taken = code(repository, cache)
    cut = tmp_path / "cut.tar.gz"
    cut.write_bytes(taken.archive.read_bytes()[:-30])
    with pytest.raises(SealBroken, match="cut short"):
        extract(cut, tmp_path / "vm", taken.sha256)
    cut.write_bytes(gzip.compress(gzip.decompress(taken.archive.read_bytes())[:700]))
    with pytest.raises(SealBroken):
        extract(cut, tmp_path / "vm", taken.sha256)


def test_upload_happens_once(repository: Path, cache: Path) -> None:
    bucket = StorageBucket()
    taken = code(repository, cache)
    assert upload(bucket.opened(), taken) == upload(bucket.opened(), taken) == f"code/{taken.sha256}.tar.gz"
    assert bucket.uploads == 1


def test_a_data_folder_unpacks_beside_its_own_place(tmp_path: Path, cache: Path) -> None:
    data = tmp_path / "sets" / "membrane"
    write(data / "images" / "0.png", "zero")
    (data / "newest.png").symlink_to("images/0.png")
    (data / "shared").symlink_to(write(tmp_path / "store" / "1.png", "one").parent)
    (data / "loop").symlink_to(".")
    bucket = StorageBucket()
    taken = take_data(data, cache)
    assert upload(bucket.opened(), taken) == f"data/{taken.sha256}.tar.gz"
    assert not taken.archive.exists(), "a second copy of a data set stays on nobody's laptop"
    arrived = tmp_path / "arrived.tar.gz"
    arrived.write_bytes(bucket.stored(taken.object))
    extract(arrived, tmp_path / "vm", taken.sha256)
    assert (tmp_path / "vm" / "membrane" / "newest.png").read_text() == "zero"
    assert (tmp_path / "vm" / "membrane" / "shared" / "1.png").read_text() == "one"


def test_a_data_file_keeps_its_name(tmp_path: Path, cache: Path) -> None:
    taken = take_data(write(tmp_path / "table.csv", "1,2"), cache)
    bucket = StorageBucket()
    upload(bucket.opened(), taken)
    (tmp_path / "a.tar.gz").write_bytes(bucket.stored(taken.object))
    extract(tmp_path / "a.tar.gz", tmp_path / "vm", taken.sha256)
    assert (tmp_path / "vm" / "table.csv").read_text() == "1,2"


def test_a_missing_data_path_names_its_field(tmp_path: Path, cache: Path) -> None:
    with pytest.raises(ConfigError, match=r"hydra\.launcher\.data: .*nowhere does not exist"):
        take_data(tmp_path / "nowhere", cache)


def test_a_dangling_link_in_data_is_an_error_that_names_it(tmp_path: Path, cache: Path) -> None:
    write(tmp_path / "set" / "a")
    (tmp_path / "set" / "b").symlink_to(tmp_path / "unmounted" / "b")
    with pytest.raises(ConfigError, match=r"hydra\.launcher\.data: .*set.*b"):
        take_data(tmp_path / "set", cache)


def test_data_that_changes_while_it_is_packed_is_not_sent(tmp_path: Path, cache: Path) -> None:
    taken = take_data(write(tmp_path / "set" / "a", "before").parent, cache)
    write(tmp_path / "set" / "a", "after!")
    bucket = StorageBucket()
    with pytest.raises(ConfigError, match="changed while it was packed"):
        upload(bucket.opened(), taken)
    assert not bucket.objects


def test_files_are_hashed_once_unless_they_changed_a_moment_ago(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []
    real = hashes.file_sha256

    def counted(path: Path) -> str:
        read.append(path)
        return real(path)

    monkeypatch.setattr(hashes, "file_sha256", counted)
    file = write(tmp_path / "a", "content")
    changed = max(file.stat().st_mtime_ns, file.stat().st_ctime_ns)
    at_once = FileHashes(tmp_path / "hashes.sqlite", now_ns=lambda: changed)
    later = FileHashes(tmp_path / "hashes.sqlite", now_ns=lambda: changed + 10**10)
    assert at_once.of([file]) == at_once.of([file])
    assert len(read) == 2, "it may change again within the clock's tick: not remembered yet"
    assert later.of([file]) == later.of([file])
    assert len(read) == 3
    write(file, "CONTENT")
    assert later.of([file]) == [real(file)]


def test_what_differs_from_the_commit_can_be_applied_to_it(repository: Path, tmp_path: Path) -> None:
    assert uncommitted(repository) == ""
    write(repository / "train.py", "print('hello')\nprint('again')\n")
    write(repository / "new.py")
    text = uncommitted(repository)
    assert text.startswith("# not in git: new.py\n")
    write(tmp_path / "changes.diff", text)
    git(repository, "stash")
    git(repository, "apply", str(tmp_path / "changes.diff"))
    assert (repository / "train.py").read_text() == "print('hello')\nprint('again')\n"


def test_without_git_or_a_commit_nothing_differs(tmp_path: Path) -> None:
    write(tmp_path / "train.py")
    assert uncommitted(tmp_path) == ""
    git(tmp_path, "init", "-q")
    assert uncommitted(tmp_path) == ""


def test_a_difference_of_many_pages_is_cut(repository: Path) -> None:
    write(repository / "train.py", "x\n" * 2_000_000)
    text = uncommitted(repository)
    assert text.startswith("# cut: ") and len(text) < 1_000_100
