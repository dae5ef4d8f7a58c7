"""The order of the frames of a folder, by the numbers in their names."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from pathlib import Path

from ike_data.errors import InputError
from ike_data.images import IMAGE_SUFFIXES

_LAST_NUMBER = re.compile(r"(\d+)\D*$")


def frame_number(path: Path) -> int:
    """The last number in a frame's file name: 7 for ``00007.jpg`` and for ``shot2_007.png``.

    Raises:
        InputError: the name has no number.
    """
    match = _LAST_NUMBER.search(path.stem)
    if match is None:
        raise InputError(
            f"{path}: the name has no frame number; name the frames 00000.jpg, 00001.jpg, ..."
        )
    return int(match.group(1))


def numbered_images(folder: Path) -> list[Path]:
    """The jpg and png files of ``folder``, sorted by their number, not as text.

    Raises:
        InputError: no image, a name without a number, two files of one number, or a gap.
    """
    images = [
        path
        for path in sorted(folder.iterdir())
        if not path.name.startswith(".") and path.suffix.lower() in IMAGE_SUFFIXES
    ]
    if not images:
        raise InputError(f"{folder}: holds no jpg or png frame; is it the right folder?")
    return in_order(images, "number the frames without a gap")


def in_order(files: Iterable[Path], remedy: str) -> list[Path]:
    """The files of a folder sorted by their number, not as text.

    Args:
        remedy: what to do about a gap.

    Raises:
        InputError: a name without a number, two files of one number, or a gap.
    """
    by_number: dict[int, Path] = {}
    for path in files:
        number = frame_number(path)
        if number in by_number:
            raise InputError(
                f"{path}: has the same number as {by_number[number].name}; keep one of them"
            )
        by_number[number] = path
    numbers = sorted(by_number)
    for before, after in itertools.pairwise(numbers):
        if after != before + 1:
            raise InputError(
                f"{by_number[after].parent}: frame {before + 1} is missing (after "
                f"{by_number[before].name} comes {by_number[after].name}); {remedy}"
            )
    return [by_number[number] for number in numbers]
