"""Links as cells: what a chain's end reads of a mask, and writes to it.

docs/method.md section 3, "Motion matrix M": a chain that reaches frame q at the real position
(x, y) links its starting node to the four nodes {floor x, ceil x} x {floor y, ceil y}. These are
the corners of a *cell*, and what a link reads is the sum over them. So a link is stored as the
index of its cell, one int32, in place of four indices and four weights:

- reading: the sums over the corners of all cells of a frame are taken once (`corner_sums`), and
  each link gathers one of them;
- writing, the transpose: each link adds its value to one cell, and the cells are spread to their
  corners once (`spread_to_corners`).

Where x or y is an exact integer, floor and ceil name the same pixel and it counts twice. So each
cell has four kinds of corner sums, a *plane* for each: x and y real; x an integer; y an integer;
both. The cells of a frame of H x W pixels have their top left corners at rows -1 .. H-1 and
columns -1 .. W-1. Corners outside the frame are dropped by reading 0 there.

Node 0, the top left pixel of each frame, has no links in the authors' program, where index 0 also
means "no link". It is one pixel, but it can hold a frame's minimum, which min-max normalisation
sees. So it is left out here too: with it, uniform seeds differ from the authors' by up to 0.012.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from graph_module.compiled import compiled


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
