"""What Compute Engine is asked for: the bodies of `instances.insert`, in its own words.

`Order` makes them from `hydra.launcher.vm` and a place; `fields` finds what cannot be sent, `overlay` holds
`vm.instance` against the API's own fields.
"""

from hydra_gce.request.order import (
    DEFAULT_MACHINE_TYPE,
    Order,
    order,
    startup_script,
    vm_request,
)
from hydra_gce.request.overlay import to_message

__all__ = [
    "DEFAULT_MACHINE_TYPE",
    "Order",
    "order",
    "startup_script",
    "to_message",
    "vm_request",
]
