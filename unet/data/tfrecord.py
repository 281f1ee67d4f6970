"""Images and masks in TFRecord shards: features `image` and `mask` (PNG bytes) and `name`."""

import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from unet.data.cache import cache_folder
from unet.data.examples import Example
from unet.data.files import FileFacts, absolute, facts_of, files_below, is_folder, join, read_bytes
from unet.data.images import BadImage, ImageFile
from unet.data.shards import INDEX, Record, TornShard, data_of, index_path, keep_index, read_index, scan
from unet.data.source import MaskValues, Problems, listing, size
from unet.data.split import ReadList, Split, counting_order, split
from unet.settings import DataSettings

_OF = re.compile(r"(.*?)-?(\d+)-of-(\d+)(\.tfrecord)?")
_GROUP_BYTES = 8 * 2**20


@dataclass(frozen=True)
class Features:
    """What an image, its mask and its name are called in the records."""

    image: str = "image"
    mask: str = "mask"
    name: str = "name"


@dataclass(frozen=True)
class Place:
    """Where an example lies."""

    shard: str
    record: Record


class ShardSource:
    """Examples anywhere in shards.

    Args:
        places: by name, in the order of the examples.
    """

    def __init__(
        self,
        settings: DataSettings,
        folder: str,
        places: dict[str, Place],
        facts: dict[str, FileFacts],
        features: Features | None = None,
    ) -> None:
        self._settings, self._folder, self._features = settings, folder, features or Features()
        self._places, self._values = tuple(places.values()), MaskValues(settings)
        self.names = tuple(places)
        self.files = tuple(f"{join(folder, place.shard)} record {name}" for name, place in places.items())
        self.groups = self._grouped()
        self.fingerprint = repr((absolute(folder), sorted(facts.items()), self.names))

    def load(self, numbers: Sequence[int]) -> Iterator[Example | Problems]:
        places = [self._places[number] for number in numbers]
        first = min(place.record.offset for place in places)
        shard, end = places[0].shard, max(place.record.end for place in places)
        try:
            block = read_bytes(join(self._folder, shard), first, end - first)
        except OSError as error:
            said = f"{shard} cannot be read ({error}); check that it is there and that you may read it"
            yield from ((said,) for _ in numbers)
            return
        for place in places:
            record = place.record
            try:
                data = data_of(block[record.offset - first : record.end - first], record.length)
            except TornShard as error:
                yield (f"{shard} {error}",)
                continue
            yield self._example(data, f"{shard} record {record.name}:")

    def _example(self, data: bytes, where: str) -> Example | Problems:
        features = _parsed(data)
        problems: list[str] = []
        found: dict[str, bytes] = {}
        for name in (self._features.image, self._features.mask):
            value = _bytes_of(features, name)
            if value is not None:
                found[name] = value
            else:
                problems.append(
                    f"{where} has no feature {name!r} with the bytes of an image; it has {listing(sorted(features))}. "
                    "python -m unet.data.write_tfrecord writes what is read here"
                )
        if problems:
            return tuple(problems)
        try:
            with ImageFile(found[self._features.image]) as image:
                pixels = image.image(0, self._settings.channels)
        except BadImage as error:
            return (f"{where} its image {error}",)
        try:
            with ImageFile(found[self._features.mask]) as mask:
                values, two_tone = mask.mask(0)
                classes = self._values.classes(values, two_tone, mask.is_jpeg)
        except BadImage as error:
            return (f"{where} its mask {error}",)
        if isinstance(classes, str):
            return (f"{where} its mask {classes}",)
        if pixels.shape[:2] != classes.shape:
            return (
                f"{where} its image is {size(pixels)} and its mask {size(classes)}; both have to be of the same size, "
                "write the shards again",
            )
        return Example(pixels, classes)

    def _grouped(self) -> list[list[int]]:
        """Neighbours in a shard together, a few megabytes each: one read for all of them."""
        order = sorted(
            range(len(self._places)), key=lambda n: (self._places[n].shard, self._places[n].record.offset)
        )
        groups: list[list[int]] = []
        for number in order:
            place = self._places[number]
            first = self._places[groups[-1][0]] if groups else None
            if (
                first is not None
                and first.shard == place.shard
                and place.record.end - first.record.offset <= _GROUP_BYTES
            ):
                groups[-1].append(number)
            else:
                groups.append([number])
        return groups


