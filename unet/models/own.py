"""Networks of other people's modules."""

import logging

import keras

from unet.errors import SettingsError
from unet.own import own_function
from unet.settings import ModelSettings

log = logging.getLogger(__name__)

Shape = tuple[int | None, ...]


def build_own(settings: ModelSettings, channels: int, classes: int) -> keras.Model:
    """What the function `module:function` builds, held against what the training expects.

    Raises:
        SettingsError: it cannot be imported, or does not give such a network.
    """
    said = f"model.name is {settings.name!r}"
    model = own_function("model.name", settings.name)(settings, channels, classes)
    if not isinstance(model, keras.Model) or not getattr(model, "inputs", None):
        raise SettingsError(
            f"{said}, which gave a {type(model).__name__}; it has to return a keras.Model that is made from a "
            "keras.Input, as keras.Model(inputs, logits)."
        )
    takes, gives = _shapes(model.inputs), _shapes(model.outputs)
    images, logits = (None, None, None, channels), (None, None, None, classes)
    if takes != [images] or gives != [logits]:
        raise SettingsError(
            f"{said}, whose model takes {_said(takes)} and gives {_said(gives)}; it has to take {_said([images])}, "
            f"images of any size, and give {_said([logits])}, a logit for each class and pixel."
        )
    if isinstance(model.layers[-1], keras.layers.Softmax):
        raise SettingsError(
            f"{said}, whose model ends with a softmax; leave it out: the training needs the logits."
        )
    size = settings.size_multiple * -(-64 // settings.size_multiple) + settings.size_remainder
    wanted = size - 2 * settings.margin
    if (seen := tuple(model.compute_output_shape((1, size, size, channels)))[1:3]) != (wanted, wanted):
        raise SettingsError(
            f"{said}, whose model gives {seen[0]}x{seen[1]} logits for an image of {size}x{size}; it has to give "
            f"{wanted}x{wanted}. padding='same' keeps the size of a convolution."
        )
    if own := sorted({type(layer).__name__ for layer in model.layers if not _is_of_keras(layer)}):
        log.warning(
            "%s has layers of its own (%s): its model.keras can be loaded only where they are imported and registered "
            "with Keras, so neither predict.py nor a server of MLflow can.",
            settings.name,
            ", ".join(own),
        )
    if model.output.dtype == "float32":
        return model
    output = keras.layers.Activation("linear", dtype="float32", name="float32_logits")(model.output)
    return keras.Model(model.input, output, name=model.name)


def _is_of_keras(layer: keras.Layer) -> bool:
    return type(layer).__module__.partition(".")[0] == "keras"


def _shapes(tensors: list[keras.KerasTensor]) -> list[Shape]:
    return [tuple(tensor.shape) for tensor in tensors]


def _said(shapes: list[Shape]) -> str:
    return " and ".join(
        "[" + ", ".join("any" if size is None else str(size) for size in shape) + "]" for shape in shapes
    )
