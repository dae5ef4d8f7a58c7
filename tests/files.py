"""Files that several tests write, and what a folder holds."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image

from ike_data.command_line import PROJECT_CONFIG
from ike_data.flow_files import BACKWARD, FORWARD, flow_name, write_flow


def contents(folder: Path) -> dict[str, bytes]:
    """The bytes of every file below ``folder``, by its path from there."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def results(files: dict[str, bytes]) -> dict[str, bytes]:
    """Those of `contents` whose bytes are the same in each run of a command."""
    return {name: files[name] for name in files if name not in ("config.ini", "log.csv")}


def write_config(path: Path, base: Path = PROJECT_CONFIG, **changes: object) -> Path:
    """Write the settings of ``base`` but for ``changes``, by the names of their keys.

    mixed_precision is the network's, not the flow's.
    """
    text = base.read_text()
    for key, value in changes.items():
        *_, line = re.finditer(rf"^;?{key} =.*$", text, flags=re.MULTILINE)
        text = f"{text[: line.start()]}{key} = {value}{text[line.end() :]}"
    path.write_text(text)
    return path


def write_frames(
    folder: Path, images: Iterable[np.ndarray], suffix: str = ".png", first: int = 0
) -> Path:
    """Write ``images`` as 00000.png, 00001.png, ..., or from number ``first``."""
    folder.mkdir(parents=True, exist_ok=True)
    for idx, image in enumerate(images, first):
        Image.fromarray(image).save(folder / f"{idx:05d}{suffix}")
    return folder


def write_flow_folders(folder: Path, fwd: Iterable[np.ndarray], bwd: Iterable[np.ndarray]) -> Path:
    """Write flows, float32 [height, width, 2], into the two folders of flow in ``folder``."""
    for name, flows in ((FORWARD, fwd), (BACKWARD, bwd)):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for idx, flow in enumerate(flows):
            write_flow(folder / name / flow_name(idx), flow)
    return folder


def write_clip(
    path: Path,
    images: Iterable[np.ndarray],
    codec: str = "mpeg4",
    rate: Fraction | int = 25,
    pix_fmt: str = "yuv420p",
    *,
    milliseconds: Iterable[int] = (),
    seconds_of_sound: float = 0,
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
    **settings: int,
) -> Path:
    """Write a video of ``images``, uint8 RGB [height, width, 3], with FFmpeg.

    Args:
        milliseconds: when each frame is shown; empty: at the ``rate``.
        seconds_of_sound: silence, after all pictures.
        options, settings: of the encoder, and of its context.
    """
    images, times = list(images), iter(milliseconds)
    with av.open(str(path), "w", options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=rate, options=options or {})
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = pix_fmt
        if milliseconds:
            stream.codec_context.time_base = Fraction(1, 1000)
        for name, value in settings.items():
            setattr(stream.codec_context, name, value)
        sound = container.add_stream("aac", rate=48_000) if seconds_of_sound else None
        for image in images:
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            if milliseconds:
                frame.pts, frame.time_base = next(times), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        if sound is not None:
            silence = np.zeros((1, 1024), np.float32)
            for start in range(0, int(seconds_of_sound * 48_000), 1024):
                samples = av.AudioFrame.from_ndarray(silence, format="fltp", layout="mono")
                samples.sample_rate, samples.pts = 48_000, start
                container.mux(sound.encode(samples))
            container.mux(sound.encode())
    return path


class RunsCode:
    """A pickle of this makes a folder when it is loaded by anything that runs its code."""

    def __init__(self, made: Path) -> None:
        self.made = made

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.made),)
