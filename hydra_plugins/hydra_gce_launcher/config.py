"""Registers ``hydra/launcher: gce`` in every Hydra program in whose environment this package is installed."""

from dataclasses import dataclass

from hydra.core.config_store import ConfigStore

from hydra_gce.settings import Settings


@dataclass(eq=False, repr=False, match_args=False)
class GCELauncherConf(Settings):
    _target_: str = "hydra_plugins.hydra_gce_launcher.launcher.GCELauncher"


ConfigStore.instance().store(
    group="hydra/launcher", name="gce", node=GCELauncherConf, provider="hydra_gce_launcher"
)
