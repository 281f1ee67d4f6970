"""The process that a training runs in, made ready, and the devices that it computes on."""

import logging

import keras
import tensorflow as tf

from unet.errors import SettingsError
from unet.settings import Settings

log = logging.getLogger(__name__)

_POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16", "float16": "mixed_float16"}


def prepare_process(settings: Settings) -> tf.distribute.Strategy:
    """Let go of an earlier training of this process, seed everything random, and say which devices compute.

    Raises:
        SettingsError: Keras computes with something else than TensorFlow.
    """
    if keras.backend.backend() != "tensorflow":
        raise SettingsError(
            f"Keras computes with {keras.backend.backend()}, and this training needs TensorFlow: "
            "set KERAS_BACKEND=tensorflow."
        )
    _set_up_devices(settings)
    keras.utils.clear_session()
    keras.utils.disable_interactive_logging()  # no progress bars in log files
    tf.get_logger().addFilter(_is_no_retracing)  # once: the same filter is not added twice
    keras.utils.set_random_seed(settings.seed)
    keras.mixed_precision.set_global_policy(_POLICIES[settings.trainer.precision])
    return _strategy(settings.trainer.devices)


def _is_no_retracing(record: logging.LogRecord) -> bool:
    """Each training compiles functions of its own; TensorFlow takes those of several for one that is compiled anew."""
    return "triggered tf.function retracing" not in str(record.msg)


def _set_up_devices(settings: Settings) -> None:
    gpus = tf.config.list_physical_devices("GPU")
    if settings.trainer.deterministic and gpus:
        tf.config.experimental.enable_op_determinism()
    # Where several operations of a step run side by side, some give other last digits each time, group normalisation
    # for one. In a U-Net with fused batch normalisation, or without any, none does (measured over whole trainings);
    # all others compute one operation after the other, each on all cores, which takes some percent more time.
    is_measured = (
        settings.model.name == "unet" and settings.model.norm != "group" and settings.trainer.devices == "one"
    )
    one_by_one = not gpus and not is_measured
    try:
        for gpu in gpus:
            tf.config.experimental.set_memory_growth(gpu, True)
        if one_by_one:
            tf.config.threading.set_inter_op_parallelism_threads(1)
    except RuntimeError:
        # TensorFlow has already started in this process: what it started with stays.
        if one_by_one and tf.config.threading.get_inter_op_parallelism_threads() != 1:
            log.warning(
                "TensorFlow was at work in this process before the training: the last digits may differ from one "
                "process to the next."
            )


def _strategy(devices: str) -> tf.distribute.Strategy:
    if devices == "one":
        return tf.distribute.get_strategy()
    found = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    if len(found) == 1:
        log.info("trainer.devices=all: there is one device, %s.", found[0].name)
        return tf.distribute.get_strategy()
    log.info("Each batch is split over %d devices: %s.", len(found), ", ".join(d.name for d in found))
    return tf.distribute.MirroredStrategy([device.name for device in found])
