"""A VM's wait in the queue, from its request to a place or to the end of its time."""

from __future__ import annotations

from functools import partial

from hydra_gce.local.compute import capacity
from hydra_gce.local.compute.cloud import Cloud
from hydra_gce.local.compute.errors import OperationError
from hydra_gce.local.compute.operations import Operation
from hydra_gce.local.store import Resource

_LOOK_S = 1.0


def await_room(cloud: Cloud, instance: Resource, operation: Operation) -> None:
    """Returns when the instance has claimed a place. Raises what stands against it when its time is over."""
    is_first = partial(cloud.queue.is_first, instance)
    tried = False
    try:
        while True:
            first = is_first()
            left = instance.private["waits_until"] - cloud.clock()
            if first or left <= 0:
                try:
                    return capacity.claim(cloud, instance, again=tried)
                except OperationError:
                    tried = True
                    if left <= 0:
                        raise
            operation.wait(_never if first else is_first, min(left, _LOOK_S))
    finally:
        cloud.queue.leave(instance)
        cloud.operations.wake()


def _never() -> bool:
    return False
