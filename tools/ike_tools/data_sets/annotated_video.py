"""A video that a tool has made: numbered .jpg frames and, in another folder, .png annotations."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from ike_data.runtime.atomic import atomic_folder
from ike_data.runtime.errors import InputError
from ike_tools.masks.mask_file import write_hard_mask

JPEG_QUALITY = 95


def check_new(*folders: Path) -> None:
    """Raise InputError where one of the folders, each below an --out_path, is there already."""
    for folder in folders:
        if folder.exists():
            raise InputError(f"{folder}: exists; give another --out_path, or remove it")


def write_annotated_video(
    frames: Path, annotations: Path, video: Iterable[tuple[np.ndarray, np.ndarray]]
) -> None:
    """Write both folders, each whole or not at all.

    ``video`` has uint8 RGB [height, width, 3] and the mask, bool [height, width], of each frame.
    """
    # The frames get their name last: without annotations they would be run, and not scored.
    with atomic_folder(frames) as frames_folder, atomic_folder(annotations) as annotations_folder:
        for idx, (image, mask) in enumerate(video):
            Image.fromarray(image).save(frames_folder / f"{idx:05d}.jpg", quality=JPEG_QUALITY)
            write_hard_mask(annotations_folder / f"{idx:05d}.png", mask)
