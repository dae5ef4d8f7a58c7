"""Optical flow at another size."""

from __future__ import annotations

import torch
import torch.nn.functional as F


def resize_flow(flow: torch.Tensor, size: tuple[int, int], mode: str = "bilinear") -> torch.Tensor:
    """Bring flow to another size (docs/method.md section 3).

    It is resized bilinearly (align_corners=False), as the method asks, or by another ``mode``; and
    u is scaled by W / w, v by H / h.

    Args:
        flow: float [n, 2, h, w], channels (u, v) in pixels of this size.
        size: (H, W), pixels.
        mode: "bilinear", or "area": the mean of the pixels that fall together.

    Returns:
        [n, 2, H, W], in pixels of the new size; ``flow`` itself where it has that size.
    """
    height, width = flow.shape[-2:]
    if (height, width) == tuple(size):
        return flow
    align_corners = False if mode == "bilinear" else None
    resized = F.interpolate(flow, size=size, mode=mode, align_corners=align_corners)
    return resized * flow.new_tensor([size[1] / width, size[0] / height]).view(2, 1, 1)
