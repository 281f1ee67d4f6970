"""Train a U-Net: `python train.py lr=1e-3`, or several with `python train.py -m lr=1e-3,1e-4`.

`python train.py --help` shows every setting; docs/training.md explains them.
"""

import os
from pathlib import Path
from typing import cast

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.utils import to_absolute_path
from omegaconf import DictConfig, OmegaConf

from unet.settings import Settings

# Names and types of all settings: any other name or type is refused before anything starts.
ConfigStore.instance().store(name="settings", node=Settings)


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(config: DictConfig) -> float:
    """Train, and return the held-out mean IoU, for a sweeper to make large."""
    settings = cast(Settings, OmegaConf.to_object(config))
    if "://" not in settings.data.folder:
        settings.data.folder = to_absolute_path(settings.data.folder)
    job = HydraConfig.get()

    # Late, because TensorFlow takes seconds to import: `--help` or a mistyped setting need not wait for it.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from unet.training import train

    return train(settings, Path(job.runtime.output_dir), run_name=job.job.override_dirname or None)


if __name__ == "__main__":
    main()
