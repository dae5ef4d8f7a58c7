"""Node features, read along the motion chains (METHOD section 3, "Node features").

Features are kept feature by feature, [n, d + 1, N], so that each is a contiguous map of a frame,
and as int16: all of them are min-max normalised to [0, 1], and LEVELS equal steps of 0.00003 are
finer than anything that reaches the masks. That halves the memory that they take and move.
"""

from __future__ import annotations

import torch

from graph_module.chains import ChainStep, follow_chains

N_DIRECTION_BLOCKS = 4  # u past, u future, v past, v future
LEVELS = 32767
_FLOAT32 = 1e-30, 1e38

Range = tuple[float, float]  # lowest and highest value of a block of features


def offsets_read_at(frame: int, pivot: int, n_frames: int, half_chain_size: int) -> list[int]:
    """The offsets -half_chain_size .. half_chain_size of ``pivot`` whose frame, clamped to the
    video, is ``frame``."""
    offsets = range(-half_chain_size, half_chain_size + 1)
    return [o for o in offsets if min(max(pivot + o, 0), n_frames - 1) == frame]


def write_direction_features(
    out: torch.Tensor,
    offset: int,
    step: ChainStep | None,
    ranges: tuple[Range, Range, Range, Range],
) -> None:
    """Write the flow vectors that the chains of a pivot read at ``offset`` into ``out``.

    Args:
        out: int16 [4 h, N]: h rows each of u past, u future, v past, v future, and within them
            a row for each offset, the earliest first.
        offset: -h .. -1 or 1 .. h.
        step: the chains' step into the offset's frame; None where that is the pivot itself: 0.
        ranges: see `direction_ranges`.
    """
    h = len(out) // N_DIRECTION_BLOCKS
    future = offset > 0
    row = offset + h - future  # there is no row for the offset 0
    zero = torch.zeros(1, device=out.device)
    _write_levels(out[row], zero if step is None else step.u, ranges[future])
    _write_levels(out[2 * h + row], zero if step is None else step.v, ranges[2 + future])


def direction_ranges(
    fwd_flow: torch.Tensor, bwd_flow: torch.Tensor
) -> tuple[Range, Range, Range, Range]:
    """Range over the whole video of each block: u past, u future, v past, v future.

    The step from a pivot to the next frame reads the flow at every pixel, so together the pivots
    read all of it; and the first or last frame has a feature of 0.
    """
    past, future = (
        [_range_with_zero(flow[:, component]) for component in (0, 1)]
        for flow in (bwd_flow, fwd_flow)
    )
    return past[0], future[0], past[1], future[1]


def write_ike_features(
    out: torch.Tensor, offset: int, maps: torch.Tensor, step: ChainStep | None, value_range: Range
) -> None:
    """Write the feature maps, read where the chains of a pivot stand at ``offset``, into ``out``.

    Each map is read at the position truncated toward zero; outside the frame it is 0.

    Args:
        out: int16 [2 c + 1, C, N], all channels for each of the offsets -c .. c.
        maps: [C, H, W] of the offset's frame, the channels of all folders side by side.
        step: the chains' step into that frame; None where it is the pivot itself.
        value_range: see `ike_range`.
    """
    n_channels, height, width = maps.shape
    values = maps.reshape(n_channels, -1)  # [C, N]
    if step is not None:
        x, y = step.x.trunc(), step.y.trunc()
        inside = _inside(x, y, height, width)
        pixel_x = torch.where(inside, x, 0).to(torch.int32)
        pixel_y = torch.where(inside, y, 0).to(torch.int32)
        values = values.index_select(1, pixel_y * width + pixel_x) * inside
    _write_levels(out[len(out) // 2 + offset], values, value_range)


def ike_range(maps: torch.Tensor, fwd_flow: torch.Tensor, bwd_flow: torch.Tensor, c: int) -> Range:
    """Range of all ike features of the video: that of the maps, and 0 if a chain leaves the frame.

    Args:
        maps: [n, C, H, W]; fwd_flow, bwd_flow: [n - 1, 2, H, W]; c: frames to each side.
    """
    low, high = maps.min().item(), maps.max().item()
    if low <= 0 <= high:
        return low, high
    for pivot in range(len(maps)):
        for step in follow_chains(pivot, fwd_flow, bwd_flow, c):
            if not _inside(step.x.trunc(), step.y.trunc(), *maps.shape[2:]).all():
                return min(low, 0.0), max(high, 0.0)
    return low, high


def features_as_float(
    features: torch.Tensor, device: torch.device, dtype: torch.dtype = torch.float32
) -> torch.Tensor:
    """int16 features, of any shape, as floating point in [0, 1] on ``device``."""
    return features.to(device).to(dtype).mul_(1 / LEVELS)


def _inside(x: torch.Tensor, y: torch.Tensor, height: int, width: int) -> torch.Tensor:
    return (x >= 0) & (x < width) & (y >= 0) & (y < height)


def _range_with_zero(values: torch.Tensor) -> Range:
    if not values.numel():
        return 0.0, 0.0
    return min(values.min().item(), 0.0), max(values.max().item(), 0.0)


def _write_levels(out: torch.Tensor, values: torch.Tensor, value_range: Range) -> None:
    """out = round(LEVELS (v - low) / (high - low)); 0 where all values are equal."""
    low, high = value_range
    scale = LEVELS / (high - low) if high > low else 0.0
    if not _FLOAT32[0] < high - low < _FLOAT32[1]:
        values = values.double()  # the difference or the scale may be infinite in float32
    out.copy_((values - low).mul_(scale).round_())
