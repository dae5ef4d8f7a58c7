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

# Bytes that PyTorch's operations on a chain take in one step, about.
CHAIN_BYTES = 120


@dataclass(frozen=True)
class ChainStep:
    """Where the chains of P pivot frames stand, all at the same distance from their pivot.

    N = H * W chains of each pivot, row by row. The tensors are overwritten by the next step.
    """

    offset: int  # frames from a pivot to where its chains stand, not 0
    pivots: range  # those whose chains get there
    x: torch.Tensor  # [P, N] float32, pixels, real-valued, may lie outside the frame
    y: torch.Tensor  # [P, N]
    u: torch.Tensor  # [P, N] flow vector read on the step, pixels
    v: torch.Tensor  # [P, N]

    @property
    def frames(self) -> slice:
        """Where the chains of `pivots` stand."""
        return slice(self.pivots.start + self.offset, self.pivots.stop + self.offset)


def follow_chains(
    pivots: range,
    fwd_flow: torch.Tensor,
    bwd_flow: torch.Tensor,
    n_steps: int,
    *,
    use_compiled: bool = False,
) -> Iterator[ChainStep]:
    """Follow the flow from every pixel of the frames ``pivots``, up to ``n_steps`` each way.

    Args:
        fwd_flow: [n - 1, 2, H, W], channels (u, v) in pixels; idx leads from frame idx to idx + 1.
        bwd_flow: the same shape; idx leads from frame idx + 1 to frame idx.
        use_compiled: compiled loops instead of PyTorch (on the CPU only); the same numbers.

    Yields:
        The steps of offset 1, 2, ..., then -1, -2, ..., as far as one of the pivots has a frame.
    """
    n_pairs, _, height, width = fwd_flow.shape
    start = fwd_flow.new_empty(0) if use_compiled else _pixel_positions(height, width, fwd_flow)
    for flow, way in ((fwd_flow, 1), (bwd_flow, -1)):
        moved = flow.new_zeros(len(pivots), 2, height * width)
        step = flow.new_empty(len(pivots), 4, height * width)  # x, y, u, v
        for distance in range(1, n_steps + 1):
            offset = way * distance
            there = range(max(pivots.start, -offset), min(pivots.stop, n_pairs + 1 - offset))
            if not there:
                break
            kept = among(there, pivots)
            # The pair of frames that the first pivot's chains cross in this step.
            first_pair = there.start + offset - (way > 0)
            read = flow[first_pair : first_pair + len(there)].flatten(2)  # [P, 2, N]
            if use_compiled:
                for values in zip(read, moved[kept], step[kept], strict=True):
                    _advance_loop(values[0], height, width, *values[1:])
            else:
                _advance(read, start, (height, width), moved[kept], step[kept])
            yield ChainStep(offset, there, *step[kept].unbind(1))


def among(some: range, frames: range) -> slice:
    """The slice of ``frames`` that is ``some``."""
    return slice(some.start - frames.start, some.stop - frames.start)


def _pixel_positions(height: int, width: int, like: torch.Tensor) -> torch.Tensor:
    """x and y of each pixel, [2, N]."""
    rows = torch.arange(height, dtype=like.dtype, device=like.device)
    columns = torch.arange(width, dtype=like.dtype, device=like.device)
    return torch.stack([columns.repeat(height), rows.repeat_interleave(width)])


def _advance(
    flow: torch.Tensor,
    start: torch.Tensor,
    size: tuple[int, int],
    moved: torch.Tensor,
    step: torch.Tensor,
) -> None:
    """One step of the chains of P pivots.

    Args:
        flow: [P, 2, N]; start: x and y of each pixel, [2, N]; size: (height, width).
        moved: [P, 2, N], added to.
        step: x, y, u, v, [P, 4, N], written.
    """
    height, width = size
    position = start + moved  # [P, 2, N]
    position[:, 0].clamp_(0, width - 1)
    position[:, 1].clamp_(0, height - 1)
    column, row = position.round_().to(torch.int64).unbind(1)  # [P, N] each
    nearest = torch.add(column, row, alpha=width)
    torch.gather(flow, 2, nearest[:, None].expand_as(flow), out=step[:, 2:])
    moved += step[:, 2:]
    torch.add(start, moved, out=step[:, :2])


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
