"""The frames of a video file."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from ike_data.frame_times import frame_rate
from ike_data.images import MAX_PIXELS
from ike_data.runtime.errors import InputError

# FFmpeg draws a text file (tty) as pictures of its letters, and follows lists of other files.
_NO_VIDEO = ("tty", "concat", "hls", "dash", "sdp", "imf", "avisynth", "vapoursynth")


class VideoFile:
    """Frames of a video file, decoded by FFmpeg through PyAV; see `Frames`.

    The frames are counted by decoding them once: the count in a container's header is often
    an estimate, and every file that the commands write is numbered by it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.names: list[str] | None = None
        self.notes: list[str] = []
        self.n_bytes = path.stat().st_size
        self.count = 0
        self.height, self.width = 0, 0
        with self._open() as container:
            stream = container.streams.video[0]
            rate, promised = stream.average_rate, stream.frames
        times: list[float | None] = []
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
                times.append(_seconds(frame))
                bar.update()
        if self.count == 0:
            raise InputError(f"{path}: holds no video frame; is it a video file?")
        self.fps = frame_rate(times, None if rate is None else float(rate))
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


def _seconds(frame: Any) -> float | None:
    """When the frame is shown; by when it is decoded where a container has no other times."""
    stamp = frame.dts if frame.pts is None else frame.pts
    return None if stamp is None or not frame.time_base else float(stamp * frame.time_base)
