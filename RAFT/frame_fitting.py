"""Frames of any size for RAFT, which takes sides of at least 128 pixels that are multiples of 8."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from ike_data.flow_resizing import resize_flow

STRIDE = 8  # of RAFT's encoders, pixels
MIN_SIDE = 128  # pixels: 16 cells, of which the coarsest level of the correlation pyramid keeps 2


def fit_frame(frame: torch.Tensor) -> torch.Tensor:
    """Bring a frame [1, 3, h, w] to a size that RAFT takes, [1, 3, H, W] (`fitted_size`).

    Each side is padded to a multiple of 8 by repeating the border, half of the padding on each side
    (docs/method.md section 6). Where the shorter side would still have less than 128 pixels, the
    frame is enlarged before, with its proportions, until this side has 128.
    """
    height, width = frame.shape[-2:]
    size = _enlarged_size(height, width)
    if size != (height, width):
        frame = F.interpolate(frame, size=size, mode="bilinear", align_corners=False)
    return F.pad(frame, _padding(*size), mode="replicate")


def cut_flow(flow: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """The flow between frames from the flow between what `fit_frame` has made of them.

    Args:
        flow: [n, 2, H, W], channels (u, v) in pixels of the fitted frames.
        height, width: of the frames themselves, pixels.

    Returns:
        [n, 2, height, width], in pixels of the frames themselves.
    """
    left, right, top, bottom = _padding(*_enlarged_size(height, width))
    flow = flow[..., top : flow.shape[-2] - bottom, left : flow.shape[-1] - right]
    return resize_flow(flow, (height, width))


def fitted_size(height: int, width: int) -> tuple[int, int]:
    """Height and width, pixels, that `fit_frame` gives a frame of height x width pixels."""
    height, width = _enlarged_size(height, width)
    return height + -height % STRIDE, width + -width % STRIDE


def _enlarged_size(height: int, width: int) -> tuple[int, int]:
    shorter = min(height, width)
    if shorter + -shorter % STRIDE >= MIN_SIDE:
        return height, width
    return round(height * MIN_SIDE / shorter), round(width * MIN_SIDE / shorter)


def _padding(height: int, width: int) -> tuple[int, int, int, int]:
    """(left, right, top, bottom), as F.pad takes them."""
    extra_height, extra_width = -height % STRIDE, -width % STRIDE
    left, top = extra_width // 2, extra_height // 2
    return left, extra_width - left, top, extra_height - top
