"""Writing a video that every browser plays."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.codec.codec
import numpy as np
from av.video.reformatter import ColorRange, Colorspace

from ike_data.runtime.errors import InputError

# Encoder -> (codec, options), the first that this FFmpeg has. All of them play from an .mp4.
ENCODERS: dict[str, tuple[str, dict[str, str]]] = {
    # Without cpu-independent the same frames gave other bytes in each run, where the width was no
    # multiple of 16.
    "libx264": ("H.264", {"crf": "20", "preset": "medium", "x264-params": "cpu-independent=1"}),
    "libvpx-vp9": ("VP9", {"crf": "32", "b": "0", "cpu-used": "4", "row-mt": "1"}),
    "libaom-av1": ("AV1", {"crf": "32", "b": "0", "cpu-used": "6", "row-mt": "1"}),
}
_BT709 = 1  # the number of its primaries and transfer function, ITU-T H.273


def choose_encoder() -> str:
    """The first of `ENCODERS` that this PyAV has; libx264 is not in every build.

    InputError where it has none.
    """
    for name in ENCODERS:
        try:
            av.codec.codec.Codec(name, "w")
        except av.codec.codec.UnknownCodecError:
            continue
        return name
    raise InputError(
        f"PyAV {av.__version__} has none of the encoders {', '.join(ENCODERS)}; "
        "install av with pip, whose wheels have them"
    )


@contextmanager
def mp4_writer(path: Path, encoder: str, fps: float) -> Iterator[Callable[[np.ndarray], None]]:
    """Yield a function that appends a frame, uint8 RGB [height, width, 3] of even sides.

    The first frame sets the size. Colours are 4:2:0, BT.709; the index stands at the start of the
    file, so that a browser plays it while it loads.
    """
    _, options = ENCODERS[encoder]
    with av.open(f"file:{path}", "w", options={"movflags": "+faststart"}) as container:
        rate = Fraction(fps).limit_denominator(1001)
        stream: Any = container.add_stream(encoder, rate, options)
        stream.pix_fmt = "yuv420p"
        codec = stream.codec_context
        codec.colorspace, codec.color_range = Colorspace.ITU709, ColorRange.MPEG
        codec.color_primaries = codec.color_trc = _BT709

        def write(image: np.ndarray) -> None:
            if not codec.is_open:
                stream.height, stream.width = image.shape[:2]
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame = frame.reformat(
                format="yuv420p",
                dst_colorspace=Colorspace.ITU709,
                src_color_range=ColorRange.JPEG,
                dst_color_range=ColorRange.MPEG,
            )
            container.mux(stream.encode(frame))

        yield write
        container.mux(stream.encode(None))
