"""The frames of a folder of images."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ike_data.content_digest import digest_of
from ike_data.folders import files_of
from ike_data.frame_order import order_frames
from ike_data.images import IMAGE_SUFFIXES, ImageHeader, read_deep_values, read_header, read_image
from ike_data.runtime.errors import InputError
from ike_data.value_range import FULL_RANGE, ValueRange, find_value_range


class FrameFolder:
    """Frames in a folder of images; see `Frames`.

    Of 16-bit frames ``value_range`` becomes 0 to 255.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.files, order = order_frames(images_in(path))
        self.names: list[str] | None = [file.name for file in self.files]
        self.count = len(self.files)
        self.fps: float | None = None
        headers = [read_header(file) for file in self.files]
        self.width, self.height = headers[0].width, headers[0].height
        # Only headers are read here: a wrong size is found before any work is done.
        for file, header in zip(self.files, headers, strict=True):
            if (header.width, header.height) != (self.width, self.height):
                raise InputError(
                    f"{file}: is {_size(header, ' pixels')}, {self.files[0].name} is "
                    f"{_size(headers[0])}; all frames must have one size"
                )
        self.n_bytes = sum(file.stat().st_size for file in self.files)
        self.value_range = self._find_value_range([header.is_deep for header in headers])
        self.notes = [note for note in (order, self.value_range.note) if note]

    @functools.cached_property
    def digest(self) -> str:
        return digest_of(self.files)

    def _find_value_range(self, is_deep: list[bool]) -> ValueRange:
        """The range of 16-bit frames, one for the whole video."""
        deep = list(itertools.compress(self.files, is_deep))
        if not deep:
            return FULL_RANGE
        what = f"finding the range of the values in {self.path.name}"
        bar = tqdm(deep, desc=what, unit="frame", leave=False, delay=2)
        found = find_value_range(read_deep_values(file) for file in bar)
        if found != FULL_RANGE and len(deep) < self.count:
            raise InputError(
                f"{self.files[is_deep.index(False)]}: has 8 bits a value, {deep[0].name} has 16 of "
                "which few are used, so that they have no scale in common; save all frames alike"
            )
        return found

    def __iter__(self) -> Iterator[np.ndarray]:
        for file in self.files:
            image = read_image(file, self.value_range)
            if image.shape[:2] != (self.height, self.width):
                # An orientation that stands behind the pixels; or the file is another by now.
                raise InputError(
                    f"{file}: is {image.shape[1]} x {image.shape[0]} pixels when read to its end, "
                    f"and {self.width} x {self.height} by its beginning; save the frame anew, "
                    "turned as it is to be shown and without an EXIF orientation"
                )
            yield image


def names_in(path: Path) -> list[str] | None:
    """The file names of the frames in a folder, in their order; None for a video file.

    Raises:
        InputError: there is no frame, or as `order_frames`.
    """
    return [file.name for file in order_frames(images_in(path)).files] if path.is_dir() else None


def images_in(folder: Path) -> list[Path]:
    """The image files of ``folder``, not yet in order; InputError where there is none."""
    images = files_of(folder, *IMAGE_SUFFIXES)
    if not images:
        raise InputError(f"{folder}: holds no frame (jpg, png, tif, ...); is it the right folder?")
    return images


def _size(header: ImageHeader, unit: str = "") -> str:
    turned = " when turned as its EXIF orientation says" if header.is_turned else ""
    return f"{header.width} x {header.height}{unit}{turned}"
