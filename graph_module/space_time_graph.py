"""The space-time graph of a video: the links of its motion chains and the features of its nodes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from tqdm import tqdm

from graph_module.chains import ChainStep, follow_chains
from graph_module.features import (
    LEVELS,
    N_DIRECTION_BLOCKS,
    direction_ranges,
    ike_range,
    offsets_read_at,
    write_direction_features,
    write_ike_features,
)
from graph_module.motion_matrix import Flows, MotionMatrix, empty_arrivals, link_cells
from ike_data.cores import map_on_cores


@dataclass(frozen=True)
class SpaceTimeGraph:
    """n frames of N = H * W nodes.

    ``features`` is F^T for each frame, int16 [n, d + 1, N] in steps of 1 / LEVELS, with the bias
    as its last row; d is 0 where no feature is used. It may lie on the CPU, or on the disk, while
    the links are on a GPU.
    """

    motion: MotionMatrix
    features: torch.Tensor


def count_features(
    n_channels: int, dir_features_half_chain_size: int, features_half_chain_size: int
) -> tuple[int, int]:
    """Direction features and ike features of a node; n_channels: of the ike feature maps."""
    n_direction = N_DIRECTION_BLOCKS * max(dir_features_half_chain_size, 0)
    return n_direction, n_channels * max(2 * features_half_chain_size + 1, 0)


def build_graph(
    fwd_flow: torch.Tensor,
    bwd_flow: torch.Tensor,
    feature_maps: Sequence[torch.Tensor],
    *,
    weights: Mapping[int, float],
    dir_features_half_chain_size: int,
    features_half_chain_size: int,
    keep_links: bool = True,
    motion: MotionMatrix | None = None,
    outside: Callable[[tuple[int, ...]], torch.Tensor] | None = None,
    use_compiled: bool = False,
) -> SpaceTimeGraph:
    """Follow the chains of every frame once, for links and features together.

    Args:
        fwd_flow, bwd_flow: [n - 1, 2, H, W]; see `follow_chains`.
        feature_maps: groups of maps [n, C, H, W], each normalised by itself; the maps of
            ike_features_paths are one.
        weights: of a link over k frames, for those k that are used; see `temporal_weights`.
        dir_features_half_chain_size: h; -1 or 0 for no direction features.
        features_half_chain_size: c; -1 for no ike features.
        keep_links: keep the links in memory; else the flows are, and links are followed anew.
        motion: the links of a graph of the same flows, to have them again with other features.
        outside: gives the int16 [n, d + 1, N] to write the features to, where they do not fit on
            the device of the flows.
        use_compiled: compiled loops instead of PyTorch, on the CPU only.
    """
    n_pairs, _, height, width = fwd_flow.shape
    n_frames, n_nodes = n_pairs + 1, height * width
    n_channels = sum(maps.shape[1] for maps in feature_maps)
    n_direction, n_ike = count_features(
        n_channels, dir_features_half_chain_size, features_half_chain_size
    )
    h, c = n_direction // N_DIRECTION_BLOCKS, features_half_chain_size if n_ike else 0
    find_links = keep_links and motion is None
    n_link_steps = max(weights, default=0) if find_links else 0

    flow_ranges = direction_ranges(fwd_flow, bwd_flow)
    groups, row = [], n_direction
    for maps in feature_maps if n_ike else ():
        n_rows = maps.shape[1] * (2 * c + 1)
        groups.append((maps, slice(row, row + n_rows), ike_range(maps, fwd_flow, bwd_flow, c)))
        row += n_rows
    shape = n_frames, n_direction + n_ike + 1, n_nodes
    if outside is None:
        features = torch.empty(shape, dtype=torch.int16, device=fwd_flow.device)
    else:
        features = outside(shape)
    arrivals = None
    if find_links:
        arrivals = empty_arrivals(n_frames, n_nodes, weights, fwd_flow.device)
        row_of = [{p: row for row, p in enumerate(links.pivots.tolist())} for links in arrivals]

    def write_features(pivot: int, frame: int, step: ChainStep | None) -> None:
        """Write what is read in ``frame``; step is None in the pivot frame itself."""
        for offset in offsets_read_at(frame, pivot, n_frames, h):
            if offset:
                out = features[pivot, :n_direction]  # [4 h, N]
                write_direction_features(out, offset, step, flow_ranges)
        for maps, rows, map_range in groups:
            out = features[pivot, rows].view(2 * c + 1, -1, n_nodes)  # [2c+1, C, N]
            for offset in offsets_read_at(frame, pivot, n_frames, c):
                write_ike_features(out, offset, maps[frame], step, map_range)

    def add_pivot(pivot: int) -> None:
        """Write the features of a pivot frame and the cells of its links."""
        features[pivot, -1] = LEVELS  # the bias
        write_features(pivot, pivot, None)
        for step in follow_chains(
            pivot, fwd_flow, bwd_flow, max(n_link_steps, h, c), use_compiled=use_compiled
        ):
            write_features(pivot, step.frame, step)
            if arrivals is not None and abs(step.frame - pivot) in weights:
                cells = arrivals[step.frame].cells[row_of[step.frame][pivot]]
                link_cells(step.x, step.y, height, width, cells, use_compiled=use_compiled)

    pivots = map_on_cores(add_pivot, range(n_frames), fwd_flow.device)
    for _ in tqdm(pivots, desc="chains", total=n_frames, unit="frame"):
        pass
    if motion is None:
        links = Flows(fwd_flow, bwd_flow) if arrivals is None else arrivals
        motion = MotionMatrix(weights, links, use_compiled)
    return SpaceTimeGraph(motion, features)
