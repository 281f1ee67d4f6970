"""The files that are written for an image: its mask, and on demand probabilities and a picture."""

import io
import json
import posixpath
import re
from dataclasses import asdict, dataclass
from hashlib import sha256

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from unet.data.examples import Classes, Pixels
from unet.data.files import join, read_bytes
from unet.errors import UnetError
from unet.palette import class_colours, vivid_colours
from unet.prediction import Predictor
from unet.sheet import for_display

_STAMP = "unet-prediction"
"""The text in a mask's PNG that says which model and settings it was made with."""
_HEAD = 4096  # bytes: header, palette and text stand before the pixels
_OVERLAID = 0.45
_DEPTHS: dict[str, type[np.unsignedinteger]] = {"8": np.uint8, "16": np.uint16}


class MaskError(UnetError):
    """Masks that cannot be written. The message says what to do instead."""


@dataclass(frozen=True)
class Outputs:
    """What is written for each image."""

    palette: bool = False
    """Masks with colours. The number of a colour is the value that the class has in the training's masks."""
    probabilities: str = ""
    """Beside the mask; 8 or 16: a PNG of so many bits for each class; npy: float32 [height, width, classes]."""
    overlay: bool = False
    """Beside the mask: the image, with all classes but the first in colours over it."""


class MaskFiles:
    """The masks in a directory, or below a gs:// address. A file is there as a whole or not at all.

    Args:
        overwrite: make those anew that are there.

    Raises:
        MaskError: the model's classes have values that no palette has.
    """

    def __init__(self, into: str, predictor: Predictor, outputs: Outputs, overwrite: bool = False) -> None:
        self._into, self._outputs, self._overwrite = into, outputs, overwrite
        self._description = predictor.description
        if outputs.palette and max(self._description.mask_values) > 255:
            raise MaskError(
                f"The training's masks have the values {list(self._description.mask_values)}, and a palette ends at "
                "255: leave --palette away."
            )
        self._stamp = _stamp(predictor, outputs)

    def has(self, name: str) -> bool:
        """Whether all files of this image are there, and the mask is of this model.

        Raises:
            MaskError: there is a mask of that name which was made in another way.
        """
        if self._overwrite:
            return False
        mask, *others = self._paths(name)
        try:
            if not tf.io.gfile.exists(mask):
                return False
            stamp, others_there = _stamp_of(mask), all(map(tf.io.gfile.exists, others))
        except tf.errors.OpError as error:
            raise MaskError(f"{mask} cannot be looked for ({error.message}).") from error
        if stamp != self._stamp:
            by = "by another model, or with other settings" if stamp else "by something else than predict.py"
            raise MaskError(f"{mask} was made {by}: give another --into, or --overwrite.")
        return others_there

    def write(self, name: str, image: Pixels, probabilities: npt.NDArray[np.float32]) -> None:
        """Write all files of an image, the mask last.

        Raises:
            MaskError: the disk does not take them.
        """
        classes = np.argmax(probabilities, axis=-1).astype(np.uint8)
        if self._outputs.probabilities == "npy":
            buffer = io.BytesIO()
            np.save(buffer, probabilities)
            self._put(f"{name}.probabilities.npy", buffer.getvalue())
        elif self._outputs.probabilities:
            depth = _DEPTHS[self._outputs.probabilities]
            for number, path in enumerate(self._probability_names(name)):
                scaled = np.rint(probabilities[..., number] * np.iinfo(depth).max).astype(depth)
                self._put(path, _png(Image.fromarray(scaled)))
        if self._outputs.overlay:
            self._put(f"{name}.overlay.png", _png(self._overlay(image, classes)))
        self._put(f"{name}.png", _png(self._mask(classes), self._stamp))

    def _mask(self, classes: Classes) -> Image.Image:
        values = np.array(self._description.mask_values)
        mask = Image.fromarray(values.astype(np.uint8 if values.max() <= 255 else np.uint16)[classes])
        if self._outputs.palette:
            colours = np.zeros((256, 3), np.uint8)
            colours[values] = class_colours(len(values))
            mask.putpalette(colours.tobytes())
        return mask

    def _overlay(self, image: Pixels, classes: Classes) -> Image.Image:
        picture = for_display(image, self._description.white_of(image.dtype)).astype(np.float32)
        colours = vivid_colours(len(self._description.classes)).astype(np.float32)
        over = np.where((classes > 0)[..., np.newaxis], _OVERLAID, 0)
        return Image.fromarray((picture * (1 - over) + colours[classes] * over).astype(np.uint8))

    def _paths(self, name: str) -> list[str]:
        names = [f"{name}.png"]
        if self._outputs.probabilities == "npy":
            names.append(f"{name}.probabilities.npy")
        elif self._outputs.probabilities:
            names += self._probability_names(name)
        if self._outputs.overlay:
            names.append(f"{name}.overlay.png")
        return [join(self._into, name) for name in names]

    def _probability_names(self, name: str) -> list[str]:
        """By number and class: names that differ in characters that no file system takes stay different."""
        return [
            f"{name}.probability-{number}-{re.sub(r'[^A-Za-z0-9_-]+', '_', class_name)}.png"
            for number, class_name in enumerate(self._description.classes)
        ]

    def _put(self, name: str, content: bytes) -> None:
        path = join(self._into, name)
        try:
            tf.io.gfile.makedirs(posixpath.dirname(path))
            with tf.io.gfile.GFile(path + ".part", "wb") as file:
                file.write(content)
            tf.io.gfile.rename(path + ".part", path, overwrite=True)
        except (tf.errors.OpError, OSError) as error:
            raise MaskError(f"{path} cannot be written ({getattr(error, 'message', error)}).") from error


def _stamp(predictor: Predictor, outputs: Outputs) -> str:
    """The same for masks that are made in the same way."""
    made_with = [predictor.digest, asdict(predictor.inference), outputs.palette]
    return sha256(json.dumps(made_with).encode()).hexdigest()[:32]


def _stamp_of(path: str) -> str | None:
    try:
        with Image.open(io.BytesIO(read_bytes(path, count=_HEAD))) as mask:
            stamp = mask.info.get(_STAMP)
    except OSError:  # no image
        return None
    return str(stamp) if stamp else None


def _png(image: Image.Image, stamp: str = "") -> bytes:
    buffer, texts = io.BytesIO(), PngInfo()
    if stamp:
        texts.add_text(_STAMP, stamp)
    image.save(buffer, "PNG", pnginfo=texts)
    return buffer.getvalue()
