"""The scores of the ISBI 2012 challenge on cell membranes: V_rand and V_info after thinning.

Arganda-Carreras et al. 2015, Crowdsourcing the creation of image segmentation algorithms for connectomics, Frontiers in
Neuroanatomy 9:142, https://doi.org/10.3389/fnana.2015.00142; the details as in the challenge's own program,
`trainableSegmentation.metrics` of Fiji (RandError and VariationOfInformation, "after thinning").

They tell whether the right pixels are in one cell together, not whether each pixel is right: a gap of one pixel in a
membrane merges two cells, and costs as much as it would cost an anatomist; a membrane that is a pixel too thick costs
nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Labels = npt.NDArray[np.int64]
"""int64 [height, width]: the number of the cell that each pixel belongs to; 0 is membrane."""

THRESHOLDS = tuple(number / 10 for number in range(11))
"""Of the probability of being inside a cell, as in the challenge."""


@dataclass(frozen=True)
class MembraneScores:
    """The best over the thresholds of the mean over the images: 1 is perfect."""

    v_rand: float
    v_rand_threshold: float
    """The probability above which a pixel is inside a cell, where v_rand is best."""
    v_info: float
    v_info_threshold: float


def membrane_scores(
    probabilities: Sequence[npt.NDArray[np.floating]],
    truths: Sequence[npt.NDArray[np.bool_]],
    thresholds: Sequence[float] = THRESHOLDS,
) -> MembraneScores:
    """Score a stack of images.

    The threshold is chosen on the images that it is scored on, as in the challenge. For the scores of a threshold that
    was chosen elsewhere, name it alone.

    Args:
        probabilities: for each image, of being inside a cell: [height, width] in [0, 1].
        truths: for each image, whether a pixel is inside a cell: [height, width].

    Raises:
        ValueError: there are no images, or there is an image without any cell.
    """
    if not truths or len(probabilities) != len(truths):
        raise ValueError(f"{len(probabilities)} predictions for {len(truths)} images; one for each is needed")
    cells = [parts(np.asarray(truth, bool)) for truth in truths]
    if any(not truth.any() for truth in cells):
        raise ValueError("an image has no pixel inside of a cell: there is nothing to be scored")
    rand, info = [], []
    for threshold in thresholds:
        scores = [
            pair_scores(thinned(probability > threshold), truth)
            for probability, truth in zip(probabilities, cells, strict=True)
        ]
        of_rand, of_info = np.mean(scores, axis=0)
        rand.append(float(of_rand))
        info.append(float(of_info))
    best_rand, best_info = int(np.argmax(rand)), int(np.argmax(info))
    return MembraneScores(rand[best_rand], thresholds[best_rand], info[best_info], thresholds[best_info])


def parts(inside: npt.NDArray[np.bool_]) -> Labels:
    """The cells, numbered from 1: pixels that are connected by their sides. 0 is membrane."""
    from skimage.measure import label  # late: only these scores need scikit-image

    return np.asarray(label(inside, connectivity=1), np.int64)  # type: ignore[no-untyped-call]


def thinned(inside: npt.NDArray[np.bool_]) -> Labels:
    """The cells, numbered from 1, grown into the membranes until only a line of a pixel, 0, is left between them.

    What floods the membranes is a watershed transform, as in the challenge; where a membrane ends inside a cell, or is
    an island in it, nothing is left of it. Without any cell, everything is one.
    """
    from skimage.segmentation import watershed

    if not inside.any():
        return np.ones(inside.shape, np.int64)
    cells = parts(inside)
    flooded = watershed(  # type: ignore[no-untyped-call]
        np.logical_not(inside).astype(np.uint8), cells, connectivity=1, watershed_line=True
    )
    return np.asarray(flooded, np.int64)


def pair_scores(segmentation: Labels, truth: Labels) -> tuple[float, float]:
    """V_rand and V_info, each with alpha = 1/2, of a segmentation whose membranes are thinned.

    With p[i, j] the share of pixels in cell i of the segmentation and cell j of the truth, s[i] and t[j] its sums:
    V_rand = sum p^2 / (sum s^2 / 2 + sum t^2 / 2), and V_info = I(s; t) / (H(s) / 2 + H(t) / 2). Only pixels that are
    inside a cell in truth count. Each of them that the segmentation takes for membrane is a cell by itself.
    """
    is_cell = truth > 0
    found, true = segmentation[is_cell], truth[is_cell]
    total = found.size
    alone = np.count_nonzero(found == 0)
    both = (found * (true.max() + 1) + true)[found > 0]  # a number for each pair
    pairs = np.unique(both, return_counts=True)[1] / total
    of_found = np.unique(found[found > 0], return_counts=True)[1] / total
    of_true = np.unique(true, return_counts=True)[1] / total

    singles = alone / total**2
    together, in_found, in_true = ((shares**2).sum() for shares in (pairs, of_found, of_true))
    rand = 2 * (together + singles) / (in_found + singles + in_true)

    # A pixel alone has a share of 1 / total, in the segmentation as in the pairs.
    unsure = alone / total * np.log(total)
    joint, entropy_found = _entropy(pairs) + unsure, _entropy(of_found) + unsure
    entropy_true = _entropy(of_true)
    if entropy_found + entropy_true == 0:
        return float(rand), 1.0  # one cell, and it was found
    info = 2 * (entropy_found + entropy_true - joint) / (entropy_found + entropy_true)
    return float(rand), float(max(info, 0.0))


def _entropy(shares: npt.NDArray[np.float64]) -> float:
    return float(-(shares * np.log(shares)).sum())
