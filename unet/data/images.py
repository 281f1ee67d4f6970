"""Decodes image files: PNG, JPEG, BMP and TIFF, 8 or 16 bit, and says in plain words what cannot be taken.

Pillow reads what it reads right. It cuts 16-bit colour to 8 bits without a word, so that such files go to
tifffile (TIFF) or TensorFlow (PNG).
"""

import io
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import IO, cast

import numpy as np
import numpy.typing as npt
import tifffile
from PIL import Image, ImageOps, UnidentifiedImageError

from unet.data.examples import Pixels
from unet.data.files import is_remote, read_bytes

ENDINGS = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
TIFF_ENDINGS = (".tif", ".tiff")

Values = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]

_COLOUR_MODES = ("RGB", "RGBA", "RGBX", "RGBa", "CMYK", "YCbCr", "LAB", "HSV")
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R 601, as Pillow weighs colours

_Array = npt.NDArray[np.generic]

_ORIENTATION = 0x0112
_UPRIGHT: dict[int, Callable[[_Array], _Array]] = {
    2: np.fliplr,
    3: lambda pixels: np.rot90(pixels, 2),
    4: np.flipud,
    5: lambda pixels: np.rot90(np.fliplr(pixels)),
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: np.rot90(np.fliplr(pixels), -1),
    8: np.rot90,
}
"""What is done to pixels that a camera notes to lie otherwise."""


class BadImage(Exception):
    """A file that cannot be taken: what it has, and the remedy, to stand behind its name."""


class ImageFile:
    """One file, with its pages: a TIFF may have several, all others have one. Used as a context.

    Args:
        source: the file's address, or its bytes.

    Raises:
        BadImage: it is no image, or one that moves, or cannot be opened.
    """

    def __init__(self, source: str | bytes) -> None:
        with _in_plain_words(), ExitStack() as opened:
            if isinstance(source, str) and is_remote(source):
                source = _whole_file(source)
            self._source = source
            self._tiff: tifffile.TiffFile | None = None
            self.pages = 1
            if _is_tiff(self._head()):
                self._tiff = tifffile.TiffFile(opened.enter_context(self._stream()))
                self.pages = len(self._tiff.pages)
                self._refuse_headless_stack(self._tiff)
            self._pillow = Image.open(opened.enter_context(self._stream()))
            if (
                not self._tiff
                and getattr(self._pillow, "is_animated", False)
                and self._pillow.format != "MPO"
            ):
                raise BadImage(
                    "is animated; save each of its pictures as a file, or all as a multi-page TIFF"
                )
            self._opened = opened.pop_all()

    def __enter__(self) -> "ImageFile":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        self._opened.close()

    def image(self, page: int, channels: int) -> Pixels:
        """uint8 or uint16 [height, width, channels].

        Raises:
            BadImage: torn, or with pixels that are no 8- or 16-bit numbers.
        """
        with _in_plain_words():
            deep = self._deep(page)
            if deep is not None:
                return _with_channels(_whole_numbers(deep), channels)
            picture = self._picture(page)
            if picture.mode.startswith("I") or picture.mode == "F":
                return _with_channels(_whole_numbers(np.asarray(picture)), channels)
            if picture.mode not in ("1", "L", "LA", "La", "P", "PA", *_COLOUR_MODES):
                raise BadImage(f"has pixels of kind {picture.mode}; save it as 8- or 16-bit grey or RGB")
            pixels = np.array(picture.convert("L" if channels == 1 else "RGB"), np.uint8)
            return pixels.reshape(*pixels.shape[:2], channels)

    def mask(self, page: int) -> tuple[Values, bool]:
        """uint8 or uint16 [height, width], and whether it has two tones only: then its values are 0 and 1.

        A palette image gives its indices, whatever the colours.

        Raises:
            BadImage: torn, or not one whole number for each pixel.
        """
        with _in_plain_words():
            deep = self._deep(page)
            picture = None if deep is not None else self._picture(page)
            if picture is not None and picture.mode == "1":
                return np.array(picture, np.uint8), True
            if deep is not None:
                values = _whole_numbers(deep)
            elif picture is not None and (picture.mode in ("L", "P", "F") or picture.mode.startswith("I")):
                values = _whole_numbers(np.array(picture))
            elif picture is not None and picture.mode in ("RGB", "RGBA", "LA"):
                values = np.array(picture, np.uint8)
            else:
                raise BadImage(f"has pixels of kind {picture and picture.mode}; {_MASK_REMEDY}")
            if values.ndim == 3:
                # Grey that was saved as colour says as much as grey.
                values = values[..., : 3 if values.shape[-1] >= 3 else 1]
                if (values != values[..., :1]).any():
                    raise BadImage(f"is a colour image; {_MASK_REMEDY}")
            flat: Values = values[..., 0] if values.ndim == 3 else values
            return cast(Values, np.ascontiguousarray(flat)), False

    @property
    def turned(self) -> bool:
        """Whether a camera noted that the picture lies on its side; it is read upright, as it is shown."""
        return self._pillow.getexif().get(_ORIENTATION, 1) in (5, 6, 7, 8)

    @property
    def is_jpeg(self) -> bool:
        return self._pillow.format in ("JPEG", "MPO")

    def _stream(self) -> IO[bytes]:
        if isinstance(self._source, bytes):
            return io.BytesIO(self._source)
        try:
            return open(self._source, "rb")
        except OSError as error:
            raise BadImage(_unreadable(error.strerror or str(error))) from None

    def _head(self) -> bytes:
        with self._stream() as stream:
            return stream.read(32)

    @staticmethod
    def _refuse_headless_stack(tiff: tifffile.TiffFile) -> None:
        # ImageJ writes what is larger than 4 GiB as one image with the others' bare pixels behind it.
        meant = int((tiff.imagej_metadata or {}).get("images", 1)) if tiff.is_imagej else 1
        if meant > 1 and len(tiff.pages) == 1:
            raise BadImage(
                f"is an ImageJ stack of {meant} images of which only one has a header; save it as BigTIFF, or each "
                "image as a file"
            )

    def _picture(self, page: int) -> Image.Image:
        self._pillow.seek(page)
        self._pillow.load()
        return ImageOps.exif_transpose(self._pillow) if not self._tiff else self._pillow

    def _deep(self, page: int) -> _Array | None:
        """Pixels of more than 8 bits, which Pillow would cut; None where it would not."""
        if self._tiff is None:
            return _decode_deep_png(self._source) if _is_deep_colour_png(self._head()) else None
        found = cast(tifffile.TiffPage, self._tiff.pages[page])
        if found.bitspersample <= 8:
            return None
        try:
            pixels = np.asarray(found.asarray())
        except (ValueError, ImportError) as error:
            if "imagecodecs" not in str(error) and not isinstance(error, ImportError):
                raise
            if found.samplesperpixel == 1 and found.bitspersample == 16:
                return None  # 16-bit grey is what Pillow reads right
            raise BadImage(
                f"has {found.bitspersample} bits and compression {tifffile.COMPRESSION(found.compression).name}, which "
                "are not read together; save it with 16 bits, and without compression or with deflate"
            ) from None
        if pixels.ndim == 3 and found.axes == "SYX":
            pixels = np.moveaxis(pixels, 0, -1)
        if pixels.ndim not in (2, 3):
            raise BadImage(f"has an array of {pixels.ndim} dimensions on a page; save each slice as a page")
        if found.photometric == tifffile.PHOTOMETRIC.MINISWHITE and pixels.dtype == np.uint16:
            pixels = np.uint16(65535) - pixels
        upright = _UPRIGHT.get(int(found.tags.valueof(_ORIENTATION, 1)))
        return upright(pixels) if upright else pixels


_MASK_REMEDY = "save it as a grey or palette image with one value for each class (PNG, 8 or 16 bit)"


def _is_tiff(data: bytes) -> bool:
    return data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def _is_deep_colour_png(data: bytes) -> bool:
    # Bit depth and colour type stand at fixed places of the first chunk (PNG specification, 11.2.1).
    return data[:8] == b"\x89PNG\r\n\x1a\n" and len(data) > 26 and data[24] == 16 and data[25] in (2, 4, 6)


def _decode_deep_png(source: str | bytes) -> _Array:
    import tensorflow as tf

    data = _whole_file(source) if isinstance(source, str) else source
    try:
        return np.asarray(tf.io.decode_png(data, dtype=tf.uint16))
    except tf.errors.OpError:
        raise BadImage(_TORN) from None


def _whole_file(address: str) -> bytes:
    try:
        return read_bytes(address)
    except OSError as error:
        raise BadImage(_unreadable(str(error))) from None


def _unreadable(reason: str) -> str:
    return f"cannot be opened ({reason}); check that it is there and that you may read it"


_TORN = "cannot be read as an image: its data are damaged or cut off; copy it again from where it came from"


@contextmanager
def _in_plain_words() -> Iterator[None]:
    try:
        yield
    except BadImage:
        raise
    except Image.DecompressionBombError:
        raise BadImage(
            "has more pixels than is safe to decode; cut it into parts, or save it as an uncompressed TIFF"
        ) from None
    except UnidentifiedImageError:
        raise BadImage(
            "cannot be read as an image: it is none of PNG, JPEG, TIFF and BMP; export it again"
        ) from None
    except MemoryError:
        raise BadImage("does not fit into memory; cut it into parts") from None
    except Exception:
        # Decoders raise whatever the damage makes them stumble over: OSError, SyntaxError, struct.error, IndexError …
        raise BadImage(_TORN) from None


def _whole_numbers(pixels: _Array) -> Values:
    """uint8 and uint16 as they are, other integers as uint16 where they fit."""
    if pixels.dtype.kind == "f":
        missing = " and pixels that are no numbers (NaN)" if not np.isfinite(pixels).all() else ""
        raise BadImage(f"has float pixels{missing}; scale them and save it with 8- or 16-bit integers")
    if pixels.dtype.kind == "b" or pixels.dtype == np.uint8:
        return cast(Values, pixels.astype(np.uint8, copy=False))
    if pixels.dtype.kind not in "iu":
        raise BadImage(f"has pixels of type {pixels.dtype}; save it with 8- or 16-bit integers")
    least, most = int(np.min(pixels)), int(np.max(pixels))
    if least < 0 or most > 65535:
        raise BadImage(f"has pixels from {least} to {most}; scale them to 0 to 65535 and save it with 16 bit")
    return cast(Values, pixels.astype(np.uint16, copy=False))


def _with_channels(pixels: Values, channels: int) -> Pixels:
    """Grey as colour or colour as grey; what is beyond three channels (alpha) is left out."""
    if pixels.ndim == 2:
        pixels = pixels[..., np.newaxis]
    if pixels.shape[-1] == 2:  # grey with alpha
        pixels = pixels[..., :1]
    pixels = pixels[..., :3]
    if channels == 1 and pixels.shape[-1] == 3:
        grey = np.rint(pixels.astype(np.float32) @ _LUMA)
        return np.ascontiguousarray(grey[..., np.newaxis].astype(pixels.dtype))
    if channels == 3 and pixels.shape[-1] == 1:
        pixels = cast(Pixels, np.repeat(pixels, 3, axis=-1))
    return cast(Pixels, np.ascontiguousarray(pixels))
