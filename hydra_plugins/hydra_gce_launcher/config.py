"""Registers ``hydra/launcher: gce`` in every Hydra program in whose environment this package is installed."""

from typing import Any

from hydra.core.config_store import ConfigNode, ConfigStore

_GROUP, _NAME, _PROVIDER = "hydra/launcher", "gce.yaml", "hydra_gce_launcher"


class _WhenAsked(ConfigNode):
    """Makes its config when Hydra asks for it. Hydra copies all that is stored at each composition, and most programs
    use another launcher: a config in the store would cost those more than all else that we do at their start.
    """

    _made: Any = None

    def __init__(self) -> None:
        self.name, self.group, self.package, self.provider = _NAME, _GROUP, None, _PROVIDER

    @property
    def node(self) -> Any:
        if self._made is None:
            from omegaconf import OmegaConf

            from hydra_gce.settings import GCELauncherConf

            return OmegaConf.structured(GCELauncherConf)
        return self._made

    @node.setter
    def node(self, made: Any) -> None:
        self._made = made


_store = ConfigStore.instance()
_store.store(group=_GROUP, name=_NAME, node={}, provider=_PROVIDER)
_store.repo["hydra"]["launcher"][_NAME] = _WhenAsked()
