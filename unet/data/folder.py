"""Images and masks as files, paired by their names: `images/{name}.*` and `masks/{name}.*`, or two stacks."""

import hashlib
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from unet.data.examples import Example
from unet.data.files import FileFacts, absolute, facts_of, files_below, is_folder, join
from unet.data.images import ENDINGS, TIFF_ENDINGS, BadImage, ImageFile
from unet.data.source import MaskValues, Problems, listing, size
from unet.data.split import counting_order
from unet.settings import DataSettings


@dataclass(frozen=True)
class Pair:
    """An image file and its mask file, as paths below the folder."""

    name: str
    image: str
    mask: str
    """Empty: there is none."""


@dataclass(frozen=True)
class Page:
    """One example."""

    name: str
    pair: Pair
    number: int | None = None


class FolderSource:
    """The examples of some pairs of files.

    Args:
        pages: what to read, those of one pair behind each other.
    """

    def __init__(self, settings: DataSettings, pages: Sequence[Page]) -> None:
        self._folder, self._settings, self._pages = settings.folder, settings, tuple(pages)
        self._values = MaskValues(settings)
        self.names = tuple(page.name for page in self._pages)
        addresses = [join(self._folder, page.pair.image) for page in self._pages]
        self.files = tuple(
            address if page.number is None else f"{address} page {page.number}"
            for address, page in zip(addresses, self._pages, strict=True)
        )
        groups: dict[Pair, list[int]] = {}
        for number, page in enumerate(self._pages):
            groups.setdefault(page.pair, []).append(number)
        self.groups = tuple(groups.values())
        self.fingerprint = _fingerprint(self._folder, groups, self.names)

    def load(self, numbers: Sequence[int]) -> Iterator[Example | Problems]:
        pages = [self._pages[number] for number in numbers]
        pair = pages[0].pair
        problems: list[str] = []
        image = _opened(self._folder, pair.image, problems)
        mask = _opened(self._folder, pair.mask, problems)
        try:
            for page in pages:
                yield self._example(page, image, mask) if image and mask else tuple(problems)
        finally:
            for file in (image, mask):
                if file is not None:
                    file.close()

    def _example(self, page: Page, image: ImageFile, mask: ImageFile) -> Example | Problems:
        names = [
            path if page.number is None else f"{path} page {page.number}"
            for path in (page.pair.image, page.pair.mask)
        ]
        problems: list[str] = []
        number, pixels, classes = page.number or 0, None, None
        try:
            pixels = image.image(number, self._settings.channels)
        except BadImage as error:
            problems.append(f"{names[0]} {error}")
        try:
            values, two_tone = mask.mask(number)
            found = self._values.classes(values, two_tone, mask.is_jpeg)
            if isinstance(found, str):
                problems.append(f"{names[1]} {found}")
            else:
                classes = found
            if pixels is not None and pixels.shape[:2] != values.shape:
                turned = image.turned != mask.turned and pixels.shape[1::-1] == values.shape
                problems.append(
                    f"{names[0]} is {size(pixels)} and {names[1]} is {size(values)}; both have to be of the same size"
                    + (
                        ": one of them carries a camera's note that it lies on its side, save both upright"
                        if turned
                        else ", export the mask again from this image"
                    )
                )
        except BadImage as error:
            problems.append(f"{names[1]} {error}")
        if problems or pixels is None or classes is None:
            return tuple(problems)
        return Example(pixels, classes)


def find_pages(settings: DataSettings, problems: list[str]) -> list[Page]:
    """All images of the folder, in counting order, those without a mask too.

    What is wrong with names, masks and stacks goes to `problems`.
    """
    folder = settings.folder
    try:
        if not is_folder(folder):
            problems.append(
                f"there is no folder {folder}; data.folder is a path from the working directory or gs://…"
            )
            return []
    except OSError as error:
        problems.append(f"{folder} cannot be reached ({error}); check the address and your credentials")
        return []
    images = _files_by_name(folder, settings.images, "data.images", problems)
    masks = _files_by_name(folder, settings.masks, "data.masks", problems)
    if not images or not masks:
        return []
    _tell_apart(images, masks)
    pairs = [Pair(name, path, masks.get(name, "")) for name, path in images.items()]
    for name, path in masks.items():
        if name not in images:
            wanted = settings.images.replace("{name}", name)
            problems.append(
                f"{path} is a mask without an image; {wanted} is expected. Add it, or remove the mask"
            )
    return _with_pages(folder, pairs, problems)


def missing_mask(page: Page, settings: DataSettings) -> str:
    """What to say of an image that is selected and has none."""
    wanted = settings.masks.replace("{name}", page.pair.name)
    return f"{page.pair.image} has no mask; {wanted} is expected. Add it, or select other images"


