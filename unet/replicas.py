"""One step on several devices: each takes its share of the batch, and sums go over all of them."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from unet.settings import TrainerSettings

Metrics = dict[str, tf.Tensor]

METRICS = ("loss", "accuracy", "grad_norm", "lr")
"""What is known of each step: float32 [] each."""


def replicas() -> int:
    """How many devices compute the step that is being taken, this one included."""
    return int(tf.distribute.get_replica_context().num_replicas_in_sync)


def sum_over_replicas(value: tf.Tensor) -> tf.Tensor:
    """The sum of what each device has; every device gets it, and gradients flow back to each."""
    context = tf.distribute.get_replica_context()
    if context.num_replicas_in_sync == 1:
        return value
    return context.all_reduce(tf.distribute.ReduceOp.SUM, value)


def share_of(batch: Any) -> Any:
    """This device's part of a batch, along its first axis; parts may differ by one example.

    A batch with fewer examples than there are devices is computed by each of them as a whole: as every sum goes over
    all of them, means stay what they are, and no device has to compute with nothing.
    """
    context = tf.distribute.get_replica_context()
    number, count = context.replica_id_in_sync_group, context.num_replicas_in_sync
    if count == 1:
        return batch

    def part(whole: tf.Tensor) -> tf.Tensor:
        size = tf.shape(whole)[0]
        start, end = size * number // count, size * (number + 1) // count
        return whole[tf.where(size < count, 0, start) : tf.where(size < count, size, end)]

    with tf.device("CPU:0"):  # where the batch lies: only the share travels to the device
        return tf.nest.map_structure(part, batch)


def in_parts(
    gradients_of: Callable[[Any], tuple[list[tf.Tensor], Metrics]], batch: Any, parts: int
) -> tuple[list[tf.Tensor], Metrics]:
    """The means of the gradients and metrics of equal parts of a batch, one after the other in memory."""
    if parts == 1:
        return gradients_of(batch)
    split = [tf.split(tensor, parts) for tensor in tf.nest.flatten(batch)]
    gradients: list[list[tf.Tensor]] = []
    metrics: list[Metrics] = []
    for number in range(parts):
        # The next part waits for the last one's gradients; side by side they would take the memory of the whole.
        with tf.control_dependencies(gradients[-1] if gradients else []):
            flat = [tf.identity(tensors[number]) for tensors in split]
        of_part, metrics_of_part = gradients_of(tf.nest.pack_sequence_as(batch, flat))
        gradients.append(of_part)
        metrics.append(metrics_of_part)
    return (
        [tf.add_n(values) / parts for values in zip(*gradients, strict=True)],
        {key: tf.add_n([of_part[key] for of_part in metrics]) / parts for key in metrics[0]},
    )


def compile_steps(
    step: Callable[[Any], Metrics],
    after_step: Callable[[], None],
    strategy: tf.distribute.Strategy,
    settings: TrainerSettings,
) -> Callable[[Any], Metrics]:
    """One compiled function that takes `settings.steps_per_call` steps.

    Args:
        step: computes a device's share of a step, and gives the metrics that METRICS names.
        after_step: is done once, with all devices, after each.

    Returns a function of a batch (of several in a row, with a leading axis, if it takes several steps) that gives
    each metric as float32 [steps].
    """

    def one(batch: Any) -> Metrics:
        metrics = strategy.run(lambda whole: step(share_of(whole)), args=(batch,))
        after_step()
        # They are sums over the devices: each has the same.
        return {key: strategy.experimental_local_results(value)[0] for key, value in metrics.items()}

    @tf.function(jit_compile=settings.jit_compile, reduce_retracing=True)  # type: ignore[untyped-decorator]
    def call(batch: Any) -> Metrics:
        if settings.steps_per_call == 1:
            return {key: value[tf.newaxis] for key, value in one(batch).items()}
        scalars = dict.fromkeys(METRICS, tf.TensorSpec([], tf.float32))
        taken: Metrics = tf.map_fn(one, batch, fn_output_signature=scalars, parallel_iterations=1)
        return taken

    compiled: Callable[[Any], Metrics] = call
    return compiled
