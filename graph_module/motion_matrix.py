"""The motion matrix M of a video, as its links (docs/method.md section 3, "Motion matrix M").

    M = I + sum over pairs (p, q) of g(|p - q|) (B_pq + B_pq^T)

B_pq maps frame q to frame p: row i has the four nodes of frame q that the chain of pixel i of
frame p reaches. A link over k frames weighs g(k), see `link_weights`. M itself is never built.

The links are *stored*, or, where a video is too long for that, *recomputed* for each product from
the flow, which is then all that is held.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch

from graph_module.cells import link_cells
from graph_module.chains import follow_chains
from graph_module.progress import Progress, silent
from ike_data.runtime.cores import map_on_cores


@dataclass(frozen=True)
class Arrivals:
    """The links into one frame from the K pivot frames whose chains reach it."""

    pivots: torch.Tensor  # [K] int64
    weights: torch.Tensor  # [K] float32, g of the distance to each pivot
    cells: torch.Tensor  # [K, N] int32, see `link_cells`


class Flows(NamedTuple):
    """What links are recomputed from: [n - 1, 2, H, W] each, see `follow_chains`."""

    fwd: torch.Tensor
    bwd: torch.Tensor


@dataclass(frozen=True)
class MotionMatrix:
    """M, n N x n N, for n frames of N = H * W nodes; `propagation.propagate` multiplies by it."""

    weights: Mapping[int, float]  # of a link, by its distance in frames
    links: Sequence[Arrivals] | Flows  # stored: those into each of the n frames; or recomputed
    use_compiled: bool  # compiled loops instead of PyTorch, on the CPU only


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
    if not store_links:
        return MotionMatrix(weights, Flows(fwd_flow, bwd_flow), use_compiled)
    n_pairs, _, height, width = fwd_flow.shape
    n_frames = n_pairs + 1
    arrivals = _empty_arrivals(n_frames, height * width, weights, fwd_flow.device)
    row_of = [{p: row for row, p in enumerate(links.pivots.tolist())} for links in arrivals]
    n_steps = max(weights, default=0)

    def store(pivot: int) -> None:
        for step in follow_chains(pivot, fwd_flow, bwd_flow, n_steps, use_compiled=use_compiled):
            if abs(step.frame - pivot) in weights:
                cells = arrivals[step.frame].cells[row_of[step.frame][pivot]]
                link_cells(step.x, step.y, height, width, cells, use_compiled=use_compiled)

    stored = map_on_cores(store, range(n_frames), fwd_flow.device)
    for _ in progress(stored, desc="links", total=n_frames, unit="frame"):
        pass
    return MotionMatrix(weights, arrivals, use_compiled)


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
