"""The frames of a video, from a folder of images or from a video file, one at a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import numpy as np

from ike_data.frame_folder import FrameFolder
from ike_data.images import IMAGE_SUFFIXES
from ike_data.runtime.errors import InputError
from ike_data.video_file import VideoFile


class Frames(Protocol):
    """A video that can be read again and again from its first frame.

    Iterating yields uint8 RGB arrays of shape [height, width, 3]; frame idx counts from 0 in the
    order of the frames, whatever the names of the files are.
    """

    path: Path
    count: int
    height: int  # pixels
    width: int  # pixels
    fps: float | None  # frames a second, > 0; None for images, and where a video does not tell
    names: list[str] | None  # of the files of a folder, in the order of the frames
    notes: list[str]  # on the order of the frames and the range of their values, if not plain
    n_bytes: int  # of all files

    @property
    def digest(self) -> str:
        """`digest_of` the files."""

    def __iter__(self) -> Iterator[np.ndarray]: ...


def open_frames(path: Path) -> Frames:
    """Open a folder of frames (`IMAGE_SUFFIXES`) or a video file.

    Raises:
        InputError: ``path`` does not exist, is an image, holds no frame, lacks one (see
            `order_frames`), has two files of one number, frames of different sizes or scales, or
            cannot be decoded.
    """
    if path.is_dir():
        return FrameFolder(path)
    if path.suffix.lower() in IMAGE_SUFFIXES and path.exists():
        # FFmpeg would take it for a video of one frame, also where it holds several images.
        raise InputError(
            f"frames_path {path}: is an image; give the folder of the frames, one image a file, or "
            "a video"
        )
    if path.is_file():
        return VideoFile(path)
    raise InputError(
        f"frames_path {path}: no such folder or video file; give a folder of frames "
        "(00000.jpg, 00001.jpg, ...) or a video"
    )


def describe_frames(frames: Frames) -> str:
    """One line: count, size, frame rate, notes on order and values, and bytes."""
    rate = "no frame rate" if frames.fps is None else f"{frames.fps:.3g} fps"
    plural = "s" if frames.count != 1 else ""
    return (
        f"{frames.path}: {frames.count} frame{plural}, {frames.width} x {frames.height} (width x "
        f"height), {', '.join([rate, *frames.notes])}, {frames.n_bytes} bytes"
    )
