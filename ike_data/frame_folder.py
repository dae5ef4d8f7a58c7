"""The frames of a folder of images."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ike_data.errors import InputError
from ike_data.frame_order import order_frames
from ike_data.images import IMAGE_SUFFIXES, image_size, read_image


class FrameFolder:
    """Frames in a folder of images; see `Frames`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.files, self.note = order_frames(images_in(path))
        self.names: list[str] | None = [file.name for file in self.files]
        self.count = len(self.files)
        self.fps: float | None = None
        self.width, self.height = image_size(self.files[0])
        # Only headers are read here: a wrong size is found before any work is done.
        for file in self.files[1:]:
            width, height = image_size(file)
            if (width, height) != (self.width, self.height):
                raise InputError(
                    f"{file}: is {width} x {height} pixels, {self.files[0].name} is "
                    f"{self.width} x {self.height}; all frames must have one size"
                )
        self.n_bytes = sum(file.stat().st_size for file in self.files)

    def __iter__(self) -> Iterator[np.ndarray]:
        for file in self.files:
            yield read_image(file)


def names_in(path: Path) -> list[str] | None:
    """The file names of the frames in a folder, in their order; None for a video file.

    Raises:
        InputError: there is no frame, or as `order_frames`.
    """
    return [file.name for file in order_frames(images_in(path)).files] if path.is_dir() else None


def images_in(folder: Path) -> list[Path]:
    """The image files of ``folder``, in no order of their frames.

    Raises:
        InputError: there is none.
    """
    images = [
        path
        for path in sorted(folder.iterdir())
        if not path.name.startswith(".") and path.suffix.lower() in IMAGE_SUFFIXES
    ]
    if not images:
        raise InputError(f"{folder}: holds no jpg or png frame; is it the right folder?")
    return images
