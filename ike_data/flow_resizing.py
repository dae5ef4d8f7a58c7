"""Optical flow at another size."""

from __future__ import annotations

import torch
import torch.nn.functional as F


def resize_flow(flow: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Bring flow to another size (docs/method.md section 3).

    It is resized bilinearly (align_corners=False), and u is scaled by W / w, v by H / h.

    Args:
        flow: float [n, 2, h, w], channels (u, v) in pixels of this size.
        size: (H, W), pixels.

    Returns:
        [n, 2, H, W], in pixels of the new size; ``flow`` itself where it has that size.
    """
    height, width = flow.shape[-2:]
    if (height, width) == tuple(size):
        return flow
    resized = F.interpolate(flow, size=size, mode="bilinear", align_corners=False)
    return resized * flow.new_tensor([size[1] / width, size[0] / height]).view(2, 1, 1)
