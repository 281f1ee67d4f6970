"""The border-weight map of the U-Net paper: background between two near objects counts more in the loss.

Ronneberger, Fischer and Brox 2015, equation 2: w(x) = w_c(x) + w0 exp(-(d1(x) + d2(x))^2 / (2 sigma^2)), where d1
and d2 are the distances to the nearest and to the second nearest object. The loss weights classes itself; what is
computed here is the factor 1 + w0 exp(...) of each pixel.
"""

import math
import threading

import numpy as np
import numpy.typing as npt

from unet.data.examples import IGNORED, Classes
from unet.settings import LossSettings

BorderMap = npt.NDArray[np.float16]
"""float16 [height, width]: the factor of each pixel, from 1 on."""

MEMORY = 2**30
"""Bytes of maps that are kept: about 2,000 of 512x512 pixels."""

_NEGLIGIBLE = 1e-4
"""float16 does not tell 1 from anything nearer to it than 0.0005."""


def border_map(mask: Classes, object_class: int, weight: float, sigma: float) -> BorderMap:
    """The factor of each pixel: 1 + weight exp(-(d1 + d2)^2 / (2 sigma^2)) outside of objects, 1 elsewhere.

    An object is a part of `object_class` whose pixels are connected by their sides: a membrane that runs
    diagonally, one pixel wide, still parts two cells. With fewer than two objects, and on ignored pixels, it is 1.

    Args:
        weight: w0 of the paper.
        sigma: in pixels.
    """
    from scipy import ndimage  # type: ignore[import-untyped]  # late: not for those who train without the map

    factors = np.ones(mask.shape, np.float16)
    objects, count = ndimage.label(mask == object_class)
    if count < 2 or weight <= _NEGLIGIBLE:
        return factors
    # Further away than this from its second object a pixel's factor is 1: no object has to look further.
    reach = math.ceil(sigma * math.sqrt(2 * math.log(weight / _NEGLIGIBLE))) + 1
    nearest = np.full(mask.shape, np.inf, np.float32)
    second = np.full(mask.shape, np.inf, np.float32)
    for number, (rows, columns) in enumerate(ndimage.find_objects(objects), start=1):
        around = _grown(rows, reach), _grown(columns, reach)
        distance = ndimage.distance_transform_edt(objects[around] != number).astype(np.float32)
        np.minimum(second[around], np.maximum(nearest[around], distance), out=second[around])
        np.minimum(nearest[around], distance, out=nearest[around])
    background = (objects == 0) & (mask != IGNORED) & np.isfinite(second)
    both = nearest[background] + second[background]
    factors[background] = 1 + weight * np.exp(-(both**2) / (2 * sigma**2))
    return factors


def _grown(part: slice, pixels: int) -> slice:
    return slice(max(part.start - pixels, 0), part.stop + pixels)


class BorderMaps:
    """The map of each image, computed when it is first wanted and kept as long as `memory` bytes hold them.

    Maps beyond that are computed at each look. None is given up for another: where all images come in turn, as in
    a training, the one that was not used for longest is the very one that comes next.

    Args:
        object_class: the index of the class whose connected parts are the objects.
    """

    def __init__(self, object_class: int, loss: LossSettings, memory: int = MEMORY) -> None:
        self._object_class, self._loss = object_class, loss
        self._kept: dict[int, BorderMap] = {}
        self._left = memory
        self._lock = threading.Lock()

    def of(self, index: int, mask: Classes) -> BorderMap:
        """The map of the image of this number. Several threads may ask."""
        kept = self._kept.get(index)
        if kept is not None:
            return kept
        drawn = border_map(mask, self._object_class, self._loss.border_weight, self._loss.border_sigma)
        with self._lock:
            if index not in self._kept and drawn.nbytes <= self._left:
                self._kept[index] = drawn
                self._left -= drawn.nbytes
        return drawn
