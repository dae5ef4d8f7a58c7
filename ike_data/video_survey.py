"""What of a video is damaged or missing, found while all of it is decoded."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ike_data.frame_times import frame_rate

# Of these codecs each packet gives a frame. Of others, some packets hold none by design.
_A_FRAME_EACH = ("h264", "hevc", "av1", "vp9", "mjpeg", "png", "ffv1", "prores", "dnxhd")
# As FFmpeg names them: their header tells a duration. For others FFmpeg guesses it.
_TELL_DURATION = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "avi", "flv", "asf")
# A video is cut off where it lacks more of its duration than both of these, in usual steps between
# frames and in seconds: the last packets do not always tell how long they last.
_CUT_STEPS, _CUT_SECONDS = 1.5, 0.06
_PLACES = 5  # named in a warning, at most
# A pause between frames is told where it is longer than both of these, in seconds and in usual
# steps. Of more than so many none is told: screen recordings are full of them.
_PAUSE_SECONDS, _PAUSE_STEPS, _MOST_PAUSES = 0.3, 8, 3


@dataclass(eq=False)
class _Packet:
    number: int
    is_key: bool
    is_optional: bool  # decoded for others, and not shown, as in a trimmed mp4
    time: float | None  # seconds


class VideoSurvey:
    """Notes on the packets and the frames of a video, taken in one pass over it.

    Packets are numbered in the order of the file, frames in the order in which they are shown.
    A note that travels through the decoder tells which packet a frame is from. The decoder must
    have one thread: another might free a note while the decoder is closed, and wait for Python for
    ever.
    """

    def __init__(self, container: Any) -> None:
        stream = container.streams.video[0]
        rate, codec = stream.average_rate, stream.codec_context
        if codec is not None:
            codec.copy_opaque = True
        self._index = stream.index
        self._rate = None if rate is None else float(rate)
        self._a_frame_each = codec is not None and codec.codec.canonical_name in _A_FRAME_EACH
        self._duration: float | None = None  # seconds that the header tells
        if container.format.name in _TELL_DURATION and container.duration is not None:
            self._duration = container.duration / 1e6
            if container.format.name == "avi" and self._rate:
                # Of an .avi that is cut off FFmpeg estimates the duration anew.
                self._duration = max(self._duration, stream.frames / self._rate)
        self._end = 0.0  # seconds
        self._failure: str | None = None  # of the first packet that cannot be decoded
        self._stop: str | None = None  # why the rest of the file cannot be read
        self._packets: list[_Packet] = []
        self._bad: set[int] = set()  # numbers of packets
        self._frames: list[tuple[int, float | None]] = []  # packet, seconds

    def note_packet(self, packet: Any) -> None:
        """A packet of any stream, before it is decoded."""
        if not packet.size:  # asks a decoder for the frames that it has kept back
            return
        time = _seconds(packet)
        if time is not None:
            self._end = max(self._end, time + float((packet.duration or 0) * packet.time_base))
        if packet.stream.index != self._index:
            return
        note = _Packet(len(self._packets), packet.is_keyframe, packet.is_discard, time)
        packet.opaque = note
        if packet.is_corrupt:
            self._bad.add(note.number)
        self._packets.append(note)

    def note_failure(self, error: str) -> None:
        """The last packet cannot be decoded."""
        self._failure = self._failure or error
        self._bad.add(max(len(self._packets) - 1, 0))

    def note_stop(self, error: str) -> None:
        """The file cannot be read beyond the last packet."""
        self._stop = error

    def note_frame(self, frame: Any) -> None:
        note = frame.opaque
        number = note.number if isinstance(note, _Packet) else max(len(self._packets) - 1, 0)
        if frame.is_corrupt:
            self._bad.add(number)
        self._frames.append((number, _seconds(frame)))

    def frame_rate(self) -> float | None:
        return frame_rate([time for _, time in self._frames], self._rate)

    def why_nothing(self) -> str | None:
        """Why no frame was decoded; None where there was nothing to decode."""
        if not self._packets:
            return self._stop
        return self._failure or self._stop or "it has no key frame to begin with"

    def findings(self) -> list[str]:
        """What the user should know, a clause each; frames are named by their numbers."""
        bad = self._all_bad()
        # A frame is made from those before it, back to its key frame: the damage is passed on.
        doubtful, passed_on = set(), False
        for number, packet in enumerate(self._packets):
            passed_on = number in bad or (passed_on and not packet.is_key)
            if passed_on:
                doubtful.add(number)
        damaged = [idx for idx, (number, _) in enumerate(self._frames) if number in doubtful]
        found = []
        if damaged:
            plural = "s" if len(damaged) > 1 else ""
            found.append(f"frame{plural} {_ranges(damaged)} may have wrong pixels")
        lost = self._without_frame() & doubtful
        if lost:
            plural = "s" if len(lost) > 1 else ""
            places = sorted(set(self._places(lost)))
            where = _some(
                [f"before frame {i}" if i < len(self._frames) else "after the last" for i in places]
            )
            found.append(f"left out: {len(lost)} frame{plural} that cannot be decoded ({where})")
        if self._stop is not None:
            found.append(f"it cannot be read beyond frame {len(self._frames) - 1} ({self._stop})")
        elif self._is_cut():
            found.append(
                f"it ends at {self._end:.2f} of the {self._duration:.2f} s that it should last"
            )
        return found

    def long_pauses(self) -> str:
        """Before which frames far more time passes than usual; empty if nowhere."""
        times = [(idx, time) for idx, (_, time) in enumerate(self._frames) if time is not None]
        if len(times) < 2:
            return ""
        steps = np.diff([time for _, time in times])
        long = steps > max(_PAUSE_SECONDS, _PAUSE_STEPS * float(np.median(steps)))
        if long.sum() > _MOST_PAUSES:
            return ""
        return _some(
            [f"{steps[i]:.1f} s before frame {times[i + 1][0]}" for i in np.flatnonzero(long)]
        )

    def _all_bad(self) -> set[int]:
        """Numbers of packets that are damaged, or that a decoder drops without a word."""
        dropped: set[int] = set()
        if self._a_frame_each and self._frames:
            # Not those before the first frame, in the file or in time: a cut from a longer video
            # may begin with frames that are made from earlier ones.
            first = min(number for number, _ in self._frames)
            dropped = {number for number in self._without_frame() if number > first}
            places = zip(dropped, self._places(dropped), strict=True)
            dropped = {number for number, place in places if place > 0}
            # One packet for each field of an interlaced frame, say: no damage.
            if 4 * len(dropped) > len(self._packets):
                dropped = set()
        return self._bad | dropped

    def _without_frame(self) -> set[int]:
        numbers = {i for i, packet in enumerate(self._packets) if not packet.is_optional}
        return numbers - {number for number, _ in self._frames}

    def _places(self, numbers: Iterable[int]) -> list[int]:
        """Before which frames those of these packets are missing."""
        from_packets = sorted(number for number, _ in self._frames)
        times = sorted(time for _, time in self._frames if time is not None)
        places = []
        for number in numbers:
            time = self._packets[number].time
            if time is None or not times:
                places.append(bisect_left(from_packets, number))
            else:
                places.append(bisect_left(times, time))
        return places

    def _is_cut(self) -> bool:
        rate = self.frame_rate()
        if rate is None or self._duration is None:
            return False
        return self._duration - self._end > max(_CUT_STEPS / rate, _CUT_SECONDS)


def _seconds(timed: Any) -> float | None:
    """When a packet or frame is shown; by when it is decoded where the file has no other times."""
    stamp = timed.dts if timed.pts is None else timed.pts
    return None if stamp is None or not timed.time_base else float(stamp * timed.time_base)


def _ranges(numbers: Iterable[int]) -> str:
    """ "3, 12 to 14"; ``numbers`` rise."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return _some([str(a) if a == b else f"{a} to {b}" for a, b in runs])


def _some(places: list[str]) -> str:
    rest = len(places) - _PLACES
    return ", ".join(places[:_PLACES]) + (f" and at {rest} other places" if rest > 0 else "")
