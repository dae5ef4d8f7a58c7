"""A folder of masks, .pt or .png, one a frame: finding them by number."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from ike_data.folders import files_of
from ike_data.frame_order import natural_order, order_masks
from ike_data.images import IMAGE_SUFFIXES
from ike_data.layout import (
    FINAL,
    NETWORK,
    epoch_of,
    is_own_images,
    iteration_of,
    module_and_cycle,
)
from ike_data.runtime.errors import InputError

_SHOWN = 4  # folders in a message


def numbered_masks(
    folder: Path, how: str = "give one of these", frame_stems: Collection[str] = ()
) -> list[Path]:
    """The masks of ``folder``, .pt or .png, by number.

    Args:
        how: for the error message, how the user can name one of the folders in ``folder`` instead.

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
    inside = folders_of_masks(folder)
    hint = " in it"
    if inside:
        names = ", ".join(str(path.relative_to(folder)) for path in inside[:_SHOWN])
        more = f" and {len(inside) - _SHOWN} more" if len(inside) > _SHOWN else ""
        hint = f" directly in it, as there are in its folders {names}{more}; {how}"
    raise InputError(
        f"{folder}: holds no mask; expected 00000.pt, 00001.pt, ... or 00000.png, 00001.png, ..."
        f"{hint}"
    )


def folders_of_masks(folder: Path) -> list[Path]:
    """The folders in ``folder``, at any depth a stage may have, that hold masks, the last first.

    Those that the modules save come as they are made: the result, then the last cycle's network and
    graph, each with its last epoch or iteration. Pictures of masks are left out.
    """

    def is_result(path: Path) -> bool:
        # Beside the masks of a run's end lie pictures, too.
        return path.name == "masks" or FINAL not in path.relative_to(folder).parts

    found = [
        path
        for depth in ("*", "*/*", "*/*/*")
        for path in folder.glob(depth)
        if path.is_dir()
        and files_of(path, ".pt", ".png")
        and is_result(path)
        and not is_own_images(path)
    ]

    def place(path: Path) -> tuple[bool, int, bool, int]:
        parts = [path, *path.parents]
        run = next((of for part in parts if (of := module_and_cycle(part))), ("", 0))
        idx = next((n for n in (epoch_of(path), iteration_of(path)) if n is not None), 0)
        return FINAL in path.relative_to(folder).parts, run[1], run[0] == NETWORK, idx

    return sorted(sorted(found), key=place, reverse=True)


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
