"""The frames of a folder of images."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ike_data.errors import InputError
from ike_data.frame_order import numbered_images
from ike_data.images import image_size, read_image


class FrameFolder:
    """Frames in a folder of images; see `Frames`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.files = numbered_images(path)
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
