"""Motion chains: where each pixel of a pivot frame goes when it follows the flow.

docs/method.md section 3, "Chains"; the paper's section 3.1. A step reads the flow at the pixel
nearest to the position, clamped to the frame, and adds it to the position, which is neither rounded
nor clamped itself:

    c = (start_x, start_y) + moved;  moved <- moved + flow(round(clamp(c)))

The displacement is summed apart from the start: adding to a position of hundreds of pixels would
lose the digits that decide on which side of a pixel's edge it falls.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from graph_module.compiled import compiled


@dataclass(frozen=True)
class ChainStep:
    """Where the chains of a pivot frame stand in another frame; N = H * W chains, row by row.

    Its tensors are overwritten by the next step.
    """

    frame: int
    x: torch.Tensor  # [N] float32, pixels, real-valued, may lie outside the frame
    y: torch.Tensor  # [N]
    u: torch.Tensor  # [N] flow vector read on the step into this frame, pixels
    v: torch.Tensor  # [N]


def follow_chains(
    pivot: int,
    fwd_flow: torch.Tensor,
    bwd_flow: torch.Tensor,
    n_steps: int,
    *,
    use_compiled: bool = False,
) -> Iterator[ChainStep]:
    """Follow the flow from every pixel of frame ``pivot``, up to ``n_steps`` frames each way.

    Args:
        fwd_flow: [n - 1, 2, H, W], channels (u, v) in pixels; idx leads from frame idx to idx + 1.
        bwd_flow: the same shape; idx leads from frame idx + 1 to frame idx.
        use_compiled: compiled loops instead of PyTorch (on the CPU only); the same numbers.

    Yields:
        The steps into frames pivot + 1, pivot + 2, ..., then pivot - 1, pivot - 2, ...
    """
    n_pairs = len(fwd_flow)
    advance = _advance_compiled if use_compiled else _advance
    step = fwd_flow.new_empty(4, *fwd_flow.shape[2:])  # x, y, u, v
    ways = (
        (fwd_flow, range(pivot, min(pivot + n_steps, n_pairs)), 1),
        (bwd_flow, range(pivot - 1, max(pivot - 1 - n_steps, -1), -1), 0),
    )
    for flow, pairs, arrives_at in ways:
        moved = flow.new_zeros(2, flow.shape[2] * flow.shape[3])  # [2, N]
        for idx in pairs:
            advance(flow[idx], moved, step)
            yield ChainStep(idx + arrives_at, *step.flatten(1))


def _advance(flow: torch.Tensor, moved: torch.Tensor, step: torch.Tensor) -> None:
    """One step of all chains: add to ``moved`` [2, N]; write x, y, u, v to ``step`` [4, H, W]."""
    _, height, width = flow.shape
    x, y, _, _ = step.flatten(1)  # [N] each
    rows = torch.arange(height, dtype=flow.dtype, device=flow.device)
    columns = torch.arange(width, dtype=flow.dtype, device=flow.device)
    start_y = rows.repeat_interleave(width)  # [N]
    start_x = columns.repeat(height)  # [N]
    column = (start_x + moved[0]).clamp_(0, width - 1).round_().to(torch.int32)
    row = (start_y + moved[1]).clamp_(0, height - 1).round_().to(torch.int32)
    nearest = row.mul_(width).add_(column)  # [N]
    torch.index_select(flow.reshape(2, -1), 1, nearest, out=step[2:].flatten(1))
    moved += step[2:].flatten(1)
    torch.add(start_x, moved[0], out=x)
    torch.add(start_y, moved[1], out=y)


def _advance_compiled(flow: torch.Tensor, moved: torch.Tensor, step: torch.Tensor) -> None:
    _, height, width = flow.shape
    _advance_loop(flow.reshape(2, -1), height, width, moved, step.flatten(1))


@compiled()
def _advance_loop(flow, height, width, moved, step):  # type: ignore[no-untyped-def]
    # Short loops over a row, and float32 all through, so that the compiler makes vectors of them.
    # For |a| < 2^22, a + 1.5 * 2^23 - 1.5 * 2^23 is a, rounded half to even.
    magic = np.float32(12582912)
    zero, last_row, last_column = np.float32(0), np.float32(height - 1), np.float32(width - 1)
    nearest = np.empty(width, np.uint32)
    for r in range(height):
        first, start_y = r * width, np.float32(r)
        for c in range(width):
            a = np.float32(c) + moved[0, first + c]
            b = start_y + moved[1, first + c]
            a = zero if a < zero else (last_column if a > last_column else a)
            b = zero if b < zero else (last_row if b > last_row else b)
            row, column = np.int32(b + magic - magic), np.int32(a + magic - magic)
            nearest[c] = row * np.int32(width) + column
        for c in range(width):
            step[2, first + c] = flow[0, nearest[c]]
            step[3, first + c] = flow[1, nearest[c]]
        for c in range(width):
            i = first + c
            a, b = moved[0, i] + step[2, i], moved[1, i] + step[3, i]
            moved[0, i], moved[1, i] = a, b
            step[0, i], step[1, i] = np.float32(c) + a, start_y + b
