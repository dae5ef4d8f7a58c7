"""The frames of a video file."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from ike_data.content_digest import digest_of
from ike_data.images import MAX_PIXELS
from ike_data.mp4_index import lacks_index
from ike_data.runtime.errors import InputError, warn
from ike_data.video_survey import VideoSurvey

# FFmpeg draws a text file (tty) as pictures of its letters, and follows lists of other files.
_NO_VIDEO = ("tty", "concat", "hls", "dash", "sdp", "imf", "avisynth", "vapoursynth")
_REMEDY = "if it plays elsewhere, convert it or extract its frames into a folder, else get it again"


class VideoFile:
    """Frames of a video file, decoded by FFmpeg through PyAV; see `Frames`.

    The frames are counted by decoding them once: the count in a container's header is often
    an estimate, and every file that the commands write is numbered by it.

    A damaged video is decoded around its damage, and one line on stderr says what is damaged or
    missing. A frame that cannot be decoded has no number, and those after it move up: one made up
    in its place would have a mask and a flow that are made up. Each pass over the video, in each
    command, gives the same frames. Damage that the decoder does not notice cannot be told: other
    bits are often as good to it as the right ones.

    Raises:
        InputError: no frame can be decoded, or the frames have different sizes.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.names: list[str] | None = None
        self.notes: list[str] = []
        self.n_bytes = path.stat().st_size
        if self.n_bytes == 0:
            raise InputError(f"{path}: is empty; get the file again")
        self.count, self.height, self.width = 0, 0, 0
        survey = self._survey()
        if self.count == 0:
            raise self._nothing(survey.why_nothing())
        self.fps = survey.frame_rate()
        self._warn(survey)

    @functools.cached_property
    def digest(self) -> str:
        return digest_of([self.path])

    def __iter__(self) -> Iterator[np.ndarray]:
        import av

        count = 0
        with self._open() as container:
            for frame in self._decode(container, VideoSurvey(container)):
                try:
                    image = frame.to_ndarray(format="rgb24")
                except av.error.FFmpegError as error:
                    raise self._unreadable(error) from error
                yield np.ascontiguousarray(np.rot90(image, k=_quarter_turns(frame)))
                count += 1
        if count != self.count:
            raise InputError(
                f"{self.path}: other frames are read than were counted at first; if the file is "
                "still being written, run the command again when it is complete"
            )

    def _survey(self) -> VideoSurvey:
        """Decode all frames, and set count, height and width."""
        what = f"counting the frames of {self.path.name}"
        with self._open() as container, tqdm(desc=what, unit="frame", leave=False, delay=2) as bar:
            survey = VideoSurvey(container)
            for frame in self._decode(container, survey):
                height, width = frame.height, frame.width
                if _quarter_turns(frame) % 2:
                    height, width = width, height
                if self.count == 0:
                    self.height, self.width = height, width
                elif (height, width) != (self.height, self.width):
                    raise InputError(
                        f"{self.path}: frame {self.count} is {width} x {height} pixels, the first "
                        f"is {self.width} x {self.height}; cut the video where its size changes"
                    )
                self.count += 1
                bar.update()
        return survey

    def _decode(self, container: Any, survey: VideoSurvey) -> Iterator[Any]:
        """The frames as PyAV has them, not yet in RGB; ``survey`` notes what is met on the way."""
        import av

        codec = container.streams.video[0].codec_context
        if codec is None:
            raise self._unreadable("its codec is not known")
        if codec.width * codec.height > MAX_PIXELS:
            raise InputError(
                f"{self.path}: its frames are {codec.width} x {codec.height} pixels, more than "
                f"{MAX_PIXELS} in all; make them smaller"
            )
        # With several threads, what is shown in place of missing data depends on what each has done
        # so far: of a damaged video other pixels in each pass, and not always with an error.
        codec.thread_type, codec.thread_count = "NONE", 1
        codec.options = {"max_pixels": str(MAX_PIXELS)}
        for packet in self._packets(container, survey):
            try:
                frames = codec.decode(packet)
            except av.error.FFmpegError as error:
                survey.note_failure(_reason(error))
                continue
            for frame in frames:
                survey.note_frame(frame)
                yield frame

    def _packets(self, container: Any, survey: VideoSurvey) -> Iterator[Any]:
        """The packets of the video, and at the end None or one without data."""
        import av

        # The other streams, too: a file is cut off only where all of them end too early.
        stream = container.streams.video[0]
        try:
            for packet in container.demux():
                survey.note_packet(packet)
                if packet.stream is stream:
                    yield packet
        except av.error.FFmpegError as error:
            survey.note_stop(_reason(error))
            yield None

    def _open(self) -> Any:
        import av

        try:
            # file: a name such as "a:b.mp4" is no address. The frames can be read where a title
            # cannot.
            container = av.open(f"file:{self.path}", metadata_errors="replace")
        except (av.error.FFmpegError, ValueError) as error:
            raise self._without_index() or self._unreadable(error) from error
        if container.streams.video and container.format.name not in _NO_VIDEO:
            return container
        container.close()
        raise self._without_index() or InputError(
            f"{self.path}: has no video stream; give a video or a frame folder"
        )

    def _warn(self, survey: VideoSurvey) -> None:
        """One line on stderr, if there is anything to say."""
        remedy = (
            "if frames are missing there, get the file again; if another scene begins there, cut "
            "the video"
        )
        found = survey.findings()
        if found:
            remedy = "the file is damaged or cut off, get it again if you can"
        if pauses := survey.long_pauses():
            found.append(f"far more time than usual passes between frames: {pauses}")
        if found:
            warn(f"{self.path}: {'; '.join([*found, remedy])}")

    def _nothing(self, why: str | None) -> InputError:
        if why is None:
            return InputError(f"{self.path}: holds no video frame; is it a video file, and whole?")
        return InputError(f"{self.path}: none of its frames can be decoded ({why}); {_REMEDY}")

    def _without_index(self) -> InputError | None:
        if not lacks_index(self.path):
            return None
        return InputError(
            f"{self.path}: has no index (moov), so the recording or the copy was interrupted; copy "
            "it again, or repair it with a tool such as untrunc"
        )

    def _unreadable(self, error: Exception | str) -> InputError:
        why = _reason(error)
        return InputError(f"{self.path}: cannot be decoded as a video ({why}); {_REMEDY}")


def _reason(error: Exception | str) -> str:
    """What FFmpeg says, without its number and the path."""
    return getattr(error, "strerror", None) or str(error)


def _quarter_turns(frame: Any) -> int:
    """Counterclockwise: a phone held upright records a lying frame and the turn to show it by."""
    return frame.rotation // 90
