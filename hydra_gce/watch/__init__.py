"""What becomes of each job, followed from the laptop until all have a result."""

from hydra_gce.watch.track import Track
from hydra_gce.watch.watch import Watch

__all__ = ["Track", "Watch"]
