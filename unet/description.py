"""What one has to know of a trained model to use it on an image: it lies beside the weights, as model.json."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from unet.errors import UnetError
from unet.settings import InferenceSettings, Settings

DESCRIPTION_FILE = "model.json"

_FORMAT = 1


class ModelError(UnetError):
    """A model that is not there, or that cannot be used. The message says where it was looked for."""


@dataclass(frozen=True)
class Description:
    """A trained model, seen from outside."""

    classes: tuple[str, ...]
    """Names, in the order of the output's channels."""
    mask_values: tuple[int, ...]
    """The pixel value that stood for each class in the masks of the training."""
    channels: int
    """1: the model takes grey images; 3: colour."""
    white: float
    """The pixel value that was 1 in the training."""
    max_value: float | None
    """data.max_value of the training: null = white is the largest value of an image's type."""
    resize: int
    """data.resize of the training: height or width, whichever is less, that images were scaled to; 0 = none."""
    size_multiple: int
    """Heights and widths that the network takes are a multiple of this, and `size_remainder` more."""
    size_remainder: int
    margin: int
    """Pixels on each side of the input for which the network gives no output."""
    inference: InferenceSettings = field(default_factory=InferenceSettings)
    """How the validation looked at whole images."""

    @classmethod
    def of(cls, settings: Settings, white: float) -> "Description":
        """Of a model that was trained with these settings, on images whose white has this value."""
        data, model = settings.data, settings.model
        return cls(
            classes=tuple(data.classes),
            mask_values=tuple(data.mask_values),
            channels=data.channels,
            white=white,
            max_value=data.max_value,
            resize=data.resize,
            size_multiple=model.size_multiple,
            size_remainder=model.size_remainder,
            margin=model.margin,
            inference=settings.inference,
        )

    @classmethod
    def from_dict(cls, content: Mapping[str, Any], source: str) -> "Description":
        """What `to_dict` has given.

        Raises:
            ModelError: `content` is something else; the message names `source`.
        """
        try:
            if content["format"] != _FORMAT:
                raise ModelError(
                    f"{source} has format {content['format']}, and this version reads format {_FORMAT}: "
                    "use the version of this package that the model was trained with."
                )
            fields = {name: content[name] for name in cls.__dataclass_fields__}
            fields["classes"] = tuple(map(str, fields["classes"]))
            fields["mask_values"] = tuple(map(int, fields["mask_values"]))
            fields["inference"] = InferenceSettings(**fields["inference"])
            return cls(**fields)
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(
                f"{source} does not describe a model that this package has trained ({error!r})."
            ) from error

    @classmethod
    def read(cls, path: Path) -> "Description":
        """What `write` has written.

        Raises:
            ModelError: the file cannot be read.
        """
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ModelError(f"{path} cannot be read ({error}).") from error
        return cls.from_dict(content, str(path))

    def to_dict(self) -> dict[str, Any]:
        """In types that JSON has."""
        return {"format": _FORMAT, **json.loads(json.dumps(asdict(self)))}

    def write(self, path: Path) -> None:
        """As JSON."""
        path.write_text(json.dumps(self.to_dict(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")

    def white_of(self, dtype: npt.DTypeLike) -> float:
        """The value that becomes 1 in an image of this type, whatever type the training's images had."""
        if not np.issubdtype(dtype, np.integer):
            return self.white
        largest = float(np.iinfo(np.dtype(dtype)).max)
        if self.max_value is None:
            return largest
        # Beside 16-bit images, 8-bit ones are taken for 16-bit ones of the same brightness.
        return self.max_value * largest / 65535 if largest < self.max_value else self.max_value
