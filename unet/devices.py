"""The process that a training runs in, made ready."""

import keras
import tensorflow as tf

from unet.errors import SettingsError


def prepare_process(seed: int) -> None:
    """Let go of an earlier training of this process, take GPU memory as needed, and seed everything random.

    Raises:
        SettingsError: Keras computes with something else than TensorFlow.
    """
    if keras.backend.backend() != "tensorflow":
        raise SettingsError(
            f"Keras computes with {keras.backend.backend()}, and this training needs TensorFlow: "
            "set KERAS_BACKEND=tensorflow."
        )
    for gpu in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(gpu, True)
    keras.utils.clear_session()
    keras.utils.disable_interactive_logging()  # no progress bars in log files
    keras.utils.set_random_seed(seed)
