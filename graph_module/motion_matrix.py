"""The motion matrix M, kept as links between pixels, and its product with a vector.

METHOD section 3, "Motion matrix M". A chain that reaches frame q at the real position (x, y)
links its starting node to the four nodes {floor x, ceil x} x {floor y, ceil y}. What a link
reads is therefore a sum over the corners of a cell, and this file stores one int32 for a link
instead of four indices and four weights:

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
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F

from graph_module.cores import map_on_cores

# More gain little, and each needs memory for all masks.
_MAX_WORKERS = 8


def temporal_weight(distance: int, sigma: float) -> float:
    """g(k) = exp(-k^2 / (2 sigma^2)), the weight of a link over k frames."""
    return math.exp(-(distance**2) / (2 * sigma**2))


def link_cells(x: torch.Tensor, y: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """The cell that each chain position falls into, as an index into `corner_sums`.

    Args:
        x, y: [N] float32 positions in pixels of a frame of height x width, of the chains of all
            N = height * width pixels of a pivot frame, row by row.

    Returns:
        int32 [N]; the last index (4 (H+1) (W+1)) stands for "all corners outside the frame".
    """
    left, top = x.floor(), y.floor()
    inside = (left >= -1) & (left < width) & (top >= -1) & (top < height)
    plane = (left == x).to(torch.int32) + 2 * (top == y).to(torch.int32)
    # Far outside a position may exceed int32; those cells are replaced below.
    row = top.clamp(-1, height).to(torch.int32) + 1
    column = left.clamp(-1, width).to(torch.int32) + 1
    cell = (plane * (height + 1) + row) * (width + 1) + column
    inside[0] = False  # node 0 has no links
    return torch.where(inside, cell, 4 * (height + 1) * (width + 1))


def corner_sums(mask: torch.Tensor) -> torch.Tensor:
    """What a link into each cell reads: the sum of ``mask`` over the cell's four corners.

    Args:
        mask: [H, W] soft mask of a frame.

    Returns:
        [4 (H+1) (W+1) + 1]: four planes of cells, then a 0 for links that leave the frame.
    """
    padded = F.pad(mask, (1, 1, 1, 1))  # [H+2, W+2]
    padded[1, 1] = 0  # node 0 has no links
    top_left, top_right = padded[:-1, :-1], padded[:-1, 1:]  # [H+1, W+1]
    bottom_left, bottom_right = padded[1:, :-1], padded[1:, 1:]
    left, top = top_left + bottom_left, top_left + top_right
    planes = torch.stack([left + top_right + bottom_right, 2 * left, 2 * top, 4 * top_left])
    return torch.cat([planes.flatten(), planes.new_zeros(1)])


def spread_to_corners(cells: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """The transpose of `corner_sums`: [4 (H+1) (W+1) + 1] -> [H, W]."""
    both_real, x_whole, y_whole, both_whole = cells[:-1].reshape(4, height + 1, width + 1)
    top_left = both_real + 2 * x_whole + 2 * y_whole + 4 * both_whole
    top_right = both_real + 2 * y_whole
    bottom_left = both_real + 2 * x_whole
    # Pixel (r, c) is the top left corner of cell (r+1, c+1), the top right one of (r+1, c), ...
    mask = top_left[1:, 1:] + top_right[1:, :-1] + bottom_left[:-1, 1:] + both_real[:-1, :-1]
    mask[0, 0] = 0  # node 0 has no links
    return mask


def propagate(
    arrivals: Sequence[Sequence[tuple[int, torch.Tensor]]], masks: torch.Tensor, sigma: float
) -> torch.Tensor:
    """y = M x, M = I + sum over pairs (p, q) of g(|p - q|) (B_pq + B_pq^T).

    B_pq maps frame q to frame p: row i has the corners that the chain of pixel i of p reaches.

    Args:
        arrivals: for each frame q the pivots p whose chains reach it: (p, their `link_cells` in q).
        masks: x, [n, H, W].

    Returns:
        [n, H, W]
    """

    def partial_product(frames: range) -> torch.Tensor:
        """The part of M x whose links end in ``frames``."""
        product = torch.zeros_like(masks)
        for q in frames:
            product[q] += masks[q]
            read = corner_sums(masks[q])
            written = torch.zeros_like(read)
            for p, cells in arrivals[q]:
                weight = temporal_weight(p - q, sigma)
                product[p].view(-1).add_(read.index_select(0, cells), alpha=weight)
                written.index_add_(0, cells, masks[p].reshape(-1), alpha=weight)
            product[q] += spread_to_corners(written, *masks.shape[1:])
        return product

    # Each worker adds up in a tensor of its own, in a fixed order: the sum is the same in any run.
    n_workers = 1
    if masks.device.type == "cpu":
        n_workers = min(torch.get_num_threads(), len(masks), _MAX_WORKERS)
    parts = [range(worker, len(masks), n_workers) for worker in range(n_workers)]
    first, *others = map_on_cores(partial_product, parts, masks.device)
    for product in others:
        first += product
    return first
