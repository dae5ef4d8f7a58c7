"""The frames of a video, from a folder of images or from a video file, one at a time."""

from __future__ import annotations

import itertools
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image
from tqdm import tqdm

from ike_data.errors import InputError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
# Of others Pillow goes by the content, too, and would start Ghostscript for a .png that is an .eps.
_FORMATS = ("JPEG", "PNG")
# What Pillow raises for broken files: SyntaxError and ValueError come from PNG chunks.
_IMAGE_ERRORS = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)
# FFmpeg draws a text file (tty) as pictures of its letters, and follows lists of other files.
_NO_VIDEO = ("tty", "concat", "hls", "dash", "sdp", "imf", "avisynth", "vapoursynth")
# Of a frame. A file of 20 bytes can promise one of 65535 x 4000.
MAX_PIXELS = 8192 * 8192
_LAST_NUMBER = re.compile(r"(\d+)\D*$")


class Frames(Protocol):
    """A video that can be read again and again from its first frame.

    Iterating yields uint8 RGB arrays of shape [height, width, 3]; frame idx counts from 0 in the
    order of the frames, whatever number the first file has.
    """

    path: Path
    count: int
    height: int  # pixels
    width: int  # pixels
    fps: float | None  # frames a second; None for a folder of images
    n_bytes: int  # of all files: tells another video under the same name

    def __iter__(self) -> Iterator[np.ndarray]: ...


def open_frames(path: Path) -> Frames:
    """Open a folder of frames (jpg or png) or a video file.

    Raises:
        InputError: ``path`` does not exist, holds no frame, has a gap in its numbering, two files
            of one number, frames of different sizes, or cannot be decoded.
    """
    if path.is_dir():
        return FrameFolder(path)
    if path.is_file():
        return VideoFile(path)
    raise InputError(
        f"frames_path {path}: no such folder or video file; give a folder of frames "
        "(00000.jpg, 00001.jpg, ...) or a video"
    )


def describe_frames(frames: Frames) -> str:
    """One line saying what was found: count, size and frame rate, and bytes (`saved_n_bytes`)."""
    rate = "no frame rate (a folder)" if frames.fps is None else f"{frames.fps:.3g} fps"
    plural = "s" if frames.count != 1 else ""
    return (
        f"{frames.path}: {frames.count} frame{plural}, "
        f"{frames.width} x {frames.height} (width x height), {rate}, {frames.n_bytes} bytes"
    )


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


