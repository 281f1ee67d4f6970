"""A colour for each class, that colour-blind people tell apart as well, as far as there are enough of such colours."""

import colorsys

import numpy as np
import numpy.typing as npt

Colours = npt.NDArray[np.uint8]
"""uint8 [classes, 3]."""

# Okabe and Ito, "Color Universal Design" (2008).
_UNIVERSAL = [
    *((0, 0, 0), (230, 159, 0), (86, 180, 233), (0, 158, 115)),
    *((240, 228, 66), (0, 114, 178), (213, 94, 0), (204, 121, 167)),
]
# Steps of hue and lightness that fill their plane evenly, however many are taken (Roberts 2018, the R2 sequence).
_HUE, _LIGHTNESS = 0.7548776662, 0.5698402910


def class_colours(classes: int) -> Colours:
    """Two classes are black and white; more of them black and colours."""
    return np.array([(0, 0, 0), (255, 255, 255)], np.uint8) if classes == 2 else vivid_colours(classes)


def vivid_colours(classes: int) -> Colours:
    """Black and colours, for two classes too: what stands out on a grey image."""
    more = [_further_colour(number) for number in range(classes - len(_UNIVERSAL))]
    return np.array([*_UNIVERSAL, *more][:classes], np.uint8)


def _further_colour(number: int) -> tuple[int, int, int]:
    """Beyond eight, lightness has to help as much as hue."""
    hue, lightness = (number + 1) * _HUE % 1, 0.25 + 0.6 * ((number + 1) * _LIGHTNESS % 1)
    red, green, blue = colorsys.hls_to_rgb(hue, lightness, 0.7)
    return round(red * 255), round(green * 255), round(blue * 255)