def find_shards(
    settings: DataSettings, read_list: ReadList, problems: list[str]
) -> tuple[ShardSource, Split]:
    """The examples of all `*.tfrecord` in the folder that are selected."""
    paths = shards_in(settings.folder, problems)
    if not paths:
        return ShardSource(settings, settings.folder, {}, {}), Split()
    places, facts = places_of(settings, paths, Features(), problems)
    parts = split(list(places), settings, read_list) if places else Split()
    problems += parts.problems
    chosen = {name: place for name, place in places.items() if name in parts.all}
    return ShardSource(settings, settings.folder, chosen, facts), parts


def shards_in(folder: str, problems: list[str]) -> list[str]:
    """Shards below a folder. One that its neighbours count and that is not there is a problem."""
    try:
        if not is_folder(folder):
            problems.append(f"there is no folder {folder}; python -m unet.data.write_tfrecord writes one")
            return []
        paths = sorted(
            (path for path in files_below(folder) if path.endswith(".tfrecord")), key=counting_order
        )
    except OSError as error:
        problems.append(f"{folder} cannot be listed ({error}); check the address and your credentials")
        return []
    if not paths:
        problems.append(
            f"no file in {folder} ends in .tfrecord; python -m unet.data.write_tfrecord FOLDER {folder} writes them"
        )
    problems += missing_shards(paths)
    return paths


def missing_shards(paths: Sequence[str]) -> list[str]:
    """What is said of shards that the names of the others count: data-00000-of-00004.tfrecord."""
    counted: dict[tuple[str, int], set[int]] = {}
    for path in paths:
        if match := _OF.fullmatch(path):
            counted.setdefault((match[1], int(match[3])), set()).add(int(match[2]))
    return [
        f"of the {count} shards {start}-*-of-{count:05d} these are missing: "
        f"{listing(sorted(set(range(count)) - there))}; copy the folder again"
        for (start, count), there in counted.items()
        if len(there) < count
    ]


def places_of(
    settings: DataSettings, paths: Sequence[str], features: Features, problems: list[str], folder: str = ""
) -> tuple[dict[str, Place], dict[str, FileFacts]]:
    """Where each example lies, by name in counting order: from an index, or by reading all shards once."""
    folder = folder or settings.folder
    try:
        facts = dict(zip(paths, facts_of(join(folder, path) for path in paths), strict=True))
    except OSError as error:
        problems.append(f"the shards of {folder} cannot be read ({error}); check that you may read them")
        return {}, {}
    kept = index_path(cache_folder(settings.cache_dir), folder, facts, (features.name,))
    records = read_index(join(folder, INDEX), facts) or read_index(str(kept), facts)
    if records is None:
        before = len(problems)
        records = _scan_all(folder, facts, features, problems)
        if len(problems) == before:
            keep_index(kept, records)
    found: dict[str, Place] = {}
    for path in paths:
        for record in records[path]:
            if record.name in found:
                problems.append(
                    f"{found[record.name].shard} and {path} both have an example {record.name!r}; write the shards "
                    "again with different names"
                )
            found[record.name] = Place(path, record)
    return {name: found[name] for name in sorted(found, key=counting_order)}, facts


def _scan_all(
    folder: str, facts: dict[str, FileFacts], features: Features, problems: list[str]
) -> dict[str, list[Record]]:
    def name_of(data: bytes) -> str:
        parsed = _parsed(data)
        value = _bytes_of(parsed, features.name)
        if value is None:
            raise TornShard(
                f"has a record without the feature {features.name!r}; it has {listing(sorted(parsed))}. "
                "python -m unet.data.write_tfrecord writes what is read here"
            )
        return value.decode("utf-8", "replace")

    def scanned(path: str) -> list[Record] | str:
        try:
            return scan(join(folder, path), facts[path].size, name_of)
        except TornShard as error:
            return f"{path} {error}"
        except OSError as error:
            return f"{path} cannot be read ({error}); check that you may read it"

    with ThreadPoolExecutor(8) as pool:
        results = dict(zip(facts, pool.map(scanned, facts), strict=True))
    problems += [found for found in results.values() if isinstance(found, str)]
    return {path: [] if isinstance(found, str) else found for path, found in results.items()}


def _parsed(data: bytes) -> Mapping[str, Any]:
    """The features of a tf.train.Example; none where it is something else."""
    import tensorflow as tf

    try:
        found: Mapping[str, Any] = tf.train.Example.FromString(data).features.feature
    except Exception:  # protobuf's DecodeError, which TensorFlow does not hand on
        return {}
    return found


def _bytes_of(features: Mapping[str, Any], name: str) -> bytes | None:
    values = list(features[name].bytes_list.value) if name in features else []
    return bytes(values[0]) if len(values) == 1 else None
