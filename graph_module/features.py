"""Node features, read along the motion chains (METHOD section 3, "Node features").

Features are kept feature by feature, [n, d, N], so that each is a contiguous map of a frame.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from graph_module.chains import ChainStep
from graph_module.normalisation import min_max_

N_DIRECTION_BLOCKS = 4  # u past, u future, v past, v future


def read_direction_features(
    out: torch.Tensor, pivot: int, n_frames: int, steps: Mapping[int, ChainStep]
) -> None:
    """Write the flow vectors that the chains of ``pivot`` read around it into ``out``.

    One row for each of the offsets -h .. -1 and 1 .. h; the offset's frame is clamped to the
    video, and where that makes it the pivot itself the feature is 0.

    Args:
        out: [4 h, N]: h rows each of u past, u future, v past, v future; pixels.
        steps: the chains' steps by frame; must hold all frames within h.
    """
    h = len(out) // N_DIRECTION_BLOCKS
    offsets = (*range(-h, 0), *range(1, h + 1))
    for row, offset in enumerate(offsets):
        frame = min(max(pivot + offset, 0), n_frames - 1)
        out[row] = 0 if frame == pivot else steps[frame].u
        out[row + 2 * h] = 0 if frame == pivot else steps[frame].v


def read_ike_features(
    out: torch.Tensor, pivot: int, maps: torch.Tensor, steps: Mapping[int, ChainStep]
) -> None:
    """Write the feature maps, read where the chains of ``pivot`` stand, into ``out``.

    For the offsets -c .. c (frame clamped to the video) each map is read at the position
    truncated toward zero; outside the frame it is 0.

    Args:
        out: [2 c + 1, C, N], all channels for each offset.
        maps: [n, C, H, W], the channels of all folders side by side.
        steps: the chains' steps by frame; must hold all frames within c.
    """
    n_frames, n_channels, height, width = maps.shape
    c = len(out) // 2
    for row, offset in enumerate(range(-c, c + 1)):
        frame = min(max(pivot + offset, 0), n_frames - 1)
        values = maps[frame].reshape(n_channels, -1)  # [C, N]
        if frame != pivot:
            x, y = steps[frame].x.trunc(), steps[frame].y.trunc()
            inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
            pixel_x = torch.where(inside, x, 0).to(torch.int32)
            pixel_y = torch.where(inside, y, 0).to(torch.int32)
            values = values.index_select(1, pixel_y * width + pixel_x) * inside
        out[row] = values


def normalise_features(features: torch.Tensor, half_chain_size: int) -> None:
    """Min-max normalise [n, 4 h + ike, N] over the whole video to [0, 1], in place.

    Each of the four blocks of direction features for itself, all ike features together.
    """
    n_direction = N_DIRECTION_BLOCKS * half_chain_size
    blocks = features[:, :n_direction].split(max(half_chain_size, 1), dim=1)
    for block in (*blocks, features[:, n_direction:]):
        if block.numel():
            min_max_(block)
