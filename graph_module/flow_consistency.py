"""How far flow forward and backward agree; not in the paper.

The forward-backward check of Sundaram, Brox and Keutzer, "Dense Point Trajectories by
GPU-accelerated Large Displacement Optical Flow" (ECCV 2010), equation 5, with a soft limit. It
fails where a pixel is occluded in the other frame, and where the flow is wrong.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

# The squared error that is allowed: a share of the squared lengths of both, and squared pixels.
RELATIVE, ABSOLUTE = 0.01, 0.5


def flow_consistency(flow: torch.Tensor, back: torch.Tensor) -> torch.Tensor:
    """exp(-|w + w'|^2 / (0.01 (|w|^2 + |w'|^2) + 0.5)), w' the flow back from where w leads.

    w' is read bilinearly, and at the border where w leads outside the frame.

    Args:
        flow: w, [m, 2, H, W], pixels.
        back: from the frame that ``flow`` leads to, the same shape.

    Returns:
        [m, H, W] in [0, 1]; 1 where both agree.
    """
    height, width = flow.shape[2:]
    rows = torch.arange(height, dtype=flow.dtype, device=flow.device)
    columns = torch.arange(width, dtype=flow.dtype, device=flow.device)
    consistency = flow.new_empty(len(flow), height, width)
    for idx, (there, field) in enumerate(zip(flow, back, strict=True)):
        x = _normalised(columns + there[0], width)
        y = _normalised(rows[:, None] + there[1], height)
        here = F.grid_sample(
            field[None],
            torch.stack([x, y], dim=-1)[None],  # [1, H, W, 2]
            mode="bilinear",
            padding_mode="border",
            align_corners=True,
        )[0]  # [2, H, W]
        lengths = (there**2).sum(0) + (here**2).sum(0)
        error = ((there + here) ** 2).sum(0)
        consistency[idx] = torch.exp(-error / (RELATIVE * lengths + ABSOLUTE))
    return consistency


def _normalised(positions: torch.Tensor, size: int) -> torch.Tensor:
    """Pixels 0 .. size - 1 as -1 .. 1."""
    return positions * (2 / max(size - 1, 1)) - 1
