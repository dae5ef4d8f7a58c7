"""The space-time graph of a video: the links of its motion chains and the features of its nodes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from tqdm import tqdm

from graph_module.chains import follow_chains
from graph_module.cores import map_on_cores
from graph_module.features import (
    N_DIRECTION_BLOCKS,
    normalise_features,
    read_direction_features,
    read_ike_features,
)
from graph_module.motion_matrix import link_cells


@dataclass(frozen=True)
class SpaceTimeGraph:
    """n frames of N = H * W nodes.

    ``arrivals[q]`` lists, for frame q, the pivots p whose chains reach it and the cells they fall
    into: (p, int32 [N]); see `motion_matrix`. ``features`` is F^T for each frame, float32
    [n, d + 1, N] in [0, 1] with the bias as its last row; d is 0 where no feature is used.
    """

    arrivals: list[list[tuple[int, torch.Tensor]]]
    features: torch.Tensor


def build_graph(
    fwd_flow: torch.Tensor,
    bwd_flow: torch.Tensor,
    feature_maps: torch.Tensor | None,
    *,
    half_window: int,
    dir_features_half_chain_size: int,
    features_half_chain_size: int,
) -> SpaceTimeGraph:
    """Follow the chains of every frame once, for links and features together.

    Args:
        fwd_flow, bwd_flow: [n - 1, 2, H, W]; see `follow_chains`.
        feature_maps: [n, C, H, W] for the ike features, or None.
        half_window: frames that links reach to each side.
        dir_features_half_chain_size: h; -1 or 0 for no direction features.
        features_half_chain_size: c; -1 for no ike features.
    """
    n_pairs, _, height, width = fwd_flow.shape
    n_frames, n_nodes = n_pairs + 1, height * width
    h = max(dir_features_half_chain_size, 0)
    c = features_half_chain_size if feature_maps is not None else -1
    n_direction = N_DIRECTION_BLOCKS * h
    n_ike = 0 if feature_maps is None or c < 0 else (2 * c + 1) * feature_maps.shape[1]

    features = fwd_flow.new_ones(n_frames, n_direction + n_ike + 1, n_nodes)

    def add_pivot(pivot: int) -> list[tuple[int, torch.Tensor]]:
        """Write the features of a pivot frame; return (frame, cells) of its links."""
        links, near = [], {}
        for step in follow_chains(pivot, fwd_flow, bwd_flow, max(half_window, h, c)):
            distance = abs(step.frame - pivot)
            if distance <= half_window:
                links.append((step.frame, link_cells(step.x, step.y, height, width)))
            if distance <= max(h, c):
                near[step.frame] = step
        read_direction_features(features[pivot, :n_direction], pivot, n_frames, near)
        if feature_maps is not None and n_ike:
            out = features[pivot, n_direction:-1].view(2 * c + 1, -1, n_nodes)  # [2c+1, C, N]
            read_ike_features(out, pivot, feature_maps, near)
        return links

    arrivals: list[list[tuple[int, torch.Tensor]]] = [[] for _ in range(n_frames)]
    links_of_pivots = map_on_cores(add_pivot, range(n_frames), fwd_flow.device)
    bar = tqdm(links_of_pivots, desc="chains", total=n_frames, unit="frame")
    for pivot, links in enumerate(bar):
        for frame, cells in links:
            arrivals[frame].append((pivot, cells))
    normalise_features(features[:, :-1], h)
    return SpaceTimeGraph(arrivals, features)
