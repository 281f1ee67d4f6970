"""Registers ``hydra/launcher: gce`` in every Hydra program in whose environment this package is installed."""

from typing import Any

from hydra.core.config_store import ConfigStore


class _WhenAsked:
    """The config, made when Hydra takes its copy of it: most programs on a machine use another launcher, and to make
    it takes longer than all else that is done for ours at their start.
    """

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        from omegaconf import OmegaConf

        from hydra_gce.settings import GCELauncherConf

        return OmegaConf.structured(GCELauncherConf)


_store = ConfigStore.instance()
_store.store(group="hydra/launcher", name="gce", node={}, provider="hydra_gce_launcher")
_store.repo["hydra"]["launcher"]["gce.yaml"].node = _WhenAsked()
