"""One mask or annotation file: its pixels as they stand in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from ike_data.images import check_pixels
from ike_data.runtime.errors import InputError

PALETTE, GREY, COLOUR = "palette", "grey", "colours"
# Pillow's modes of a PNG; older releases open 16 bits as mode I.
_KINDS = {
    "P": PALETTE,
    **dict.fromkeys(("1", "L", "LA", "I;16", "I"), GREY),
    **dict.fromkeys(("RGB", "RGBA"), COLOUR),
}
_HIGHEST = {"1": 1, "I;16": 65535, "I": 65535}


@dataclass(frozen=True)
class Png:
    """The pixels of a PNG."""

    kind: str  # `PALETTE`, `GREY` or `COLOUR`
    values: np.ndarray  # [height, width], of a palette its indices; of `COLOUR` [height, width, 3]
    highest: int  # value that the format has
    opaque: bool = True  # no pixel is transparent by an alpha channel


def png_kind(path: Path) -> str:
    """`PALETTE`, `GREY` or `COLOUR`; reads only the header.

    InputError where the file is not a PNG, or its header is damaged.
    """
    with _opened(path) as image:
        return _KINDS[image.mode]


def png_size(path: Path) -> tuple[int, int]:
    """Height and width of a PNG in pixels; as `png_kind`."""
    with _opened(path) as image:
        return image.height, image.width


def read_png(path: Path) -> Png:
    """Read a PNG of any mode.

    Raises:
        InputError: the file is not a PNG or is damaged; or its palette shows as background what
            would be read as object.
    """
    with _opened(path) as image:
        values = np.asarray(image)
        palette = image.getpalette() if image.mode == "P" else None
    kind, highest = _KINDS[image.mode], _HIGHEST.get(image.mode, 255)
    if palette is not None:
        _check_background(path, values, np.reshape(palette, (-1, 3)))
    if image.mode not in ("LA", "RGBA"):
        return Png(kind, values.astype(np.uint8) if image.mode == "1" else values, highest)
    opaque = bool((values[..., -1] == 255).all())
    return Png(kind, values[..., 0] if kind == GREY else values[..., :3], highest, opaque)


def read_map(path: Path, height: int, width: int) -> np.ndarray:
    """Read a soft mask that is a .pt as float32 [height, width], resized bilinearly.

    Raises:
        InputError: the file cannot be read, or is not [H, W, 1] or [H, W] in [0, 1].
    """
    # Not at the top: loading PyTorch takes seconds, and only .pt masks need it.
    import torch

    from ike_data.soft_masks import ROUNDING, resize_mask
    from ike_data.tensor_files import load_tensor

    mask = load_tensor(path, "make it again")
    if mask.ndim == 3 and mask.shape[2] == 1:
        mask = mask[..., 0]  # [H, W]
    if mask.ndim != 2 or 0 in mask.shape:
        raise InputError(f"{path}: has shape {list(mask.shape)}; a soft mask is [H, W, 1]")
    mask = mask.to(torch.float32)
    # False for NaN as well.
    if not bool(((mask >= -ROUNDING) & (mask <= 1 + ROUNDING)).all()):
        raise InputError(f"{path}: has values outside [0, 1]; a soft mask lies in [0, 1]")
    return resize_mask(mask.clamp_(0, 1), height, width).numpy()


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    if not path.is_file():  # a pipe would be waited for
        raise InputError(f"{path}: is not a file; make it again")
    try:
        with Image.open(path, formats=("PNG",)) as image:
            check_pixels(image)
            yield image
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        # Pillow reports a broken PNG chunk as SyntaxError.
        raise InputError(f"{path}: cannot be read as an image ({error}); make it again") from error


def _check_background(path: Path, values: np.ndarray, colours: np.ndarray) -> None:
    """Raises InputError where the background has black as its colour, but not 0 as its index.

    Image editors, and Pillow's quantize, put the brightest colour first.
    """
    used = np.flatnonzero(np.bincount(values.ravel(), minlength=1)[: len(colours)])
    black = used[~colours[used].any(axis=1)]
    if black.size and colours[0].any():
        raise InputError(
            f"{path}: index {black[0]} is black in its palette, but index 0, which is read as "
            "background, is not; save the mask as grey, 0 and 255"
        )


def write_hard_mask(path: Path, mask: np.ndarray) -> None:
    """Write a mask, bool [height, width], as a grey .png of 0 and 255."""
    Image.fromarray(mask.astype(np.uint8) * 255).save(path)
