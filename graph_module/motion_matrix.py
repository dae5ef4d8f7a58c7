"""The motion matrix M, never built, and its product with a vector.

METHOD section 3, "Motion matrix M". A chain that reaches frame q at the real position (x, y)
links its starting node to the four nodes {floor x, ceil x} x {floor y, ceil y}. What a link
reads is therefore a sum over the corners of a cell, and a link is stored as one int32 instead of
four indices and four weights:

- reading: the sums over the corners of all cells of a frame are taken once (`corner_sums`), and
  each link gathers one of them;
- writing, the transpose: each link adds its value to one cell, and the cells are spread to their
  corners once (`spread_to_corners`).

Where x or y is an exact integer, floor and ceil name the same pixel and it counts twice, so each
cell has four kinds of corner sums, a *plane* for each: x and y real; x an integer; y an integer;
both. The cells of a frame of H x W pixels have their top left corners at rows -1 .. H-1 and
columns -1 .. W-1: corners outside the frame are dropped by reading 0 there.

Node 0, the top left pixel of each frame, has no links in the authors' program, where index 0 also
means "no link". It is one pixel, but it can hold a frame's minimum, which min-max normalisation
sees, so it is left out here too: with it, uniform seeds differ from the authors' by up to 0.012.

The links are *kept* in memory, or, where a video is too long for that, *followed anew* for each
product, when only the flow is in memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

from graph_module.chains import follow_chains
from graph_module.compiled import compiled
from ike_data.cores import at_once, equal_blocks, map_on_cores

# Frames that a core takes at a time: more make its own copy of the masks larger, fewer leave it
# more often with the frames that two blocks share.
FRAMES_PER_BLOCK = 32


@dataclass(frozen=True)
class Arrivals:
    """The links into one frame from the K pivots whose chains reach it."""

    pivots: torch.Tensor  # [K] int64
    weights: torch.Tensor  # [K] float32
    cells: torch.Tensor  # [K, N] int32, see `link_cells`


class Flows(NamedTuple):
    """What links are followed along, where they are not kept: [n - 1, 2, H, W] each."""

    fwd: torch.Tensor
    bwd: torch.Tensor


@dataclass(frozen=True)
class MotionMatrix:
    """M = I + sum over pairs (p, q) of g(|p - q|) (B_pq + B_pq^T), n N x n N.

    B_pq maps frame q to frame p: row i has the corners that the chain of pixel i of p reaches.
    """

    weights: Mapping[int, float]  # by distance in frames, as `temporal_weights` gives them
    links: Sequence[Arrivals] | Flows  # kept, those into each of the n frames; or followed anew
    use_compiled: bool  # compiled loops instead of PyTorch, on the CPU only


def empty_arrivals(
    n_frames: int, n_nodes: int, weights: Mapping[int, float], device: torch.device
) -> list[Arrivals]:
    """Arrivals of all frames with their cells still to be written."""
    frames = range(n_frames)
    pivots_of = [[p for p in frames if abs(p - q) in weights] for q in frames]
    return [
        Arrivals(
            torch.tensor(pivots, dtype=torch.int64, device=device),
            torch.tensor([weights[abs(p - q)] for p in pivots], device=device),
            torch.empty(len(pivots), n_nodes, dtype=torch.int32, device=device),
        )
        for q, pivots in enumerate(pivots_of)
    ]


def link_cells(
    x: torch.Tensor,
    y: torch.Tensor,
    height: int,
    width: int,
    cells: torch.Tensor,
    *,
    use_compiled: bool = False,
) -> None:
    """The cell that each chain position falls into, as an index into `corner_sums`.

    Args:
        x, y: [N] float32 positions in pixels of a frame of height x width, of the chains of all
            N = height * width pixels of a pivot frame, row by row.
        cells: int32 [N], written; the last index (4 (H+1) (W+1)) stands for "all corners outside
            the frame".
    """
    outside = 4 * (height + 1) * (width + 1)
    if use_compiled:
        _link_cells_loop(x, y, height, width, cells)
    else:
        left, top = x.floor(), y.floor()
        inside = (left >= -1) & (left < width) & (top >= -1) & (top < height)
        plane = (left == x).to(torch.int32) + 2 * (top == y).to(torch.int32)
        # Far outside a position may exceed int32; those cells are replaced below.
        row = top.clamp(-1, height).to(torch.int32) + 1
        column = left.clamp(-1, width).to(torch.int32) + 1
        cell = (plane * (height + 1) + row) * (width + 1) + column
        cells.copy_(torch.where(inside, cell, outside))
    cells[0] = outside  # node 0 has no links


@compiled()
def _link_cells_loop(x, y, height, width, cells):  # type: ignore[no-untyped-def]
    zero, one, two = np.int32(0), np.int32(1), np.int32(2)
    n_rows, n_columns = np.int32(height + 1), np.int32(width + 1)
    outside = np.int32(4 * (height + 1) * (width + 1))
    for i in range(x.size):
        a, b = x[i], y[i]
        # False for NaN as well.
        inside = (a >= np.float32(-1)) & (a < np.float32(width))
        inside &= (b >= np.float32(-1)) & (b < np.float32(height))
        a = a if inside else np.float32(0)
        b = b if inside else np.float32(0)
        column, row = np.int32(a), np.int32(b)  # truncated: above the floor where negative
        column = column - one if np.float32(column) > a else column
        row = row - one if np.float32(row) > b else row
        plane = (one if np.float32(column) == a else zero) + (two if np.float32(row) == b else zero)
        cell = (plane * n_rows + row + one) * n_columns + column + one
        cells[i] = cell if inside else outside


def corner_sums(masks: torch.Tensor) -> torch.Tensor:
    """What a link into each cell reads: the sum of a mask over the cell's four corners.

    Args:
        masks: [m, H, W] soft masks.

    Returns:
        [m, 4 (H+1) (W+1) + 1]: four planes of cells, then a 0 for links that leave the frame.
    """
    padded = F.pad(masks, (1, 1, 1, 1))  # [m, H+2, W+2]
    padded[:, 1, 1] = 0  # node 0 has no links
    top_left, top_right = padded[:, :-1, :-1], padded[:, :-1, 1:]  # [m, H+1, W+1]
    bottom_left, bottom_right = padded[:, 1:, :-1], padded[:, 1:, 1:]
    sums = padded.new_empty(len(masks), 4 * top_left[0].numel() + 1)
    both_real, x_whole, y_whole, both_whole = _planes(sums, *top_left.shape[1:])
    torch.add(top_left, bottom_left, out=x_whole)
    torch.add(top_right, bottom_right, out=both_real).add_(x_whole)
    torch.add(top_left, top_right, out=y_whole).mul_(2)
    torch.mul(top_left, 4, out=both_whole)
    x_whole.mul_(2)
    sums[:, -1] = 0
    return sums


def spread_to_corners(cells: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """The transpose of `corner_sums`: [m, 4 (H+1) (W+1) + 1] -> [m, H, W]."""
    both_real, x_whole, y_whole, both_whole = _planes(cells, height + 1, width + 1)
    # Pixel (r, c) is the top left corner of cell (r+1, c+1), the top right one of (r+1, c), ...
    masks = both_whole[:, 1:, 1:] * 4
    masks.add_(x_whole[:, 1:, 1:], alpha=2).add_(x_whole[:, :-1, 1:], alpha=2)
    masks.add_(y_whole[:, 1:, 1:], alpha=2).add_(y_whole[:, 1:, :-1], alpha=2)
    masks += both_real[:, 1:, 1:]
    masks += both_real[:, 1:, :-1]
    masks += both_real[:, :-1, 1:]
    masks += both_real[:, :-1, :-1]
    masks[:, 0, 0] = 0  # node 0 has no links
    return masks


def _planes(cells: torch.Tensor, n_rows: int, n_columns: int) -> tuple[torch.Tensor, ...]:
    """The four planes of [m, 4 n_rows n_columns + 1], a view [m, n_rows, n_columns] of each."""
    return cells[:, :-1].unflatten(1, (4, n_rows, n_columns)).unbind(1)


def propagate(matrix: MotionMatrix, masks: torch.Tensor) -> torch.Tensor:
    """y = M x.

    Args:
        masks: x, [n, H, W].

    Returns:
        [n, H, W]
    """
    n_frames, reach = len(masks), max(matrix.weights, default=0)
    links, use_compiled = matrix.links, matrix.use_compiled

    def product_of_block(block: range) -> tuple[range, torch.Tensor]:
        """The part of M x whose links end (kept) or start (followed anew) in ``block``."""
        touched = range(max(block.start - reach, 0), min(block.stop + reach, n_frames))
        part = masks.new_zeros(len(touched), *masks.shape[1:])
        some = masks[touched.start : touched.stop]
        if isinstance(links, Flows):
            _add_followed(links, matrix.weights, block, touched, some, part, use_compiled)
        else:
            _add_kept(links, block, touched, some, part, use_compiled)
        return touched, part

    product = masks.clone()
    blocks = equal_blocks(n_frames, FRAMES_PER_BLOCK, masks.device)
    # Added in the order of the blocks: the same sum in any run with as many cores. On a GPU sums
    # within a block (index_add_) may differ in their last bits.
    for touched, part in map_on_cores(product_of_block, blocks, masks.device):
        product[touched.start : touched.stop] += part
    return product


def _add_kept(
    arrivals: Sequence[Arrivals],
    block: range,
    touched: range,
    masks: torch.Tensor,
    part: torch.Tensor,
    use_compiled: bool,
) -> None:
    """Add to ``part`` what links that end in ``block`` carry, both ways.

    Frame by frame, so that what all of them read and write stays in the processor's cache.

    Args:
        masks, part: [m, H, W], the masks and the sums of the m frames ``touched``.
    """
    add_links = _add_links_compiled if use_compiled else _add_links
    together = at_once(len(block), masks.device)
    for start in range(block.start, block.stop, together):
        frames = range(start, min(start + together, block.stop))
        rows = slice(frames.start - touched.start, frames.stop - touched.start)
        read = corner_sums(masks[rows])
        written = torch.zeros_like(read)
        for idx, q in enumerate(frames):
            links = arrivals[q]
            pivots = links.pivots - touched.start
            add_links(links.cells, pivots, links.weights, read[idx], written[idx], masks, part)
        part[rows] += spread_to_corners(written, *masks.shape[1:])


def _add_followed(
    flows: Flows,
    weights: Mapping[int, float],
    block: range,
    touched: range,
    masks: torch.Tensor,
    part: torch.Tensor,
    use_compiled: bool,
) -> None:
    """As `_add_kept`, for the links that start in ``block``, pivot by pivot."""
    height, width = masks.shape[1:]
    reach = max(weights, default=0)
    add_links = _add_links_compiled if use_compiled else _add_links
    read = corner_sums(masks)
    written = torch.zeros_like(read)
    on_device = {k: masks.new_tensor([weight]) for k, weight in weights.items()}
    cells = torch.empty(height * width, dtype=torch.int32, device=masks.device)
    for p in block:
        pivot = torch.tensor([p - touched.start], device=masks.device)
        for step in follow_chains(p, *flows, reach, use_compiled=use_compiled):
            if (weight := on_device.get(abs(p - step.frame))) is not None:
                link_cells(step.x, step.y, height, width, cells, use_compiled=use_compiled)
                q = step.frame - touched.start
                add_links(cells[None], pivot, weight, read[q], written[q], masks, part)
    part += spread_to_corners(written, height, width)


def _add_links(
    cells: torch.Tensor,
    pivots: torch.Tensor,
    weights: torch.Tensor,
    read: torch.Tensor,
    written: torch.Tensor,
    masks: torch.Tensor,
    part: torch.Tensor,
) -> None:
    """Carry values along the links from K pivots into one frame, both ways.

    ``part`` of each pivot += weight * ``read`` at its cells;
    ``written`` at its cells += weight * ``masks`` of the pivot.

    Args:
        cells: [K, N] int32; pivots: [K], rows of masks and part; weights: [K].
        read, written: [4 (H+1) (W+1) + 1], see `corner_sums`.
        masks, part: [m, H, W].
    """
    masks, part = masks.flatten(1), part.flatten(1)  # [m, N]
    together = max(at_once(len(pivots), cells.device), 1)
    for rows, some, w in zip(
        cells.split(together), pivots.split(together), weights[:, None].split(together), strict=True
    ):
        flat = rows.flatten()  # [k N]
        part.index_add_(0, some, read.index_select(0, flat).view(rows.shape) * w)
        written.index_add_(0, flat, (masks.index_select(0, some) * w).flatten())


def _add_links_compiled(
    cells: torch.Tensor,
    pivots: torch.Tensor,
    weights: torch.Tensor,
    read: torch.Tensor,
    written: torch.Tensor,
    masks: torch.Tensor,
    part: torch.Tensor,
) -> None:
    _add_links_loop(cells, pivots, weights, read, written, masks.flatten(1), part.flatten(1))


@compiled()
def _add_links_loop(cells, pivots, weights, read, written, masks, part):  # type: ignore[no-untyped-def]
    for k in range(len(pivots)):
        weight, links = weights[k], cells[k]
        mask, product = masks[pivots[k]], part[pivots[k]]
        for i in range(links.size):
            cell = np.uint32(links[i])  # unsigned: no test for an index from the end
            product[i] += weight * read[cell]
            written[cell] += weight * mask[i]
