"""What a VM installs: found in the project's files, resolved by a real uv against a folder of wheels."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from uv import find_uv_bin

from hydra_gce.cargo import uv
from hydra_gce.cargo.environment import Resolution, resolve
from hydra_gce.cargo.requirements import read
from hydra_gce.errors import ConfigError, EnvironmentUnsolvable
from tests.tiny_wheels import tiny_wheel

LAPTOP = {
    "hydra-core": "1.3.8",
    "omegaconf": "2.3.1",
    "cloudpickle": "3.1.2",
    "google-cloud-storage": "3.17.1",
    "mlflow": "3.17.2",
    "kit": "1.5",
}
NEEDS = ["cloudpickle==3.1.2", "google-cloud-storage==3.17.1", "hydra-core==1.3.8", "omegaconf==2.3.1"]


@pytest.fixture(autouse=True)
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """All packages that there are; uv's own settings say so, not the project's files."""
    folder = tmp_path / "index"
    for name, version in LAPTOP.items():
        tiny_wheel(folder, name, version)
    tiny_wheel(folder, "hydra-core", "1.2.0")
    tiny_wheel(folder, "google-cloud-storage", "3.18.0")
    tiny_wheel(folder, "kit", "2.0", "part>=1")
    tiny_wheel(folder, "part", "1.1")
    settings = tmp_path / "uv.toml"
    settings.write_text(f'no-index = true\nfind-links = ["{folder}"]\n')
    monkeypatch.setenv("UV_CONFIG_FILE", str(settings))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv-cache"))
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    return folder


def resolved(
    root: Path,
    requirements: str | None = None,
    extras: Sequence[str] = (),
    tracking: bool = False,
    python: str | None = None,
) -> Resolution:
    return resolve(
        root,
        python=python,
        requirements=requirements,
        extras=extras,
        apt=["ffmpeg"],
        setup=["true"],
        tracking=tracking,
        cache_dir=root.parent / "cache",
        installed=LAPTOP,
    )


def packages(resolution: Resolution) -> list[str]:
    return resolution.environment.requirements.splitlines()


def test_without_files_the_launchers_own_needs_are_installed(root: Path) -> None:
    resolution = resolved(root)
    assert packages(resolution) == NEEDS
    assert resolution.source == "none"
    assert resolution.environment.python == "{}.{}".format(*sys.version_info)


def test_mlflow_comes_only_with_tracking(root: Path) -> None:
    assert "mlflow==3.17.2" in packages(resolved(root, tracking=True))


def test_mlflow_2_comes_with_an_sqlalchemy_that_it_imports(root: Path, index: Path) -> None:
    tiny_wheel(index, "mlflow", "2.22.5", "sqlalchemy<3,>=1.4.0")
    for version in ("2.0.58", "2.1.9"):
        tiny_wheel(index, "sqlalchemy", version)
    (root / "requirements.txt").write_text("mlflow<3\n")
    assert {"mlflow==2.22.5", "sqlalchemy==2.0.58"} < set(packages(resolved(root, tracking=True)))
    assert "sqlalchemy==2.1.9" in packages(resolved(root, tracking=False))

    (root / "requirements.txt").write_text("mlflow<3\nsqlalchemy>=2.1\n")
    with pytest.raises(EnvironmentUnsolvable, match=r"sqlalchemy<2\.1"):
        resolved(root, tracking=True)


@pytest.mark.parametrize(
    ("files", "source"),
    [
        (["requirements.txt", "pyproject.toml"], "requirements.txt"),
        (["pyproject.toml"], "pyproject.toml"),
        (["requirements.lock", "requirements.txt"], "requirements.lock"),
    ],
)
def test_the_most_exact_file_is_taken(root: Path, files: list[str], source: str) -> None:
    (root / "requirements.lock").write_text("kit==2.0\npart==1.1\n")
    (root / "requirements.txt").write_text("kit\n")
    (root / "pyproject.toml").write_text('[project]\nname = "p"\nversion = "1"\ndependencies = ["kit"]\n')
    for path in list(root.iterdir()):
        if path.name not in files:
            path.unlink()
    resolution = resolved(root)
    assert resolution.source == source
    assert [line for line in packages(resolution) if line.startswith("kit==")]


def test_a_pyproject_of_settings_alone_asks_for_nothing(root: Path) -> None:
    (root / "pyproject.toml").write_text("[tool.ruff]\nline-length = 100\n")
    assert resolved(root).source == "none"


def test_the_laptops_versions_are_kept_where_the_project_allows_it(root: Path) -> None:
    (root / "requirements.txt").write_text("kit>=1\n")
    assert "kit==1.5" in packages(resolved(root))
    (root / "requirements.txt").write_text("kit>=1.6\n")
    assert {"kit==2.0", "part==1.1"} < set(packages(resolved(root)))


def test_uv_lock_is_taken_with_its_extras(root: Path, index: Path) -> None:
    (root / "pyproject.toml").write_text(
        '[project]\nname = "p"\nversion = "1"\nrequires-python = ">=3.10"\ndependencies = []\n'
        '[project.optional-dependencies]\ntrain = ["kit>=2"]\n'
    )
    subprocess.run([find_uv_bin(), "lock", "-q"], cwd=root, check=True)
    assert packages(resolved(root)) == NEEDS
    with_extra = resolved(root, extras=["train"])
    assert with_extra.source == "uv.lock"
    assert {"kit==2.0", "part==1.1"} < set(packages(with_extra))


def test_extras_of_a_plain_list_are_refused(root: Path) -> None:
    (root / "requirements.txt").write_text("kit\n")
    with pytest.raises(ConfigError, match=r"hydra\.launcher\.env\.extras=\['train'\]"):
        resolved(root, extras=["train"])


def test_a_missing_requirements_file_names_its_field(root: Path) -> None:
    with pytest.raises(ConfigError, match=r"hydra\.launcher\.env\.requirements=gpu\.txt: there is no file"):
        resolved(root, requirements="gpu.txt")


@pytest.mark.parametrize(("written", "minor"), [("3.11", "3.11"), ("3.10.4", "3.10")])
def test_python_is_asked_for_by_its_minor_version(root: Path, written: str, minor: str) -> None:
    assert resolved(root, python=written).environment.python == minor


def test_another_python_than_the_laptops_is_noted(root: Path) -> None:
    assert not resolved(root).notes
    assert "pickled by value" in resolved(root, python="3.9").notes[0]


def test_a_python_that_is_none_is_refused(root: Path) -> None:
    with pytest.raises(ConfigError, match=r"hydra\.launcher\.env\.python=3\.x"):
        resolved(root, python="3.x")


def test_a_lock_that_contradicts_the_laptop_is_refused(root: Path) -> None:
    (root / "requirements.lock").write_text("hydra-core==1.2.0\n")
    with pytest.raises(
        EnvironmentUnsolvable, match=r"pins hydra-core==1\.2\.0, but this laptop runs.* 1\.3\.8"
    ):
        resolved(root)


def test_a_lock_may_choose_what_is_not_pickled(root: Path) -> None:
    (root / "requirements.lock").write_text("google-cloud-storage==3.18.0\n")
    assert "google-cloud-storage==3.18.0" in packages(resolved(root))


def test_an_unsolvable_set_is_explained_with_its_file(root: Path) -> None:
    (root / "requirements.txt").write_text("kit>=1\nkit>=7\n")
    with pytest.raises(EnvironmentUnsolvable, match=r"project/requirements\.txt(.|\n)*kit>=7"):
        resolved(root)


def test_a_second_launch_asks_nobody(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "requirements.txt").write_text("kit\n")
    first = resolved(root)

    def refuse(*_: object) -> str:
        raise AssertionError("uv was asked again")

    monkeypatch.setattr(uv, "_ask", refuse)
    (root / "train.py").write_text("# the program has changed, its packages have not")
    assert resolved(root) == first
    (root / "requirements.txt").write_text("kit>=1\n")
    with pytest.raises(AssertionError, match="asked again"):
        resolved(root)


def test_without_network_pins_are_taken_as_they_are(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreached(*_: object) -> str:
        raise uv.OutOfReach("error sending request")

    monkeypatch.setattr(uv, "_compile", unreached)
    (root / "requirements.txt").write_text("kit==9.9 ; sys_platform == 'linux'\n")
    assert "kit==9.9 ; sys_platform == 'linux'" in packages(resolved(root))
    (root / "requirements.txt").write_text("kit>=9\n")
    with pytest.raises(EnvironmentUnsolvable, match="cannot be reached, and not everything is pinned"):
        resolved(root)


def test_an_index_that_does_not_answer_is_told_from_an_unsolvable_set(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tmp_path / "elsewhere.toml"
    settings.write_text('index-url = "http://127.0.0.1:9/simple"\n')
    monkeypatch.setenv("UV_CONFIG_FILE", str(settings))
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    (root / "requirements.txt").write_text("kit>=1\n")
    with pytest.raises(EnvironmentUnsolvable, match="index cannot be reached"):
        resolved(root)


def test_the_shells_own_settings_do_not_reach_the_answer(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_REQUIRE_HASHES", "1")
    monkeypatch.setenv("UV_PYTHON", "2.7")
    monkeypatch.setenv("VIRTUAL_ENV", "/nowhere")
    assert packages(resolved(root)) == NEEDS


def test_the_launcher_itself_is_never_asked_of_an_index(root: Path) -> None:
    (root / "requirements.txt").write_text("hydra_gce_launcher>=9\n")
    assert packages(resolved(root)) == NEEDS
    (root / "requirements.txt").unlink()
    (root / "pyproject.toml").write_text(
        '[project]\nname = "p"\nversion = "1"\ndependencies = ["hydra-gce-launcher>=9"]\n'
    )
    assert packages(resolved(root)) == NEEDS


def test_a_local_project_is_not_installed_but_what_it_requires_is(root: Path) -> None:
    (root / "pyproject.toml").write_text('[project]\nname = "p"\nversion = "1"\ndependencies = ["kit>=2"]\n')
    (root / "src" / "p").mkdir(parents=True)
    (root / "requirements.txt").write_text("-e .\n")
    resolution = resolved(root)
    assert packages(resolution) == sorted([*NEEDS, "kit==2.0", "part==1.1"])
    assert resolution.paths == ["src", "."]
    assert "requirement '.' is a path of this machine" in resolution.notes[0]


def test_indexes_of_the_project_go_along(root: Path, index: Path) -> None:
    (root / "requirements.txt").write_text(f"--find-links {index}\nkit\n")
    (root / "pyproject.toml").write_text('[[tool.uv.index]]\nname = "cpu"\nurl = "https://example.org/cpu"\n')
    text = resolved(root).environment.requirements
    assert text.startswith(f"--find-links {index}\n--extra-index-url https://example.org/cpu\n")


def test_the_same_environment_has_the_same_name(root: Path) -> None:
    first, second = resolved(root).environment, resolved(root).environment
    assert first.object == second.object == f"environments/{first.sha256}.json"
    assert first.object != resolved(root, tracking=True).environment.object


def test_requirements_files_are_read_with_all_that_they_include(root: Path) -> None:
    (root / "sub").mkdir()
    (root / "sub" / "more.txt").write_text("-r ../requirements.txt\n-r deep.txt\nb==2 # why\n")
    (root / "sub" / "deep.txt").write_text("./local\n")
    (root / "limits.txt").write_text("c<3\n")
    (root / "requirements.txt").write_text(
        "# all of it\n-r sub/more.txt\n-c limits.txt\n--require-hashes\n--pre\n"
        "a==1 \\\n    --hash=sha256:00 \\\n    --hash=sha256:11\n"
        "-e git+https://example.org/d.git@v1#egg=d\nhttps://example.org/e.whl#sha256=00\n"
    )
    found = read(root / "requirements.txt")
    assert found.lines == [
        "b==2",
        "a==1",
        "d @ git+https://example.org/d.git@v1#egg=d",
        "https://example.org/e.whl#sha256=00",
    ]
    assert found.constraints == ["c<3"]
    assert found.local == [str(root / "sub" / "local")]
    assert ["./local" in found.notes[0], "--pre" in found.notes[1]] == [True, True]


def test_a_file_that_is_included_and_missing_is_named(root: Path) -> None:
    (root / "requirements.txt").write_text("-r gone.txt\n")
    with pytest.raises(ConfigError, match=r"gone\.txt cannot be read"):
        resolved(root)
