"""Train a U-Net: `python train.py lr=1e-3`, or several with `python train.py -m lr=1e-3,1e-4`.

`python train.py --help` shows every setting; docs/training.md explains them.
"""

import logging
import os
import sys
from pathlib import Path
from typing import Any, cast

import hydra
from hydra.conf import HydraConf
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from hydra.utils import to_absolute_path
from omegaconf import DictConfig, OmegaConf

from unet.errors import UnetError
from unet.settings import Settings
from unet.settings.names import refuse_unknown_names

log = logging.getLogger(__name__)

# Names and types of all settings: any other name or type is refused before anything starts.
ConfigStore.instance().store(name="settings", node=Settings)


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(config: DictConfig) -> float:
    """Train, and return the held-out mean IoU, for a sweeper to make large."""
    job = HydraConfig.get()
    try:
        return _train(config, job)
    except UnetError as error:
        # A sweep wants the error itself; a person at a terminal wants what it says, without the lines of code.
        if job.mode is not RunMode.RUN or os.environ.get("HYDRA_FULL_ERROR"):
            raise
        log.error("%s", error)
        sys.exit(1)


def _train(config: DictConfig, job: HydraConf) -> float:
    # Hydra's `+name=value` adds names that nothing reads.
    refuse_unknown_names(cast(dict[str, Any], OmegaConf.to_container(config)), Settings)
    settings = cast(Settings, OmegaConf.to_object(config))
    if "://" not in settings.data.folder:
        settings.data.folder = to_absolute_path(settings.data.folder)

    # Late, because TensorFlow takes seconds to import: `--help` or a mistyped setting need not wait for it.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from unet.training import train

    return train(settings, Path(job.runtime.output_dir), run_name=job.job.override_dirname or None)


if __name__ == "__main__":
    main()
