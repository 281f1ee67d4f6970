"""train.py as people start it: its settings, its mistakes, its end, alone and in a sweep."""

from __future__ import annotations

import os
import pickle
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

import train
from unet.errors import Preempted, SettingsError
from unet.settings import Settings

ROOT = Path(train.__file__).parent

# unet_paper wants larger crops; optuna is a package of its own.
NOT_ALONE = {"unet_paper", "optuna"}


def settings_of(*overrides: str) -> Settings:
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        settings = OmegaConf.to_object(compose("config", list(overrides)))
    assert isinstance(settings, Settings)
    return settings


def start(arguments: list[str], work: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{work / 'mlflow.db'}"}
    return subprocess.Popen(
        [sys.executable, str(ROOT / "train.py"), *arguments],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_the_default_is_a_short_training_that_is_validated_on_the_held_out_slices() -> None:
    settings = settings_of()
    assert (settings.data.train, settings.data.validation, settings.data.test) == ("0-23", "24-29", "")
    assert (settings.trainer.steps, settings.data.batch, settings.data.crop) == (240, 8, 128)


def test_the_membrane_experiment_does_not_choose_by_the_held_out_slices() -> None:
    data = settings_of("experiment=membrane").data
    assert (data.train, data.validation, data.test) == ("0-23", "", "24-29")


@pytest.mark.parametrize(
    "override",
    [
        f"{group.name}={choice.stem}"
        for group in (ROOT / "conf").iterdir()
        if group.is_dir() and group.name != "hydra"
        for choice in group.glob("*.yaml")
        if choice.stem not in NOT_ALONE
    ],
)
def test_every_choice_of_a_group_makes_sense(override: str) -> None:
    settings_of(override)


def test_the_papers_network_takes_the_papers_crops() -> None:
    assert settings_of("model=unet_paper", "data.crop=572").model.margin == 92


def test_every_file_of_the_configuration_opens_with_a_sentence() -> None:
    for path in (ROOT / "conf").rglob("*.yaml"):
        lines = [line for line in path.read_text().splitlines() if not line.startswith("# @package")]
        assert re.match(r"# .*[.:]$", lines[0]) or lines[1].startswith("# "), path


@pytest.mark.parametrize(
    ("override", "field"),
    [
        ("learning_rate=0.1", "learning_rate"),
        ("model.width=3", "width"),
        ("lr=fast", "lr"),
        ("trainer.steps=1.5", "steps"),
        ("data.augment.flip=perhaps", "flip"),
    ],
)
def test_an_unknown_setting_or_a_wrong_type_is_refused_when_the_config_is_composed(
    override: str, field: str
) -> None:
    with pytest.raises(Exception, match=field) as caught:
        settings_of(override)
    assert type(caught.value).__module__.startswith(("hydra", "omegaconf"))


@pytest.mark.parametrize("override", ["lr=-1", "model.depth=0", "data.crop=100", "optimizer.name=adma"])
def test_a_value_that_makes_no_sense_is_refused_with_its_field(override: str) -> None:
    with pytest.raises(SettingsError, match=rf"^{re.escape(override.split('=')[0])} is "):
        settings_of(override)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["data.crop=100"], "data.crop is 100; it has to be a multiple of 16"),
        (["data.folder=nowhere"], "there is no folder"),
        (["+data.flip=true"], "there is no setting data.flip (is data.augment.flip meant?)"),
    ],
)
def test_a_mistake_is_one_message_without_lines_of_code(
    arguments: list[str], said: str, tmp_path: Path
) -> None:
    process = start([*arguments, f"hydra.run.dir={tmp_path / 'output'}"], tmp_path)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 1
    assert said in output
    assert "Traceback" not in output
    assert said in (tmp_path / "output" / "train.log").read_text()


def test_help_loads_neither_tensorflow_nor_mlflow() -> None:
    script = (
        "import runpy, sys; sys.argv = ['train.py', '--help']\n"
        "try: runpy.run_path('train.py', run_name='__main__')\n"
        "finally: print('loaded', {'tensorflow', 'keras', 'mlflow', 'google.cloud'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "loaded set()" in done.stdout
    assert "lr: 0.001" in done.stdout


def test_preemption_survives_pickling() -> None:
    copy = pickle.loads(pickle.dumps(Preempted("step 5 is saved")))
    assert (copy.code, str(copy)) == (143, "step 5 is saved")


def test_a_sweep_runs_without_a_launcher(tmp_path: Path) -> None:
    arguments = ["-m", "experiment=smoke", "lr=1e-2,1e-3", f"hydra.sweep.dir={tmp_path / 'sweep'}"]
    arguments += ["hydra.sweep.subdir=${hydra.job.num}", "tracking.model=false", "tracking.checkpoint=false"]
    process = start([*arguments, "trainer.steps=2", "tracking.system_metrics=false"], tmp_path)
    output, _ = process.communicate(timeout=240)

    assert process.returncode == 0, output
    for job in ("0", "1"):
        assert (tmp_path / "sweep" / job / "model.keras").exists()
        assert (tmp_path / "sweep" / job / "predictions.png").exists()
    runs = {(tmp_path / "sweep" / job / "mlflow_run_id").read_text() for job in ("0", "1")}
    assert len(runs) == 2


def test_sigterm_ends_the_process_with_a_checkpoint_and_its_own_status(tmp_path: Path) -> None:
    output_dir = tmp_path / "output"
    arguments = ["experiment=smoke", f"hydra.run.dir={output_dir}", "trainer.steps=1000000"]
    process = start([*arguments, "trainer.checkpoint_every=1000000", "trainer.validate_every=5"], tmp_path)
    log = output_dir / "train.log"
    deadline = time.monotonic() + 240
    while not (log.exists() and "step 5/" in log.read_text()):
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.2)

    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=120)

    assert process.returncode == 143, output
    assert re.search(r"SIGTERM: step \d+ of 1000000 is saved in", output)
    assert list((output_dir / "checkpoints").glob("step-*.npz"))
