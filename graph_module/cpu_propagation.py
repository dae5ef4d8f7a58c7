"""Propagation on a CPU, frame by frame, by compiled loops or by PyTorch; see propagation.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from graph_module.cells import corner_sums, link_cells, spread_to_corners
from graph_module.compiled import compiled
from graph_module.motion_matrix import Arrivals, Departures, Flows, MotionMatrix, linked_steps


def add_on_cpu(
    matrix: MotionMatrix, number: int, touched: range, masks: torch.Tensor, part: torch.Tensor
) -> None:
    """Add to ``part`` what the links of a block of frames carry, both ways.

    Those that end in it where they are stored, else those that start in it. ``masks`` and ``part``,
    [m, H, W], are those of the m frames ``touched``.
    """
    block, use_compiled = matrix.blocks[number], matrix.use_compiled
    if isinstance(matrix.links, Flows):
        _add_recomputed(matrix.links, matrix.weights, block, touched, masks, part, use_compiled)
    else:
        _add_stored(matrix.links, block, touched, masks, part, use_compiled)


def _add_stored(
    stored: Sequence[Arrivals] | Sequence[Departures],
    block: range,
    touched: range,
    masks: torch.Tensor,
    part: torch.Tensor,
    use_compiled: bool,
) -> None:
    """Frame by frame, so that what the links into one read and write stays in the cache."""
    add_links = _add_links_loop if use_compiled else _add_links
    flat = masks.flatten(1), part.flatten(1)  # [m, N] each, views
    for q in block:
        row, links = q - touched.start, stored[q]
        assert isinstance(links, Arrivals)
        read = corner_sums(masks[row : row + 1])
        written = torch.zeros_like(read)
        pivots = links.pivots - touched.start
        add_links(links.cells, pivots, links.weights, read[0], written[0], *flat)
        part[row] += spread_to_corners(written, *masks.shape[1:])[0]


def _add_recomputed(
    flows: Flows,
    weights: Mapping[int, float],
    block: range,
    touched: range,
    masks: torch.Tensor,
    part: torch.Tensor,
    use_compiled: bool,
) -> None:
    """Pivot by pivot."""
    height, width = masks.shape[1:]
    add_links = _add_links_loop if use_compiled else _add_links
    flat = masks.flatten(1), part.flatten(1)  # [m, N] each, views
    read = corner_sums(masks)
    written = torch.zeros_like(read)
    cells = torch.empty(1, height * width, dtype=torch.int32)
    for p in block:
        pivot = torch.tensor([p - touched.start])
        for step in linked_steps(range(p, p + 1), flows, weights, use_compiled=use_compiled):
            link_cells(step.x, step.y, height, width, cells, use_compiled=use_compiled)
            q = step.frames.start - touched.start
            weight = torch.tensor([weights[abs(step.offset)]])
            add_links(cells, pivot, weight, read[q], written[q], *flat)
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
        read, written: [`n_cells`], see `corner_sums`.
        masks, part: [m, N].
    """
    for row, pivot, weight in zip(cells, pivots.tolist(), weights, strict=True):
        part[pivot] += read.index_select(0, row).mul_(weight)
        written.index_add_(0, row, masks[pivot] * weight)


@compiled()
def _add_links_loop(cells, pivots, weights, read, written, masks, part):  # type: ignore[no-untyped-def]
    """`_add_links`, compiled."""
    for k in range(len(pivots)):
        weight, links = weights[k], cells[k]
        mask, product = masks[pivots[k]], part[pivots[k]]
        for i in range(links.size):
            cell = np.uint32(links[i])  # unsigned: no test for an index from the end
            product[i] += weight * read[cell]
            written[cell] += weight * mask[i]