def _opened(folder: str, path: str, problems: list[str]) -> ImageFile | None:
    try:
        return ImageFile(join(folder, path))
    except BadImage as error:
        problems.append(f"{path} {error}")
        return None


def _files_by_name(folder: str, pattern: str, label: str, problems: list[str]) -> dict[str, str]:
    """Paths of the images that match, by what stands for {name}, in counting order."""
    # Only below what is fixed about the pattern: the rest of the folder may be large.
    fixed = re.split(r"[*{]", pattern)[0].rpartition("/")[0]
    try:
        start = join(folder, fixed) if fixed else folder
        if not is_folder(start):
            problems.append(f"there is no folder {fixed}/ (looked for {start}); {label} is {pattern}")
            return {}
        paths = [f"{fixed}/{path}" if fixed else path for path in files_below(start)]
    except OSError as error:
        problems.append(f"{folder} cannot be listed ({error.strerror or error}); check that you may read it")
        return {}
    expression = _expression(pattern)
    matching = [
        (match["name"] if "{name}" in pattern else "", p) for p in paths if (match := expression.fullmatch(p))
    ]
    found: dict[str, str] = {}
    for name, path in sorted(matching, key=lambda one: (counting_order(one[0]), one[1])):
        if not path.lower().endswith(ENDINGS):
            continue
        if name in found:
            problems.append(
                f"{found[name]} and {path} both are {name!r} of {label}={pattern}; keep one of them"
                if "{name}" in pattern
                else f"{found[name]} and {path} both are {label}={pattern}; write {{name}} where their names differ"
            )
            continue
        found[name] = path
    if not found:
        paths.sort(key=counting_order)
        there = f"; there are {listing(paths)}" if paths else ", which is empty"
        endings = f", and ends in {', '.join(ENDINGS)}" if matching or not paths else ""
        problems.append(f"no file in {start} matches {label}={pattern}{endings}{there}")
    return found


def _tell_apart(images: dict[str, str], masks: dict[str, str]) -> None:
    """Where a pattern matches the others' files too: what is the mask of an image is no image itself."""
    for taken, given in ((images, masks), (masks, images)):
        of_others = {path: name for name, path in given.items() if name in taken}
        for name, path in list(taken.items()):
            if of_others.get(path, name) != name:
                del taken[name]


def _expression(pattern: str) -> re.Pattern[str]:
    parts = (re.escape(part) for part in re.split(r"(\*|\{name\})", pattern))
    special = {re.escape("*"): "[^/]*", re.escape("{name}"): "(?P<name>.+)"}
    return re.compile("".join(special.get(part, part) for part in parts))


def _with_pages(folder: str, pairs: list[Pair], problems: list[str]) -> list[Page]:
    """Pairs of TIFFs opened, in case they are stacks."""

    def pages_of(pair: Pair) -> tuple[int, int] | None:
        counts = []
        for path in filter(None, (pair.image, pair.mask)):
            if not path.lower().endswith(TIFF_ENDINGS):
                counts.append(1)
                continue
            try:
                with ImageFile(join(folder, path)) as file:
                    counts.append(file.pages)
            except BadImage:
                return None  # said with its reason when the file is read
        return counts[0], counts[-1]

    stacks = [pair for pair in pairs if (pair.image + pair.mask).lower().count(".tif")]
    with ThreadPoolExecutor(16) as pool:
        pages = dict(zip(stacks, pool.map(pages_of, stacks), strict=True))
    found: dict[str, Page] = {}
    for pair in pairs:
        of_image, of_mask = pages.get(pair) or (1, 1)
        if of_image != of_mask:
            problems.append(
                f"{pair.image} has {of_image} pages and {pair.mask} has {of_mask}; each page needs its mask, in the "
                "same order"
            )
            continue
        numbers: list[int | None] = list(range(of_image)) if of_image > 1 or not pair.name else [None]
        for number in numbers:
            name = pair.name if number is None else f"{pair.name}/{number}" if pair.name else str(number)
            if name in found:
                problems.append(
                    f"{pair.image} and {found[name].pair.image} both give the name {name}; rename one of them"
                )
                continue
            found[name] = Page(name, pair, number)
    return list(found.values())


def _fingerprint(folder: str, pairs: dict[Pair, list[int]], names: Sequence[str]) -> str:
    paths = [path for pair in pairs for path in (pair.image, pair.mask)]
    addresses = [join(folder, path) for path in paths]
    try:
        facts: list[FileFacts] = facts_of(addresses)
    except OSError:
        facts = []  # a file is gone meanwhile: said when it is read
    return hashlib.sha256(repr((absolute(folder), paths, facts, names)).encode()).hexdigest()
