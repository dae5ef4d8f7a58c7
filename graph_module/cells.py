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
columns -1 .. W-1. Corners outside the frame are dropped by reading 0 there. Links whose corners are
all outside read one of W more cells, which are 0; several, for a GPU that adds many values to a
single one has to wait for each.

Node 0, the top left pixel of each frame, has no links in the authors' program, where index 0 also
means "no link". It is one pixel, but it can hold a frame's minimum, which min-max normalisation
sees. So it is left out here too: with it, uniform seeds differ from the authors' by up to 0.012.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from graph_module.compiled import compiled


def n_cells(height: int, width: int) -> int:
    """Cells of a frame: the four planes, and ``width`` more for links that leave it."""
    return 4 * (height + 1) * (width + 1) + width


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
        x, y: [P, N] float32 positions in pixels of a frame of height x width, of the chains of all
            N = height * width pixels of P pivot frames, row by row.
        cells: int32 [P, N], written; from 4 (H+1) (W+1) on: all corners are outside the frame.
    """
    if use_compiled:
        for values in zip(x, y, cells, strict=True):
            _link_cells_loop(*values[:2], height, width, values[2])
    else:
        left, top = x.floor(), y.floor()
        # Far outside a position may exceed int32; those cells are replaced below.
        near_left, near_top = left.clamp(-1, width - 1), top.clamp(-1, height - 1)
        inside = (left == near_left) & (top == near_top)
        plane = (height + 1) * (width + 1)
        cell = torch.add(near_left.to(torch.int32), near_top.to(torch.int32), alpha=width + 1)
        cell += width + 2  # the first row and the first column are -1
        cell.add_(left == x, alpha=plane).add_(top == y, alpha=2 * plane)
        outside = cells_outside(x.shape[1], height, width, x.device)
        torch.where(inside, cell, outside, out=cells)
    cells[:, 0] = 4 * (height + 1) * (width + 1)  # node 0 has no links


def cells_outside(n_chains: int, height: int, width: int, device: torch.device) -> torch.Tensor:
    """The cells of chains that leave the frame, in turn: int32 [n_chains]."""
    numbers = torch.arange(n_chains, dtype=torch.int32, device=device)
    return numbers.remainder_(width).add_(4 * (height + 1) * (width + 1))


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

    [m, H, W] -> [m, `n_cells`]: four planes of cells, then a 0 each for links that leave the frame.
    """
    _, height, width = masks.shape
    padded = F.pad(masks, (1, 1, 1, 1))  # [m, H+2, W+2]
    padded[:, 1, 1] = 0  # node 0 has no links
    sums = padded.new_empty(len(masks), n_cells(height, width))
    of_rows = padded.new_empty(len(masks), 2, height + 1, width + 2)
    planes = _planes(sums, height, width)
    # Both rows of a cell; where y is an integer, the upper one twice. Then columns likewise.
    torch.add(padded[:, :-1], padded[:, 1:], out=of_rows[:, 0])
    torch.mul(padded[:, :-1], 2, out=of_rows[:, 1])
    torch.add(of_rows[..., :-1], of_rows[..., 1:], out=planes[:, :, 0])
    torch.mul(of_rows[..., :-1], 2, out=planes[:, :, 1])
    sums[:, -width:] = 0
    return sums


def spread_to_corners(cells: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """The transpose of `corner_sums`: [m, `n_cells`] -> [m, H, W]."""
    planes = _planes(cells, height, width)
    both_real, x_whole, y_whole, both_whole = planes.flatten(1, 2).unbind(1)
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


def _planes(cells: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """The four planes of [m, `n_cells`]: [m, y an integer, x an integer, H+1, W+1], a view."""
    return cells[:, :-width].view(len(cells), 2, 2, height + 1, width + 1)
