"""A folder of masks, .pt or .png, one a frame: finding them by number, and reading one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import project_root  # noqa: F401
from PIL import Image

from ike_data.errors import InputError
from ike_data.frame_order import natural_order, order_masks
from ike_data.images import check_pixels

# Of the modes of a grey PNG in Pillow; older releases open 16 bits as mode I.
_HIGHEST = {"1": 1, "L": 255, "I;16": 65535, "I": 65535}


def files_of(folder: Path, *suffixes: str) -> list[Path]:
    """The files of ``folder`` with one of ``suffixes``, by name; hidden ones are left out.

    None where there is no such folder.
    """
    return sorted(
        path
        for path in (folder.iterdir() if folder.is_dir() else ())
        if path.suffix.lower() in suffixes and not path.name.startswith(".")
    )


def folders_in(folder: Path) -> list[Path]:
    """The folders in ``folder``, as `files_of` its files."""
    return sorted(
        path
        for path in (folder.iterdir() if folder.is_dir() else ())
        if path.is_dir() and not path.name.startswith(".")
    )


def numbered_masks(folder: Path, how: str = "give one of these") -> list[Path]:
    """The masks of ``folder``, .pt or .png, by number; ``how`` to name one of its folders instead.

    Raises:
        InputError: there is none, .pt and .png stand side by side, or a number is missing.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    maps, images = files_of(folder, ".pt"), files_of(folder, ".png")
    if maps and images:
        raise InputError(f"{folder}: holds both .pt and .png masks; keep one kind")
    if maps or images:
        return order_masks(maps or images)
    inside = [path.name for path in folders_in(folder)]
    hint = " in it"
    if inside:
        hint = f" directly in it, not in its folders {', '.join(inside[:5])}; {how}"
    raise InputError(
        f"{folder}: holds no mask; expected 00000.pt, 00001.pt, ... or 00000.png, 00001.png, ..."
        f"{hint}"
    )


def masks_of_video(folder: Path, n_frames: int) -> list[Path]:
    """As `numbered_masks`, one for each frame of a video.

    Raises:
        InputError: as `numbered_masks`, or their number is not that of the frames.
    """
    files = numbered_masks(folder)
    if len(files) != n_frames:
        raise InputError(
            f"{folder}: holds {len(files)} masks, {files[0].name} to {files[-1].name}; the video "
            f"has {n_frames} frames and needs one for each"
        )
    return files


def png_files(folder: Path) -> list[Path]:
    """The annotations of ``folder`` in the natural order of their names.

    Raises:
        InputError: there is none, or a .jpg among them, or as `natural_order`.
    """
    if blurred := files_of(folder, ".jpg", ".jpeg"):
        raise InputError(f"{blurred[0]}: an annotation is a .png; jpg blurs its values")
    files = files_of(folder, ".png")
    if not files:
        raise InputError(f"{folder}: holds no annotation (.png); is it the right folder?")
    return natural_order(files)


def read_annotation(path: Path) -> np.ndarray:
    """Read an annotation as bool [height, width]: any non-zero pixel is object.

    Palette images are read as their indices; of colour images a pixel with any non-zero channel
    is object, whatever its alpha.

    Raises:
        InputError: the file is not an image or is damaged.
    """
    with _open_png(path) as image:
        if image.mode in ("LA", "RGBA"):
            image = image.convert("RGB")
        pixels = np.asarray(image)
    return pixels != 0 if pixels.ndim == 2 else (pixels != 0).any(axis=2)


def read_soft_mask(path: Path, height: int, width: int) -> np.ndarray:
    """Read a mask as float32 [height, width] in [0, 1].

    A grey .png is scaled by its highest value (255) and must have this size. A .pt holds [H, W, 1]
    or [H, W] of any size and is resized bilinearly, as the modules' own images are.

    Raises:
        InputError: the file cannot be read, is not a grey image or a soft mask in [0, 1], or is a
            .png of another size.
    """
    if path.suffix.lower() == ".pt":
        return _read_map(path, height, width)
    with _open_png(path) as image:
        if image.size != (width, height):
            raise InputError(
                f"{path}: is {image.width} x {image.height} pixels, its annotation is "
                f"{width} x {height}; save the mask at that size, or give the .pt folder"
            )
        if image.mode not in _HIGHEST:
            raise InputError(
                f"{path}: is an image of mode {image.mode}; a mask is grey (mode L, 0 to 255)"
            )
        return np.asarray(image).astype(np.float32) / np.float32(_HIGHEST[image.mode])


def _open_png(path: Path) -> Image.Image:
    if not path.is_file():  # a pipe would be waited for
        raise InputError(f"{path}: is not a file; make it again")
    try:
        image = Image.open(path, formats=("PNG",))
        check_pixels(image)
        image.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        # Pillow reports a broken PNG chunk as SyntaxError.
        raise InputError(f"{path}: cannot be read as an image ({error}); make it again") from error
    return image


def _read_map(path: Path, height: int, width: int) -> np.ndarray:
    # Not at the top: loading PyTorch takes seconds, and only .pt masks need it.
    import torch

    from ike_data.soft_masks import resize_mask
    from ike_data.tensor_files import load_tensor

    mask = load_tensor(path, "make it again")
    if mask.ndim == 3 and mask.shape[2] == 1:
        mask = mask[..., 0]  # [H, W]
    if mask.ndim != 2 or 0 in mask.shape:
        raise InputError(f"{path}: has shape {list(mask.shape)}; a soft mask is [H, W, 1]")
    mask = mask.to(torch.float32)
    if not bool(((mask >= 0) & (mask <= 1)).all()):  # false for NaN as well
        raise InputError(f"{path}: has values outside [0, 1]; a soft mask lies in [0, 1]")
    return resize_mask(mask, height, width).numpy()


def write_hard_mask(path: Path, mask: np.ndarray) -> None:
    """Write a mask, bool [height, width], as a grey .png of 0 and 255."""
    Image.fromarray(mask.astype(np.uint8) * 255).save(path)
