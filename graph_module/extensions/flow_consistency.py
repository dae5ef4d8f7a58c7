"""Flow consistency: how far the flows forward and backward agree.

The forward-backward check of Sundaram, Brox and Keutzer, "Dense Point Trajectories by
GPU-accelerated Large Displacement Optical Flow" (ECCV 2010), equation 5, with a soft limit. The
check fails where a pixel is occluded in the other frame, and where the flow is wrong.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from ike_data.parameters import Parameters, parameter
from ike_data.runtime.cores import fill_in_blocks

# Bytes per pixel at a time, about.
PIXEL_BYTES = 60


@dataclass(frozen=True)
class FlowConsistency(Parameters):
    """The squared error at which consistency has fallen to 1/e; the numbers of equation 5."""

    relative: float = parameter(0.01)  # share of the squared lengths of both flows
    absolute: float = parameter(0.5, low_excluded=True)  # squared pixels


def flow_consistency(
    flow: torch.Tensor, back: torch.Tensor, settings: FlowConsistency | None = None
) -> torch.Tensor:
    """exp(-|w + w'|^2 / (relative (|w|^2 + |w'|^2) + absolute)), w' the flow back from w's end.

    w' is read bilinearly, and at the border where w leads outside the frame.

    Args:
        flow: w, [m, 2, H, W], pixels.
        back: from the frame that ``flow`` leads to, the same shape.

    Returns:
        [m, H, W] in [0, 1]; 1 where both agree.
    """
    settings = settings or FlowConsistency()

    def compare(there: torch.Tensor, some_back: torch.Tensor) -> torch.Tensor:
        here = flow_at_end(there, some_back)  # [m, 2, H, W]
        lengths = (there**2).sum(1) + (here**2).sum(1)
        error = ((there + here) ** 2).sum(1)
        return torch.exp(-error / (settings.relative * lengths + settings.absolute))

    n_bytes = PIXEL_BYTES * flow[0, 0].numel() if len(flow) else 0
    return fill_in_blocks(torch.empty_like(flow[:, 0]), compare, flow, back, frame_bytes=n_bytes)


def flow_at_end(flow: torch.Tensor, back: torch.Tensor) -> torch.Tensor:
    """w', the flow back from where ``flow`` w leads; it is -w where both agree.

    [m, 2, H, W] twice, as in `flow_consistency` -> [m, 2, H, W], pixels.
    """
    height, width = flow.shape[2:]
    rows = torch.arange(height, dtype=flow.dtype, device=flow.device)
    columns = torch.arange(width, dtype=flow.dtype, device=flow.device)
    x = _to_unit(columns + flow[:, 0], width)
    y = _to_unit(rows[:, None] + flow[:, 1], height)
    return F.grid_sample(
        back,
        torch.stack([x, y], dim=-1),  # [m, H, W, 2]
        mode="bilinear",
        padding_mode="border",
        align_corners=True,
    )


def _to_unit(positions: torch.Tensor, size: int) -> torch.Tensor:
    """Pixels 0 .. size - 1 as -1 .. 1."""
    return positions * (2 / max(size - 1, 1)) - 1