class FrameFolder:
    """Frames in a folder of images; see `Frames`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.files = numbered_images(path)
        self.count = len(self.files)
        self.fps: float | None = None
        self.width, self.height = _image_size(self.files[0])
        # Only headers are read here: a wrong size is found before any work is done.
        for file in self.files[1:]:
            width, height = _image_size(file)
            if (width, height) != (self.width, self.height):
                raise InputError(
                    f"{file}: is {width} x {height} pixels, {self.files[0].name} is "
                    f"{self.width} x {self.height}; all frames must have one size"
                )
        self.n_bytes = sum(file.stat().st_size for file in self.files)

    def __iter__(self) -> Iterator[np.ndarray]:
        for file in self.files:
            yield read_image(file)


def _image_size(path: Path) -> tuple[int, int]:
    try:
        if not path.is_file():  # a pipe would wait for ever
            raise OSError("it is not a file")
        with Image.open(path, formats=_FORMATS) as image:
            check_pixels(image)
            return image.size
    except _IMAGE_ERRORS as error:
        raise _unreadable(path, error) from error


def check_pixels(image: Image.Image) -> None:
    """Raises ValueError where a whole ``image`` should not be held in memory."""
    if image.width * image.height > MAX_PIXELS:
        raise ValueError(f"it has {image.width} x {image.height} pixels")


def read_image(path: Path) -> np.ndarray:
    """Read an image of any mode as uint8 RGB, [height, width, 3]; alpha is dropped.

    Raises:
        InputError: the file is not an image or is damaged.
    """
    try:
        with Image.open(path, formats=_FORMATS) as image:
            check_pixels(image)
            image.load()
            if image.mode.startswith("I") or image.mode == "F":
                # 16-bit grey: Pillow's own conversion clips at 255 instead of scaling.
                grey = np.clip(np.asarray(image, dtype=np.float64) / 257.0, 0, 255)
                return np.repeat(grey.round().astype(np.uint8)[..., None], 3, axis=2)
            # By way of RGBA: Pillow warns about a palette whose transparency is dropped at once.
            via = "RGBA" if "transparency" in image.info else "RGB"
            return np.array(image.convert(via).convert("RGB"))
    except _IMAGE_ERRORS as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> InputError:
    return InputError(f"{path}: cannot be read as an image ({error}); replace or remove it")


class VideoFile:
    """Frames of a video file, decoded by FFmpeg through PyAV; see `Frames`.

    The frames are counted by decoding them once: the count in a container's header is often
    an estimate, and every file that the commands write is numbered by it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.n_bytes = path.stat().st_size
        self.count = 0
        self.height, self.width = 0, 0
        with self._open() as container:
            stream = container.streams.video[0]
            rate, promised = stream.average_rate, stream.frames
        self.fps = None if rate is None else float(rate)
        what = f"counting the frames of {path.name}"
        with tqdm(desc=what, unit="frame", leave=False, delay=2) as bar:
            for frame in self._decode():
                height, width = frame.height, frame.width
                if _quarter_turns(frame) % 2:
                    height, width = width, height
                if self.count == 0:
                    self.height, self.width = height, width
                elif (height, width) != (self.height, self.width):
                    raise InputError(
                        f"{path}: frame {self.count} is {width} x {height} pixels, the first is "
                        f"{self.width} x {self.height}; cut the video where its size changes"
                    )
                self.count += 1
                bar.update()
        if self.count == 0:
            raise InputError(f"{path}: holds no video frame; is it a video file?")
        if self.count < promised:
            # No error: a trimmed video may leave out frames that its header counts.
            print(
                f"warning: {path}: its header counts {promised} frames, {self.count} can be "
                "decoded; if the file was cut off, get all of it",
                file=sys.stderr,
            )

    def __iter__(self) -> Iterator[np.ndarray]:
        import av

        for frame in self._decode():
            try:
                image = frame.to_ndarray(format="rgb24")
            except av.error.FFmpegError as error:
                raise self._unreadable(error) from error
            yield np.ascontiguousarray(np.rot90(image, k=_quarter_turns(frame)))

    def _decode(self) -> Iterator[Any]:
        """The frames as PyAV has them, not yet in RGB."""
        import av

        with self._open() as container:
            codec = container.streams.video[0].codec_context
            if codec is None:
                raise self._unreadable("its codec is not known")
            if codec.width * codec.height > MAX_PIXELS:
                raise self._unreadable(f"its frames are {codec.width} x {codec.height} pixels")
            codec.thread_type = "AUTO"
            codec.options = {"max_pixels": str(MAX_PIXELS)}
            try:
                yield from container.decode(video=0)
            except av.error.FFmpegError as error:
                raise self._unreadable(error) from error

    def _open(self) -> Any:
        import av

        try:
            # file: a name such as "a:b.mp4" is no address. The frames can be read where a title
            # cannot.
            container = av.open(f"file:{self.path}", metadata_errors="replace")
        except (av.error.FFmpegError, ValueError) as error:
            raise self._unreadable(error) from error
        if not container.streams.video or container.format.name in _NO_VIDEO:
            container.close()
            raise InputError(f"{self.path}: has no video stream; give a video or a frame folder")
        return container

    def _unreadable(self, error: Exception | str) -> InputError:
        return InputError(
            f"{self.path}: cannot be decoded as a video ({error}); "
            "convert it, or extract its frames into a folder"
        )


def _quarter_turns(frame: Any) -> int:
    """Counterclockwise: a phone held upright records a lying frame and the turn to show it by."""
    return frame.rotation // 90
