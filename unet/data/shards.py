"""TFRecord files, record by record: where each begins, and whether its bytes are the ones that were written.

A record is its length (8 bytes), a checksum of that (4), its data, and a checksum of these (4); see
https://www.tensorflow.org/tutorials/load_data/tfrecord.
"""

import hashlib
import json
import logging
import os
import struct
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import google_crc32c

from unet.data.files import FileFacts, absolute, read_bytes

log = logging.getLogger(__name__)

HEADER, FOOTER = 12, 4
INDEX = "index.json"
"""Beside the shards: what the tool that wrote them knows of them."""

_BLOCK = 32 * 2**20
_MASK_DELTA = 0xA282EAD8


class TornShard(Exception):
    """Bytes that are not the ones that were written: what is wrong and the remedy, to stand behind its name."""


class Record(NamedTuple):
    """One example in a shard."""

    name: str
    offset: int
    """Of its length."""
    length: int
    """Of its data."""

    @property
    def end(self) -> int:
        return self.offset + HEADER + self.length + FOOTER


def data_of(record: bytes, expected: int | None = None) -> bytes:
    """The data of a record with its framing.

    Raises:
        TornShard: a checksum says otherwise.
    """
    if len(record) < HEADER:
        raise TornShard("is cut off; write it again, or copy it again from where it came from")
    length = _length(record)
    if expected is not None and length != expected:
        raise TornShard("was changed since its index was written; write it again")
    data, footer = record[HEADER : HEADER + length], record[HEADER + length : HEADER + length + FOOTER]
    if len(data) < length or len(footer) < FOOTER:
        raise TornShard("is cut off; write it again, or copy it again from where it came from")
    if _checksum(data) != int.from_bytes(footer, "little"):
        raise TornShard(
            "is damaged: its checksum is wrong; write it again, or copy it again from where it came from"
        )
    return data


def scan(address: str, size: int, name_of: Callable[[bytes], str]) -> list[Record]:
    """All records of a shard, by reading it once.

    Raises:
        TornShard: names the record from which on it cannot be read.
        OSError: it cannot be opened.
    """
    found: list[Record] = []
    buffer, start, offset = b"", 0, 0
    while offset < size:
        while True:
            piece = buffer[offset - start :]
            if len(piece) >= HEADER and len(piece) >= HEADER + _length_or_torn(piece, found) + FOOTER:
                break
            if start + len(buffer) >= size:
                raise TornShard(
                    f"is cut off in record {len(found)}; write it again, or copy it again from where it came from"
                )
            more = read_bytes(address, start + len(buffer), _BLOCK)
            if not more:
                raise TornShard("became shorter while it was read; start again when nobody writes it")
            buffer, start = piece + more, offset
        try:
            data = data_of(piece)
        except TornShard as error:
            raise TornShard(f"{error} (record {len(found)})") from None
        found.append(Record(name_of(data), offset, len(data)))
        offset = found[-1].end
    return found


def framed(data: bytes) -> bytes:
    """A record as it stands in a shard."""
    length = struct.pack("<Q", len(data))
    return b"".join(
        (length, _checksum(length).to_bytes(4, "little"), data, _checksum(data).to_bytes(4, "little"))
    )


def read_index(address: str, facts: dict[str, FileFacts]) -> dict[str, list[Record]] | None:
    """What an index says of these shards; None where it is missing or is another's."""
    try:
        written = json.loads(read_bytes(address))
        found = {
            shard: [Record(str(name), int(offset), int(length)) for name, offset, length in about["records"]]
            for shard, about in written["shards"].items()
        }
        sizes = {shard: int(about["size"]) for shard, about in written["shards"].items()}
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if sizes == {shard: fact.size for shard, fact in facts.items()} else None


def index_text(shards: dict[str, list[Record]]) -> str:
    """The index of whole shards."""
    about = {
        shard: {"size": records[-1].end if records else 0, "records": records}
        for shard, records in shards.items()
    }
    return json.dumps({"shards": about})


def index_path(folder: Path, address: str, facts: dict[str, FileFacts], features: Sequence[str]) -> Path:
    """Where the index of shards that have none beside them is kept."""
    name = hashlib.sha256(
        repr((absolute(address), sorted(facts.items()), tuple(features))).encode()
    ).hexdigest()[:32]
    return folder / f"{name}.shards"


def keep_index(path: Path, shards: dict[str, list[Record]]) -> None:
    """Write it for the next training; a disk that does not take it is no harm."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, partial = tempfile.mkstemp(".partial", path.stem, path.parent)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(index_text(shards))
        os.replace(partial, path)
    except OSError as error:
        log.warning(
            "The index of the shards cannot be kept in %s (%s).", path.parent, error.strerror or error
        )


def _length_or_torn(piece: bytes, before: list[Record]) -> int:
    try:
        return _length(piece)
    except TornShard as error:
        if not before:
            raise TornShard(
                "is no TFRecord file, or a compressed one; write it with python -m unet.data.write_tfrecord"
            ) from None
        raise TornShard(f"{error} (record {len(before)})") from None


def _length(record: bytes) -> int:
    if _checksum(record[:8]) != int.from_bytes(record[8:HEADER], "little"):
        raise TornShard(
            "is damaged: its checksum is wrong; write it again, or copy it again from where it came from"
        )
    return int.from_bytes(record[:8], "little")


def _checksum(data: bytes) -> int:
    """CRC-32C, turned by the rule of the format, so that checksums of checksums are no constants."""
    crc = int(google_crc32c.value(data))
    return ((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFFFFFF
