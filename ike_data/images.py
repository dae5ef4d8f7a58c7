"""Image files, which may come from anybody: their size, and their pixels as RGB."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from PIL import ExifTags, Image, ImageFile, ImageOps
from PIL.TiffImagePlugin import TiffImageFile

from ike_data.runtime.errors import InputError
from ike_data.value_range import FULL_RANGE, ValueRange

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".pnm")
# Pillow goes by the content of a file, and would start Ghostscript for a .png that is an .eps.
_FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "WEBP", "PPM")
# What is raised for broken files: SyntaxError and ValueError come from PNG chunks, TypeError from a
# TIFF's tags.
_IMAGE_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    Image.DecompressionBombError,
    cv2.error,
)
# Of a frame. A file of 20 bytes can promise one of 65535 x 4000.
MAX_PIXELS = 8192 * 8192
_ORIENTATION = ExifTags.Base.Orientation
_TIFF_SIZE, _TIFF_BITS, _TIFF_SAMPLE_FORMAT = (256, 257), 258, 339


class ImageHeader(NamedTuple):
    """What is known of an image before its pixels are read."""

    width: int  # pixels, of the image as it is shown: turned as its EXIF orientation says
    height: int
    is_turned: bool  # by a quarter, so that the file has height x width pixels
    is_deep: bool  # has more than 8 bits a value


def read_header(path: Path) -> ImageHeader:
    """Read the header of an image.

    Raises:
        InputError: the file is not an image, is damaged, holds several images, or values that are
            not whole numbers of at most 16 bits.
    """
    with _opened(path) as image:
        width, height = image.size
        if isinstance(image, TiffImageFile):  # some releases of Pillow have turned this size
            width, height = (image.tag_v2[tag] for tag in _TIFF_SIZE)
        if is_turned := _is_turned(image):
            width, height = height, width
        return ImageHeader(width, height, is_turned, _n_bits(image) > 8)


@contextmanager
def _opened(path: Path) -> Iterator[ImageFile.ImageFile]:
    """An image whose header has been read; what goes wrong with it is an InputError."""
    try:
        if not path.is_file():  # a pipe would wait for ever
            raise OSError("it is not a file")
        with Image.open(path, formats=_FORMATS) as image:
            check_pixels(image)
            if getattr(image, "is_animated", False):
                raise InputError(
                    f"{path}: holds several images; save each as a file of its own, or all as a "
                    "video file"
                )
            if not _has_whole_numbers(image):
                raise InputError(
                    f"{path}: has values with a sign, a decimal point or more than 16 bits; make "
                    "8 or 16 bits of all frames, in one scale"
                )
            # Pillow maps the pixels of a file with a name, and those of a turned TIFF wrongly.
            image.filename = ""
            yield image
    except _IMAGE_ERRORS as error:
        raise InputError(f"{path}: cannot be read as an image ({error}); replace it") from error


def _is_turned(image: ImageFile.ImageFile) -> bool:
    # Not image.getexif(): a PNG may have it behind its pixels, and would be decoded for it.
    return Image.Image.getexif(image).get(_ORIENTATION) in (5, 6, 7, 8)


def _has_whole_numbers(image: ImageFile.ImageFile) -> bool:
    """Whether the values are whole, have no sign and at most 16 bits."""
    if isinstance(image, TiffImageFile):
        kinds = image.tag_v2.get(_TIFF_SAMPLE_FORMAT, ())
        return set(kinds) <= {1, 4} and _n_bits(image) <= 16  # 1: whole, no sign; 4: not told
    return image.mode != "F"


def _n_bits(image: ImageFile.ImageFile) -> int:
    """Bits of each value. Pillow's mode does not tell them for colour: it makes 8 bits of 16."""
    if isinstance(image, TiffImageFile):
        return max(image.tag_v2.get(_TIFF_BITS, (1,)))
    if image.format not in ("PNG", "PPM"):
        return 8
    how = image.tile[0][3]  # of the decoder: "RGB;16B", or of a PPM ("RGB", its highest value)
    return how[1].bit_length() if isinstance(how, tuple) else 16 if ";16" in str(how) else 8


def check_pixels(image: Image.Image) -> None:
    """Raises ValueError where a whole ``image`` should not be held in memory."""
    if image.width * image.height > MAX_PIXELS:
        raise ValueError(
            f"it has {image.width} x {image.height} pixels, more than {MAX_PIXELS} in all"
        )


def read_image(path: Path, value_range: ValueRange = FULL_RANGE) -> np.ndarray:
    """Read an image of any mode as uint8 RGB, [height, width, 3]; alpha is dropped.

    It is turned as its EXIF orientation says. Of more than 8 bits ``value_range`` becomes 0 to 255.

    Raises:
        InputError: the file is not an image or is damaged.
    """
    with _opened(path) as image:
        if _n_bits(image) > 8:
            shown = Image.fromarray(value_range.to_8_bits(_deep_values(image, path)))
        else:
            # First to RGBA: Pillow warns about a palette whose transparency is dropped at once.
            shown = image.convert("RGBA" if "transparency" in image.info else "RGB")
        shown = shown.convert("RGB")
        # Alone: with the rest of an EXIF that is damaged the turned image could not be made.
        shown.info.clear()
        shown.getexif()[_ORIENTATION] = image.getexif().get(_ORIENTATION, 1)
        ImageOps.exif_transpose(shown, in_place=True)
        return np.array(shown)


def read_deep_values(path: Path) -> np.ndarray:
    """Read an image of more than 8 bits as uint16, [height, width] or RGB [height, width, 3].

    It is not turned.

    Raises:
        InputError: the file is damaged.
    """
    with _opened(path) as image:
        return _deep_values(image, path)


def _deep_values(image: Image.Image, path: Path) -> np.ndarray:
    if image.mode.startswith("I"):
        return np.asarray(image).astype(np.uint16)
    # Pillow makes 8 bits of 16-bit colour. But of damage it tells in one error, OpenCV in lines of
    # its own.
    image.load()
    values = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None or values.dtype != np.uint16 or values.ndim != 3:
        raise ValueError("its 16-bit colours cannot be decoded")
    return values[..., 2::-1]  # BGR or BGRA to RGB
