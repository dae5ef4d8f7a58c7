"""Image files, which may come from anybody: their size, and their pixels as RGB."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from ike_data.errors import InputError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
# Of others Pillow goes by the content, too, and would start Ghostscript for a .png that is an .eps.
_FORMATS = ("JPEG", "PNG")
# What Pillow raises for broken files: SyntaxError and ValueError come from PNG chunks.
_IMAGE_ERRORS = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)
# Of a frame. A file of 20 bytes can promise one of 65535 x 4000.
MAX_PIXELS = 8192 * 8192


def image_size(path: Path) -> tuple[int, int]:
    """Width and height of an image, pixels; reads only its header.

    Raises:
        InputError: the file is not an image or is damaged.
    """
    try:
        if not path.is_file():  # a pipe would wait for ever
            raise OSError("it is not a file")
        with Image.open(path, formats=_FORMATS) as image:
            check_pixels(image)
            return image.size
    except _IMAGE_ERRORS as error:
        raise _unreadable(path, error) from error


def check_pixels(image: Image.Image) -> None:
    """Raises ValueError where a whole ``image`` should not be held in memory."""
    if image.width * image.height > MAX_PIXELS:
        raise ValueError(f"it has {image.width} x {image.height} pixels")


def read_image(path: Path) -> np.ndarray:
    """Read an image of any mode as uint8 RGB, [height, width, 3]; alpha is dropped.

    Raises:
        InputError: the file is not an image or is damaged.
    """
    try:
        with Image.open(path, formats=_FORMATS) as image:
            check_pixels(image)
            image.load()
            if image.mode.startswith("I") or image.mode == "F":
                # 16-bit grey: Pillow's own conversion clips at 255 instead of scaling.
                grey = np.clip(np.asarray(image, dtype=np.float64) / 257.0, 0, 255)
                return np.repeat(grey.round().astype(np.uint8)[..., None], 3, axis=2)
            # By way of RGBA: Pillow warns about a palette whose transparency is dropped at once.
            via = "RGBA" if "transparency" in image.info else "RGB"
            return np.array(image.convert(via).convert("RGB"))
    except _IMAGE_ERRORS as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> InputError:
    return InputError(f"{path}: cannot be read as an image ({error}); replace or remove it")
