"""Propagation, x <- M x (docs/method.md section 3, "One iteration", step 1).

As a GPU does it, many frames in each operation; cpu_propagation.py does the same on a CPU.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import torch

from graph_module.cells import corner_sums, n_cells, spread_to_corners
from graph_module.chains import among
from graph_module.cpu_propagation import add_on_cpu
from graph_module.motion_matrix import Departures, Flows, MotionMatrix, linked_steps, write_cells
from ike_data.runtime.cores import frame_blocks, frames_together, map_on_cores

# Bytes of a link at a time: the value read, float32; the value sent, float32 and int64.
LINK_BYTES = 16


def propagate(matrix: MotionMatrix, masks: torch.Tensor) -> torch.Tensor:
    """y = M x; masks x in [0, 1], [n, H, W] -> [n, H, W]."""
    n_frames, device = len(masks), masks.device
    add = _add if frames_together(device) else add_on_cpu

    def product_of_block(number: int) -> tuple[range, torch.Tensor]:
        """The part of M x whose links end (`Arrivals`) or start in a block."""
        touched = matrix.reached_from(matrix.blocks[number], n_frames)
        part = masks.new_zeros(len(touched), *masks.shape[1:])
        add(matrix, number, touched, masks[touched.start : touched.stop], part)
        return touched, part

    product = masks.clone()  # I x
    # Added in the order of the blocks: the same sum in any run with as many cores.
    for touched, part in map_on_cores(product_of_block, range(len(matrix.blocks)), device):
        product[touched.start : touched.stop] += part
    return product


def _add(
    matrix: MotionMatrix, number: int, touched: range, masks: torch.Tensor, part: torch.Tensor
) -> None:
    """Add to ``part`` what the links that start in a block of frames carry, both ways.

    What is sent to the cells is added up as whole numbers, in steps far finer than float32's. A GPU
    adds in any order, and sums of floating-point numbers depend on it: two runs would differ.
    ``masks`` and ``part``, [m, H, W], are those of the m frames ``touched``.
    """
    _, height, width = masks.shape
    read = corner_sums(masks).flatten()
    sent = torch.zeros_like(read, dtype=torch.int64)
    scale = _steps_of_one(matrix.weights, masks[0].numel())
    for links in _links_of(matrix, number, touched.start, height, width):
        rows = among(links.pivots, touched)
        cells = links.cells.flatten()  # [K P N]
        arrived = read.index_select(0, cells).view(len(links.weights), -1)  # [K, P N]
        part[rows].view(-1).addmv_(arrived.T, links.weights)
        leaving = torch.outer(links.weights * scale, masks[rows].flatten())  # [K, P N]
        sent.index_add_(0, cells, leaving.to(torch.int64).flatten())
    sums = (sent * (1 / scale)).view(-1, n_cells(height, width))
    part += spread_to_corners(sums, height, width)


def _links_of(
    matrix: MotionMatrix, number: int, first_frame: int, height: int, width: int
) -> Iterator[Departures]:
    """The links from a block, as many at a time as the memory for what they carry allows."""
    if isinstance(matrix.links, Flows):
        flows, weights, block = matrix.links, matrix.weights, matrix.blocks[number]
        for step in linked_steps(block, flows, weights, use_compiled=False):
            cells = step.x.new_empty(1, *step.x.shape, dtype=torch.int32)
            write_cells(step, first_frame, height, width, cells[0])
            weight = step.x.new_full((1,), weights[abs(step.offset)])
            yield Departures(step.pivots, weight, cells)
        return
    links = matrix.links[number]
    assert isinstance(links, Departures)
    frame_bytes = LINK_BYTES * links.cells[:1].numel()
    for some in frame_blocks(len(links.cells), frame_bytes, links.cells.device):
        distances = slice(some.start, some.stop)
        yield Departures(links.pivots, links.weights[distances], links.cells[distances])


def _steps_of_one(weights: Mapping[int, float], n_nodes: int) -> float:
    """Into how many steps 1 is divided, so that no sum of masks that are sent exceeds int64."""
    most = 2 * sum(weights.values()) * n_nodes  # all links into a frame, to one cell
    return 2.0 ** math.floor(62 - math.log2(max(most, 1)))
