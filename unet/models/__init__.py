"""The networks: images in, a logit for each class and pixel out.

Each takes images float32 [batch, height, width, channels] in [0, 1], of any height and width that is a multiple of
`settings.size_multiple` and `settings.size_remainder` more, and gives logits float32 [batch, height - 2 margin,
width - 2 margin, classes] with `settings.margin`. They consist of layers of Keras alone: saved as .keras, they load in
a process that has never heard of this package.
"""

import keras

from unet.models.blocks import Blocks
from unet.models.mobilenet_unet import build_mobilenet_unet
from unet.models.own import build_own
from unet.models.resunet import build_resunet
from unet.models.summary import summary_text
from unet.models.unet import build_unet
from unet.settings import ModelSettings

__all__ = ["build_model", "gives_probabilities", "summary_text", "with_probabilities"]

_BUILDERS = {"unet": build_unet, "resunet": build_resunet, "mobilenet_unet": build_mobilenet_unet}


def build_model(
    settings: ModelSettings, channels: int, classes: int, synchronized: bool = False
) -> keras.Model:
    """The network that `settings` name, with random weights (mobilenet_unet: those of ImageNet, if it can).

    Args:
        synchronized: batch normalisation looks at the batch on all devices together. For several of them.

    Raises:
        SettingsError: model.name is a function that cannot be imported, or that does not give such a network.
    """
    if ":" in settings.name:
        return build_own(settings, channels, classes)
    return _BUILDERS[settings.name](Blocks(settings, synchronized), channels, classes)


def with_probabilities(model: keras.Model) -> keras.Model:
    """The same network, sharing its weights, with class probabilities instead of logits."""
    probabilities = keras.layers.Softmax(dtype="float32", name="probabilities")(model.output)
    return keras.Model(model.input, probabilities, name=f"{model.name}_probabilities")


def gives_probabilities(model: keras.Model) -> bool:
    """Whether it is one of `with_probabilities`, loaded from a file or not: its last layer is a softmax."""
    return isinstance(model.layers[-1], keras.layers.Softmax)
