"""Propagation, x <- M x (docs/method.md section 3, "One iteration", step 1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from graph_module.cells import corner_sums, link_cells, spread_to_corners
from graph_module.chains import follow_chains
from graph_module.compiled import compiled
from graph_module.motion_matrix import Arrivals, Flows, MotionMatrix
from ike_data.runtime.cores import at_once, equal_blocks, map_on_cores

# Frames that a core takes at a time: more make its own copy of the masks larger, fewer leave it
# more often with the frames that two blocks share. No setting: masks differ by rounding alone.
FRAMES_PER_BLOCK = 32


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
        """The part of M x whose links end (stored) or start (recomputed) in ``block``."""
        touched = range(max(block.start - reach, 0), min(block.stop + reach, n_frames))
        part = masks.new_zeros(len(touched), *masks.shape[1:])
        some = masks[touched.start : touched.stop]
        if isinstance(links, Flows):
            _add_recomputed(links, matrix.weights, block, touched, some, part, use_compiled)
        else:
            _add_stored(links, block, touched, some, part, use_compiled)
        return touched, part

    product = masks.clone()  # I x
    blocks = equal_blocks(n_frames, FRAMES_PER_BLOCK, masks.device)
    # Added in the order of the blocks: the same sum in any run with as many cores. On a GPU sums
    # within a block (index_add_) may differ in their last bits.
    for touched, part in map_on_cores(product_of_block, blocks, masks.device):
        product[touched.start : touched.stop] += part
    return product


def _add_stored(
    arrivals: Sequence[Arrivals],
    block: range,
    touched: range,
    masks: torch.Tensor,
    part: torch.Tensor,
    use_compiled: bool,
) -> None:
    """Add to ``part`` what the links that end in ``block`` carry, both ways.

    Frame by frame, so that what the links of a frame read and write stays in the processor's cache.

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


def _add_recomputed(
    flows: Flows,
    weights: Mapping[int, float],
    block: range,
    touched: range,
    masks: torch.Tensor,
    part: torch.Tensor,
    use_compiled: bool,
) -> None:
    """As `_add_stored`, for the links that start in ``block``, pivot by pivot."""
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
