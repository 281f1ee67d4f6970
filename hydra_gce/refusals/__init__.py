"""What it means when Compute Engine does not give a VM: how far the refusal reaches, and what would help.

`judge` takes an error of either shape, an HTTP answer or the end of an operation. `table` has a row for each that is
known, with where it is known from; `quota` reads those about quotas; what nobody knows is judged by its HTTP status.

What follows by reach:

    ATTEMPT     the same request again after a pause, a few times; then the next place
    ZONE        the next zone
    REGION      the next region
    EVERYWHERE  no place of the project helps now
    REQUEST     the person is asked: what was asked for is wrong
"""

from hydra_gce.refusals.judging import judge
from hydra_gce.refusals.refusal import Reach, Refusal

__all__ = ["Reach", "Refusal", "judge"]
