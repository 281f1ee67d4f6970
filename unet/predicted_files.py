"""Image files in, mask files out: for any number of them, and again where it stopped."""

import os
import posixpath
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import tensorflow as tf

from unet.data.examples import Pixels
from unet.data.files import files_below, is_folder, is_remote, join, read_bytes
from unet.data.images import ENDINGS, TIFF_ENDINGS, BadImage, ImageFile
from unet.errors import UnetError
from unet.mask_files import MaskFiles
from unet.prediction import Predictor
from unet.read_ahead import read_ahead


class PredictionError(UnetError):
    """Images that nothing can be predicted for. The message says what to give instead."""


@dataclass(frozen=True)
class Source:
    """An image file, and the name of its mask below the directory of the masks, without ending."""

    path: str
    name: str


@dataclass
class Outcome:
    """What came of the images; a page of a stack is an image."""

    files: int = 0
    """Those that were looked at."""
    written: int = 0
    there: int = 0
    """Masks that were there already."""
    failed: dict[str, str] = field(default_factory=dict)
    """Why, by file."""


@dataclass(frozen=True)
class _Page:
    source: Source
    name: str
    image: Pixels | None = None
    """None where the mask is there, or the page cannot be read."""
    problem: str = ""
    is_last: bool = True


def find_sources(places: Sequence[str], into: str) -> list[Source]:
    """The image files that `places` means: files, and directories with all that is below them.

    Masks of a directory's images keep their place below it. What lies in `into` is not looked at.

    Raises:
        PredictionError: there is no image at one of the places, or two would have the same mask.
    """
    found: dict[str, Source] = {}
    for place in places:
        try:
            sources = _sources_at(place, into)
        except OSError as error:
            raise PredictionError(f"{place} cannot be looked at ({error}).") from error
        if not sources:
            raise PredictionError(
                f"{place} has no image below it, beside what lies in {into}: no file ends in {', '.join(ENDINGS)}."
            )
        for source in sources:
            other = found.setdefault(source.name, source)
            if other.path != source.path:
                raise PredictionError(
                    f"{other.path} and {source.path} would have the same mask, {source.name}.png: predict them one "
                    "after the other, with different --into."
                )
    for source in found.values():
        if _real(source.path) == _real(join(into, source.name + ".png")):
            raise PredictionError(f"The mask of {source.path} would take its place: give another --into.")
    return list(found.values())


def predict_files(
    predictor: Predictor,
    sources: Sequence[Source],
    masks: MaskFiles,
    report: Callable[[Outcome, str], None] = lambda outcome, path: None,
) -> Outcome:
    """Write the masks of all images that have none yet. One that cannot be read does not stop the others.

    Args:
        report: is told after each image how far it has come, and which file the image was in.

    Raises:
        MaskError: masks cannot be written, or there are some of another model.
    """
    outcome = Outcome()
    for page in read_ahead(_pages(sources, predictor.description.channels, masks)):
        problem = page.problem
        if page.image is not None:
            try:
                masks.write(page.name, page.image, predictor(page.image))
                outcome.written += 1
            except (MemoryError, tf.errors.ResourceExhaustedError):
                problem = "does not fit into memory; give a smaller --tile, or cut it into parts"
        elif not problem:
            outcome.there += 1
        if problem:
            outcome.failed[page.source.path] = problem
        outcome.files += page.is_last
        report(outcome, page.source.path)
    return outcome


def _sources_at(place: str, into: str) -> list[Source]:
    if not is_folder(place):
        if not is_remote(place) and not tf.io.gfile.exists(place):
            raise PredictionError(f"There is no {place}. Give image files, or directories that have some.")
        return [Source(place, posixpath.splitext(posixpath.basename(place))[0])]
    masks = _real(into) + "/"
    return [
        Source(join(place, name), posixpath.splitext(name)[0])
        for name in sorted(files_below(place))
        if name.lower().endswith(ENDINGS) and not _real(join(place, name)).startswith(masks)
    ]


def _pages(sources: Sequence[Source], channels: int, masks: MaskFiles) -> Iterator[_Page]:
    """The pages of all files, read where they have no mask yet."""
    for source in sources:
        # Only a TIFF has to be opened to know how many masks it has.
        if not source.path.lower().endswith(TIFF_ENDINGS) and masks.has(source.name):
            yield _Page(source, source.name)
            continue
        try:
            file = ImageFile(read_bytes(source.path))
        except (BadImage, OSError) as error:
            yield _Page(source, source.name, problem=str(error))
            continue
        for number in range(file.pages):
            name = source.name if file.pages == 1 else f"{source.name}-{number:03d}"
            image, problem = None, ""
            if not masks.has(name):
                try:
                    image = file.image(number, channels)
                except BadImage as error:
                    problem = f"page {number} {error}" if file.pages > 1 else str(error)
            yield _Page(source, name, image, problem, is_last=number == file.pages - 1)


def _real(path: str) -> str:
    return path.rstrip("/") if is_remote(path) else os.path.realpath(path)
