"""Node features, read along the motion chains (docs/method.md section 3, "Node features").

Features are stored feature by feature, [n, d + 1, N], so that each is a contiguous map of a frame.
They are stored as int16: all of them are min-max normalised to [0, 1], and LEVELS equal steps of
0.00003 are finer than anything that reaches the masks. That halves the memory that they take.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from graph_module.chains import ChainStep, follow_chains
from graph_module.progress import Progress, silent
from ike_data.runtime.cores import map_on_cores

N_DIRECTION_BLOCKS = 4  # u past, u future, v past, v future
LEVELS = 32767  # of int16

Range = tuple[float, float]  # lowest and highest value of a block of features
# Gives the room for an int16 tensor of a shape, for tensors on a device.
Room = Callable[[tuple[int, ...], torch.device], torch.Tensor]


def count_features(
    n_channels: int, dir_features_half_chain_size: int, features_half_chain_size: int
) -> tuple[int, int]:
    """Direction features and ike features of a node; n_channels: of the ike feature maps."""
    n_direction = N_DIRECTION_BLOCKS * max(dir_features_half_chain_size, 0)
    return n_direction, n_channels * max(2 * features_half_chain_size + 1, 0)


def node_features(
    fwd_flow: torch.Tensor,
    bwd_flow: torch.Tensor,
    feature_maps: Sequence[torch.Tensor],
    *,
    dir_features_half_chain_size: int,
    features_half_chain_size: int,
    room: Room | None = None,
    use_compiled: bool = False,
    progress: Progress = silent,
) -> torch.Tensor:
    """F^T of all frames, with the bias as its last row.

    Args:
        fwd_flow, bwd_flow: [n - 1, 2, H, W], see `follow_chains`.
        feature_maps: groups of maps [n, C, H, W], each group min-max normalised by itself. The
            maps of ike_features_paths are one.
        dir_features_half_chain_size: h; -1 or 0 for no direction features.
        features_half_chain_size: c; -1 for no ike features.
        room: where to write the features, where they do not fit on the device of the flows.
        use_compiled: compiled loops instead of PyTorch, on the CPU only.

    Returns:
        int16 [n, d + 1, N] in steps of 1 / LEVELS; d is 0 where no feature is used.
    """
    n_frames, n_nodes = len(fwd_flow) + 1, fwd_flow.shape[2] * fwd_flow.shape[3]
    n_channels = sum(maps.shape[1] for maps in feature_maps)
    n_direction, n_ike = count_features(
        n_channels, dir_features_half_chain_size, features_half_chain_size
    )
    h, c = n_direction // N_DIRECTION_BLOCKS, features_half_chain_size if n_ike else 0
    flow_ranges = direction_ranges(fwd_flow, bwd_flow)
    groups, row = [], n_direction
    for maps in feature_maps if n_ike else ():
        n_rows = maps.shape[1] * (2 * c + 1)
        groups.append((maps, slice(row, row + n_rows), ike_range(maps, fwd_flow, bwd_flow, c)))
        row += n_rows
    shape, device = (n_frames, n_direction + n_ike + 1, n_nodes), fwd_flow.device
    features = (
        torch.empty(shape, dtype=torch.int16, device=device)
        if room is None
        else room(shape, device)
    )

    def write(pivot: int, frame: int, step: ChainStep | None) -> None:
        """Write what is read in ``frame``; step is None in the pivot frame itself."""
        for offset in offsets_read_at(frame, pivot, n_frames, h):
            if offset:
                out = features[pivot, :n_direction]  # [4 h, N]
                write_direction_features(out, offset, step, flow_ranges)
        for maps, rows, map_range in groups:
            out = features[pivot, rows].view(2 * c + 1, -1, n_nodes)  # [2c+1, C, N]
            for offset in offsets_read_at(frame, pivot, n_frames, c):
                write_ike_features(out, offset, maps[frame], step, map_range)

    def write_pivot(pivot: int) -> None:
        features[pivot, -1] = LEVELS  # the bias
        write(pivot, pivot, None)
        for step in follow_chains(pivot, fwd_flow, bwd_flow, max(h, c), use_compiled=use_compiled):
            write(pivot, step.frame, step)

    pivots = map_on_cores(write_pivot, range(n_frames), device)
    for _ in progress(pivots, desc="features", total=n_frames, unit="frame"):
        pass
    return features


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

    The step from a pivot frame to the next reads the flow at every pixel, so together the pivots
    read all of it. The first and the last frame have a feature of 0 as well.
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
    if not 1e-30 < high - low < 1e38:
        values = values.double()  # the difference or the scale may be infinite in float32
    out.copy_((values - low).mul_(scale).round_())
