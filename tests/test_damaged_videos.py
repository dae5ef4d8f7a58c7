"""Damaged and incomplete videos: what can be decoded is read, and all else is told once.

The frames of the undamaged video are what the readings are held against: a frame that is not named
in the warning must be one of them, at its place.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import av.codec.codec
import numpy as np
import pytest
from files import write_clip

from ike_data.frames import open_frames
from ike_data.runtime.errors import InputError

H, W, N, RATE, GOP = 64, 96, 30, 25, 10
# Name -> encoder, its options and those of the container.
KINDS: dict[str, tuple[str, dict[str, str], dict[str, str]]] = {
    "h264.mp4": ("libx264", {"g": str(GOP)}, {"movflags": "faststart"}),
    "h264.mkv": ("libx264", {"g": str(GOP)}, {}),
    "vp9.webm": ("libvpx-vp9", {"g": str(GOP)}, {}),
    "mpeg4.mp4": ("mpeg4", {"g": str(GOP)}, {"movflags": "faststart"}),
    "mjpeg.avi": ("mjpeg", {}, {}),
    "mpeg2.ts": ("mpeg2video", {"g": str(GOP)}, {}),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Callable[[str], Path]:
    """Write a whole video once."""
    folder = tmp_path_factory.mktemp("whole")

    def get(name: str) -> Path:
        path = folder / name
        if not path.exists():
            codec, options, container_options = KINDS[name]
            write_video(path, codec, options, container_options=container_options)
        return path

    return get


def picture(idx: int) -> np.ndarray:
    """A bright square that moves over a fixed pattern."""
    noise = np.random.default_rng(0).integers(0, 60, (H, W, 1))
    image = np.repeat(noise, 3, axis=2).astype(np.uint8)
    image[12:40, 5 + 2 * idx : 30 + 2 * idx] = (220, 200, 90)
    return image


def write_video(path: Path, codec: str, options: dict[str, str], **more: Any) -> None:
    try:
        av.codec.codec.Codec(codec, "w")
    except av.codec.codec.UnknownCodecError:
        pytest.skip(f"this PyAV has no {codec}")
    pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    write_clip(path, map(picture, range(N)), codec, RATE, pix_fmt, options=options, **more)


def packet_bytes(path: Path, number: int) -> slice:
    """Where packet ``number`` stands in the file."""
    data = path.read_bytes()
    with av.open(str(path)) as container:
        content = bytes([p for p in container.demux(video=0) if p.size][number])
    if path.suffix == ".ts":  # in pieces of less than 188 bytes
        content = content[-100:]
    start = data.index(content)
    assert data.count(content) == 1
    return slice(start, start + len(content))


def noise(n_bytes: int) -> bytes:
    return np.random.default_rng(1).integers(0, 256, n_bytes, dtype=np.uint8).tobytes()


def read(path: Path, capsys) -> tuple[list[np.ndarray], str]:
    """The frames, the same in each pass and for each who opens; and the one warning, or none."""
    capsys.readouterr()
    frames = open_frames(path)
    images = list(frames)
    said = capsys.readouterr().err.replace("\r", "\n").strip()
    for again in (frames, open_frames(path)):
        assert again.count == len(images)
        for one, two in zip(images, again, strict=True):
            assert np.array_equal(one, two)
    assert "\n" not in said
    assert said == "" or said.startswith(f"warning: {path}: ")
    return images, said


def named(warning: str) -> set[int]:
    """Numbers of the frames of which the warning says that they may be wrong."""
    told = re.search(r"frames? ([\d, to]+) may have wrong pixels", warning)
    numbers: set[int] = set()
    for part in told.group(1).split(", ") if told else ():
        first, *last = map(int, part.split(" to "))
        numbers |= set(range(first, (last or [first])[0] + 1))
    return numbers


def left_out(warning: str) -> tuple[int, int | None]:
    """How many frames are left out, and before which one; None is after the last."""
    told = re.search(
        r"left out: (\d+) frames? that .* decoded \((?:before frame (\d+)|after the last)\)",
        warning,
    )
    if told is None:
        return 0, None
    return int(told.group(1)), None if told.group(2) is None else int(told.group(2))


def check_against(images: list[np.ndarray], warning: str, original: Path) -> None:
    """Each frame that is not named is the whole video's, and each that is missing is told."""
    right = list(open_frames(original))
    n_lost, place = left_out(warning)
    assert len(images) + n_lost == len(right)
    if n_lost:
        place = len(images) if place is None else place
        del right[place : place + n_lost]
    for idx in set(range(len(images))) - named(warning):
        assert np.array_equal(images[idx], right[idx]), idx


@pytest.mark.parametrize("number", [0, 15])
@pytest.mark.parametrize("damage", [bytes, noise])
@pytest.mark.parametrize("name", ["h264.mp4", "mpeg4.mp4", "mjpeg.avi"])
def test_a_packet_that_is_overwritten(name, damage, number, whole, tmp_path, capsys):
    data = bytearray(whole(name).read_bytes())
    place = packet_bytes(whole(name), number)
    data[place] = damage(place.stop - place.start)
    path = tmp_path / name
    path.write_bytes(data)
    images, warning = read(path, capsys)
    assert warning.endswith("; the file is damaged or cut off, get it again if you can")
    check_against(images, warning, whole(name))
    # Damage ends with the next key frame.
    assert len(named(warning)) + left_out(warning)[0] <= GOP + 2


