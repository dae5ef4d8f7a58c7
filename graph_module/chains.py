"""Motion chains: where each pixel of a pivot frame goes when it follows the flow.

METHOD section 3, "Chains"; the paper's section 3.1.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class ChainStep:
    """Where the chains of a pivot frame stand in another frame; N = H * W chains, row by row."""

    frame: int
    x: torch.Tensor  # [N] float32, pixels, real-valued, may lie outside the frame
    y: torch.Tensor  # [N]
    u: torch.Tensor  # [N] flow vector read on the step into this frame, pixels
    v: torch.Tensor  # [N]


def follow_chains(
    pivot: int, fwd_flow: torch.Tensor, bwd_flow: torch.Tensor, n_steps: int
) -> Iterator[ChainStep]:
    """Follow the flow from every pixel of frame ``pivot``, up to ``n_steps`` frames each way.

    A step reads the flow at the pixel nearest to the position, clamped to the frame, and adds it
    to the position, which is neither rounded nor clamped itself.

    Args:
        fwd_flow: [n - 1, 2, H, W], channels (u, v) in pixels; idx leads from frame idx to idx + 1.
        bwd_flow: the same shape; idx leads from frame idx + 1 to frame idx.

    Yields:
        The steps into frames pivot + 1, pivot + 2, ..., then pivot - 1, pivot - 2, ...
    """
    n_pairs, _, height, width = fwd_flow.shape
    forward = range(pivot, min(pivot + n_steps, n_pairs))
    backward = range(pivot - 1, max(pivot - 1 - n_steps, -1), -1)
    yield from _follow(fwd_flow, forward, arrives_at=1, height=height, width=width)
    yield from _follow(bwd_flow, backward, arrives_at=0, height=height, width=width)


def _follow(
    flow: torch.Tensor, pairs: range, *, arrives_at: int, height: int, width: int
) -> Iterator[ChainStep]:
    rows = torch.arange(height, dtype=torch.float32, device=flow.device)
    columns = torch.arange(width, dtype=torch.float32, device=flow.device)
    start_y = rows.repeat_interleave(width)  # [N]
    start_x = columns.repeat(height)  # [N]
    x, y = start_x, start_y
    moved_x, moved_y = torch.zeros_like(x), torch.zeros_like(y)
    for idx in pairs:
        column = x.round().clamp_(0, width - 1).to(torch.int32)
        row = y.round().clamp_(0, height - 1).to(torch.int32)
        nearest = row.mul_(width).add_(column)  # [N]
        u, v = flow[idx].reshape(2, -1).index_select(1, nearest)  # [N] each
        # The displacement is summed apart from the start: adding to a position of hundreds of
        # pixels would lose the digits that decide on which side of a pixel's edge it falls.
        moved_x, moved_y = moved_x + u, moved_y + v
        x, y = start_x + moved_x, start_y + moved_y
        yield ChainStep(idx + arrives_at, x, y, u, v)
