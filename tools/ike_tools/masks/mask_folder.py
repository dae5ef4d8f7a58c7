"""A folder of masks, .pt or .png, one a frame: finding them by number."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from ike_data.folders import files_of
from ike_data.frame_order import natural_order, order_masks
from ike_data.images import IMAGE_SUFFIXES
from ike_data.runtime.errors import InputError


def numbered_masks(folder: Path, frame_stems: Collection[str] = ()) -> list[Path]:
    """The masks of ``folder``, .pt or .png, by number, or named as frames.

    Args:
        frame_stems: the names of the frames without their suffix, where they are known.

    Raises:
        InputError: there is no mask, .pt and .png stand side by side, or a number is missing.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    maps, images = files_of(folder, ".pt"), files_of(folder, ".png")
    if maps and images:
        raise InputError(f"{folder}: holds both .pt and .png masks; keep one kind")
    if maps or images:
        files = maps or images
        named = all(path.stem in frame_stems for path in files)
        return natural_order(files) if named else order_masks(files)
    raise InputError(
        f"{folder}: holds no mask; expected 00000.pt, 00001.pt, ... or 00000.png, 00001.png, ...; "
        "if they are in a folder inside it, such as iter_19 or final/masks, give that"
    )


def masks_of_video(folder: Path, n_frames: int) -> list[Path]:
    """As `numbered_masks`, one for each frame of a video.

    InputError, too, where their number is not that of the frames.
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
        InputError: there is none, or an image of another format, or as `natural_order`.
    """
    if others := files_of(folder, *(suffix for suffix in IMAGE_SUFFIXES if suffix != ".png")):
        raise InputError(f"{others[0]}: an annotation is a .png; make it one (a jpg blurs it)")
    files = files_of(folder, ".png")
    if not files:
        raise InputError(f"{folder}: holds no annotation (.png); is it the right folder?")
    return natural_order(files)