@pytest.mark.parametrize("name", ["h264.mp4", "h264.mkv"])
def test_errors_that_the_decoder_conceals(name, whole, tmp_path, capsys):
    """All frames are there, and some of them are smeared."""
    data = bytearray(whole(name).read_bytes())
    place = packet_bytes(whole(name), 15)
    data[(place.start + place.stop) // 2] ^= 0xFF
    path = tmp_path / name
    path.write_bytes(data)
    images, warning = read(path, capsys)
    assert len(images) == N and left_out(warning)[0] == 0
    assert 1 <= len(named(warning)) < GOP
    check_against(images, warning, whole(name))


def test_zeros_in_a_transport_stream(whole, tmp_path, capsys):
    data = bytearray(whole("mpeg2.ts").read_bytes())
    place = packet_bytes(whole("mpeg2.ts"), 15)
    data[place.start - 188 : place.start + 188] = bytes(2 * 188)
    path = tmp_path / "a.ts"
    path.write_bytes(data)
    _, warning = read(path, capsys)
    assert named(warning) >= {15}


@pytest.mark.parametrize("name", ["h264.mp4", "mpeg4.mp4", "h264.mkv", "vp9.webm", "mjpeg.avi"])
def test_a_copy_that_ends_at_two_thirds(name, whole, tmp_path, capsys):
    data = whole(name).read_bytes()
    path = tmp_path / name
    path.write_bytes(data[: 2 * len(data) // 3])
    images, warning = read(path, capsys)
    assert 0 < len(images) < N
    told = re.search(r"it ends at (\d\.\d\d) of the (\d\.\d\d) s", warning)
    assert told is not None
    assert float(told.group(2)) == pytest.approx(N / RATE, abs=0.03)
    assert float(told.group(1)) == pytest.approx(len(images) / RATE, abs=3.5 / RATE)
    right = list(open_frames(whole(name)))
    wrong = [i for i, image in enumerate(images) if not np.array_equal(image, right[i])]
    assert set(wrong) <= named(warning) | {len(images) - 1}


@pytest.mark.parametrize("share", [0.01, 0.5, None])
def test_a_recording_without_its_index(share, tmp_path):
    path = tmp_path / "clip.mp4"
    write_video(path, "mpeg4", {})
    data = path.read_bytes()
    assert data.index(b"moov") > len(data) / 2
    size = data.index(b"moov") + 20 if share is None else max(int(share * len(data)), 12)
    path.write_bytes(data[:size])
    with pytest.raises(InputError) as caught:
        open_frames(path)
    assert str(caught.value) == (
        f"{path}: has no index (moov), so the recording or the copy was interrupted; copy it "
        "again, or repair it with a tool such as untrunc"
    )


def test_a_video_of_which_nothing_is_left(tmp_path):
    path = tmp_path / "clip.mp4"
    path.touch()
    with pytest.raises(InputError, match="is empty; get the file again"):
        open_frames(path)
    write_video(path, "mpeg4", {})
    data = path.read_bytes()
    start, end = data.index(b"mdat") + 4, data.index(b"moov") - 4
    path.write_bytes(data[:start] + bytes(end - start) + data[end:])
    with pytest.raises(InputError, match=r"none of its frames can be decoded \(Invalid data"):
        open_frames(path)


def test_a_pause_is_told_and_a_screen_recording_is_not(tmp_path, capsys):
    for name, pauses in (("a.mkv", {12}), ("b.mkv", {3, 8, 12, 20})):
        steps = [800 if idx in pauses else 40 for idx in range(N)]
        video = map(picture, range(N)), "ffv1", RATE
        path = write_clip(tmp_path / name, *video, milliseconds=[*itertools.accumulate(steps)])
        images, warning = read(path, capsys)
        assert len(images) == N
        assert ("passes between frames: 0.8 s before frame 12;" in warning) == (len(pauses) == 1)
        assert (warning == "") == (len(pauses) > 1)


def test_whole_videos_that_look_incomplete(tmp_path, capsys):
    """Hidden frames, sound that is longer or shorter, and a part that begins between key frames."""
    write_video(tmp_path / "long.mkv", "mpeg4", {}, seconds_of_sound=2)
    write_video(tmp_path / "short.mp4", "mpeg4", {}, seconds_of_sound=0.5)
    write_video(
        tmp_path / "open.ts",
        "libx264",
        {"x264-params": "open-gop=1:keyint=12:b-adapt=0:bframes=3:scenecut=0"},
    )
    write_video(tmp_path / "hidden.webm", "libvpx", {"auto-alt-ref": "1", "lag-in-frames": "16"})
    with (
        av.open(str(tmp_path / "open.ts")) as source,
        av.open(str(tmp_path / "part.mp4"), "w") as part,
    ):
        stream = source.streams.video[0]
        copy = part.add_stream_from_template(stream)
        for packet in [p for p in source.demux(stream) if p.size][5:]:
            packet.stream = copy
            part.mux(packet)
    for path in sorted(tmp_path.iterdir()):
        images, warning = read(path, capsys)
        assert warning == ""
        assert (len(images) == N) == (path.name != "part.mp4")


def test_a_file_that_is_replaced_while_it_is_read(tmp_path, whole):
    path = tmp_path / "clip.mp4"
    path.write_bytes(whole("mpeg4.mp4").read_bytes())
    frames = open_frames(path)
    path.write_bytes(whole("mpeg4.mp4").read_bytes()[:-3000])
    with pytest.raises(InputError, match=r"clip\.mp4: other frames are read than were counted"):
        list(frames)
