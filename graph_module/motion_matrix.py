"""The motion matrix M of a video, as its links (docs/method.md section 3, "Motion matrix M").

    M = I + sum over pairs (p, q) of g(|p - q|) (B_pq + B_pq^T)

B_pq maps frame q to frame p: row i has the four nodes of frame q that the chain of pixel i of
frame p reaches. A link over k frames weighs g(k), see `link_weights`. M itself is never built.

The links are *stored*, or, where a video is too long for that, *recomputed* for each product from
the flow, which is then all that is held.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch

from graph_module.cells import cells_outside, link_cells, n_cells
from graph_module.chains import CHAIN_BYTES, ChainStep, among, follow_chains
from graph_module.progress import Progress, silent
from ike_data.runtime.cores import equal_blocks, frames_at_once, frames_together, map_on_cores

# Frames that a core takes at a time. With more, its own copy of the masks is larger; with fewer,
# blocks overlap more. No setting: masks differ by rounding alone.
FRAMES_PER_BLOCK = 32


@dataclass(frozen=True)
class Arrivals:
    """The links into one frame from the K pivot frames whose chains reach it."""

    pivots: torch.Tensor  # [K] int64
    weights: torch.Tensor  # [K] float32, g of the distance to each pivot
    cells: torch.Tensor  # [K, N] int32, see `link_cells`


class Departures(NamedTuple):
    """Links from P pivot frames over K distances."""

    pivots: range
    weights: torch.Tensor  # [K] float32, g of each distance
    # [K, P, N] int32, into `corner_sums` of the frames that are reached, one after the other; where
    # a pivot has no frame at a distance, into cells of links that leave the frame.
    cells: torch.Tensor


class Flows(NamedTuple):
    """What links are recomputed from: [n - 1, 2, H, W] each, see `follow_chains`."""

    fwd: torch.Tensor
    bwd: torch.Tensor


@dataclass(frozen=True)
class MotionMatrix:
    """M, n N x n N, for n frames of N = H * W nodes; `propagation.propagate` multiplies by it."""

    weights: Mapping[int, float]  # of a link, by its distance in frames
    # Stored: on a CPU the links into each frame, on a GPU the links from each block of frames. Or
    # what they are recomputed from.
    links: Sequence[Arrivals] | Sequence[Departures] | Flows
    blocks: Sequence[range]  # of frames, whose links are worked through together
    use_compiled: bool  # compiled loops instead of PyTorch, on the CPU only

    def reached_from(self, pivots: range, n_frames: int) -> range:
        """The frames that the links from ``pivots`` lead to, and themselves."""
        reach = max(self.weights, default=0)
        return range(max(pivots.start - reach, 0), min(pivots.stop + reach, n_frames))


def motion_matrix(
    fwd_flow: torch.Tensor,
    bwd_flow: torch.Tensor,
    weights: Mapping[int, float],
    *,
    store_links: bool = True,
    use_compiled: bool = False,
    progress: Progress = silent,
) -> MotionMatrix:
    """M from the chains of all pivot frames.

    Args:
        fwd_flow, bwd_flow: [n - 1, 2, H, W], see `follow_chains`.
        weights: of a link over k frames, for those k that are used, see `link_weights`.
        store_links: else they are recomputed from the flow for each product.
        use_compiled: compiled loops instead of PyTorch, on the CPU only.
    """
    n_pairs, _, height, width = fwd_flow.shape
    device, largest = fwd_flow.device, FRAMES_PER_BLOCK
    if frames_together(device):
        largest = frames_at_once(CHAIN_BYTES * height * width, device)
    blocks = equal_blocks(n_pairs + 1, largest, device)
    flows = Flows(fwd_flow, bwd_flow)
    matrix = MotionMatrix(weights, flows, blocks, use_compiled)
    if not store_links:
        return matrix
    store = _departures if frames_together(device) else _arrivals
    return replace(matrix, links=store(flows, matrix, progress))


def _arrivals(flows: Flows, matrix: MotionMatrix, progress: Progress) -> list[Arrivals]:
    """The links into each frame."""
    weights, use_compiled = matrix.weights, matrix.use_compiled
    n_pairs, _, height, width = flows.fwd.shape
    n_frames = n_pairs + 1
    arrivals = _empty_arrivals(n_frames, height * width, weights, flows.fwd.device)
    row_of = [{p: row for row, p in enumerate(links.pivots.tolist())} for links in arrivals]

    def store(pivot: int) -> None:
        pivots = range(pivot, pivot + 1)
        for step in linked_steps(pivots, flows, weights, use_compiled=use_compiled):
            frame = step.frames.start
            cells = arrivals[frame].cells[row_of[frame][pivot], None]
            link_cells(step.x, step.y, height, width, cells, use_compiled=use_compiled)

    stored = map_on_cores(store, range(n_frames), flows.fwd.device)
    for _ in progress(stored, desc="links", total=n_frames, unit="frame"):
        pass
    return arrivals


def linked_steps(
    pivots: range, flows: Flows, weights: Mapping[int, float], *, use_compiled: bool
) -> Iterator[ChainStep]:
    """The steps of the chains of ``pivots`` that make links."""
    n_steps = max(weights, default=0)
    for step in follow_chains(pivots, *flows, n_steps, use_compiled=use_compiled):
        if abs(step.offset) in weights:
            yield step


def _empty_arrivals(
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


def _departures(flows: Flows, matrix: MotionMatrix, progress: Progress) -> list[Departures]:
    """The links from each block of frames."""
    weights = matrix.weights
    n_pairs, _, height, width = flows.fwd.shape
    n_frames, n_nodes, device = n_pairs + 1, height * width, flows.fwd.device
    offsets = [way * k for k in weights if k < n_frames for way in (1, -1)]
    of_offsets = torch.tensor([weights[abs(offset)] for offset in offsets], device=device)

    def of_block(block: range) -> Departures:
        first = matrix.reached_from(block, n_frames).start
        cells = torch.empty(len(offsets), len(block), n_nodes, dtype=torch.int32, device=device)
        cells[:] = cells_outside(n_nodes, height, width, device)
        for step in linked_steps(block, flows, weights, use_compiled=False):
            out = cells[offsets.index(step.offset), among(step.pivots, block)]
            write_cells(step, first, height, width, out)
        return Departures(block, of_offsets, cells)

    links = map_on_cores(of_block, matrix.blocks, device)
    return list(progress(links, desc="links", total=len(matrix.blocks), unit="block"))


def write_cells(
    step: ChainStep, first_frame: int, height: int, width: int, cells: torch.Tensor
) -> None:
    """Write [P, N] int32: `link_cells` of a step, of all frames from ``first_frame`` on."""
    link_cells(step.x, step.y, height, width, cells)
    start, stop = step.frames.start - first_frame, step.frames.stop - first_frame
    of_frame = n_cells(height, width)
    cells += torch.arange(
        start * of_frame, stop * of_frame, of_frame, dtype=torch.int32, device=cells.device
    )[:, None]
