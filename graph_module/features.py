"""Node features, read along the motion chains (docs/method.md section 3, "Node features").

Features are stored feature by feature, [n, d + 1, N], so that each is a contiguous map of a frame.
They are stored as int16: all of them are min-max normalised to [0, 1], and LEVELS equal steps of
0.00003 are finer than anything that reaches the masks. That halves the memory that they take.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import NamedTuple

import torch

from graph_module.chains import CHAIN_BYTES, ChainStep, among, follow_chains
from graph_module.progress import Progress, silent
from ike_data.runtime.cores import frame_blocks, map_on_cores

N_DIRECTION_BLOCKS = 4  # u past, u future, v past, v future
LEVELS = 32767  # of int16

Range = tuple[float, float]  # lowest and highest value of a block of features
# Gives the room for an int16 tensor of a shape, for tensors on a device.
Room = Callable[[tuple[int, ...], torch.device], torch.Tensor]


class _Group(NamedTuple):
    """Feature maps that are normalised together."""

    maps: torch.Tensor  # [n, C, H, W]
    rows: slice  # of the features that are read from them
    value_range: Range  # see `ike_range`


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
    groups, row = [], n_direction
    for maps in feature_maps if n_ike else ():
        rows = slice(row, row + maps.shape[1] * (2 * c + 1))
        groups.append(_Group(maps, rows, ike_range(maps, fwd_flow, bwd_flow, c)))
        row = rows.stop
    flow_ranges = direction_ranges(fwd_flow, bwd_flow)
    shape, device = (n_frames, n_direction + n_ike + 1, n_nodes), fwd_flow.device
    features = (
        torch.empty(shape, dtype=torch.int16, device=device)
        if room is None
        else room(shape, device)
    )

    def write_pivots(pivots: range) -> range:
        out = features[pivots.start : pivots.stop]  # [P, d + 1, N]
        out[:, -1] = LEVELS  # the bias

        def chains(reach: int) -> Iterator[ChainStep]:
            return follow_chains(pivots, fwd_flow, bwd_flow, reach, use_compiled=use_compiled)

        if h:
            of_flow = out[:, :n_direction]
            _write_direction_features(of_flow, pivots, n_frames, chains(h), flow_ranges)
        if groups:
            _write_ike_features(out, pivots, groups, c, chains(c))
        return pivots

    blocks = frame_blocks(n_frames, CHAIN_BYTES * n_nodes, device)
    written = chain.from_iterable(map_on_cores(write_pivots, blocks, device))
    for _ in progress(written, desc="features", total=n_frames, unit="frame"):
        pass
    return features


def _write_direction_features(
    out: torch.Tensor,
    pivots: range,
    n_frames: int,
    steps: Iterator[ChainStep],
    ranges: list[Range],
) -> None:
    """Write the flow vectors that the chains of P pivots read.

    Args:
        out: int16 [P, 4 h, N]: h rows each of u past, u future, v past, v future, and within them
            a row for each offset, the earliest first.
        ranges: see `direction_ranges`.
    """
    rows = out.unflatten(1, (2, -1))  # [P, 2, 2 h, N], u and v
    h = rows.shape[2] // 2

    def write(offset: int, some: slice, u: torch.Tensor, v: torch.Tensor) -> None:
        future = offset > 0
        for component, values in enumerate((u, v)):
            # There is no row for the offset 0.
            write_levels(
                rows[some, component, offset + h - future], values, ranges[2 * component + future]
            )

    for step in steps:
        write(step.offset, among(step.pivots, pivots), step.u, step.v)
    zero = torch.zeros(1, device=out.device)
    for offset, inner, some in _beyond_the_video(pivots, n_frames, h):
        if inner == 0:
            write(offset, some, zero, zero)
        else:
            rows[some, :, offset + h - (offset > 0)] = rows[some, :, inner + h - (inner > 0)]


def direction_ranges(fwd_flow: torch.Tensor, bwd_flow: torch.Tensor) -> list[Range]:
    """Range over the whole video of each block: u past, u future, v past, v future.

    The step from a pivot frame to the next reads the flow at every pixel, so together the pivots
    read all of it. The first and the last frame have a feature of 0 as well.
    """
    return [_range_with_zero(flow[:, c]) for c in (0, 1) for flow in (bwd_flow, fwd_flow)]


def _write_ike_features(
    out: torch.Tensor, pivots: range, groups: Sequence[_Group], c: int, steps: Iterator[ChainStep]
) -> None:
    """Write the feature maps, read where the chains of P pivots stand.

    Each map is read at the position truncated toward zero; outside the frame it is 0.

    Args:
        out: int16 [P, d + 1, N]; within the rows of a group all channels for each of the offsets
            -c .. c.
        steps: c to each side.
    """
    by_offset = [out[:, group.rows].unflatten(1, (2 * c + 1, -1)) for group in groups]
    for (maps, _, value_range), rows in zip(groups, by_offset, strict=True):
        own = maps[pivots.start : pivots.stop].flatten(2)  # [P, C, N]
        write_levels(rows[:, c], own, value_range)
    for step in steps:
        some, pixels, inside = among(step.pivots, pivots), *_pixels(step, groups[0].maps.shape[2:])
        for (maps, _, value_range), rows in zip(groups, by_offset, strict=True):
            there = maps[step.frames].flatten(2)  # [P, C, N]
            values = there.gather(2, pixels.expand_as(there)) * inside
            write_levels(rows[some, c + step.offset], values, value_range)
    n_frames = len(groups[0].maps)
    for offset, inner, some in _beyond_the_video(pivots, n_frames, c):
        for rows in by_offset:
            rows[some, c + offset] = rows[some, c + inner]


def ike_range(maps: torch.Tensor, fwd_flow: torch.Tensor, bwd_flow: torch.Tensor, c: int) -> Range:
    """Range of all ike features of the video: that of the maps, and 0 if a chain leaves the frame.

    Args:
        maps: [n, C, H, W]; fwd_flow, bwd_flow: [n - 1, 2, H, W]; c: frames to each side.
    """
    low, high = maps.min().item(), maps.max().item()
    if low <= 0 <= high:
        return low, high
    n_frames, *_, height, width = maps.shape
    for pivots in frame_blocks(n_frames, CHAIN_BYTES * height * width, maps.device):
        for step in follow_chains(pivots, fwd_flow, bwd_flow, c):
            _, inside = _pixels(step, maps.shape[2:])
            if not inside.all():
                return min(low, 0.0), max(high, 0.0)
    return low, high


def features_as_float(
    features: torch.Tensor, device: torch.device, dtype: torch.dtype = torch.float32
) -> torch.Tensor:
    """int16 features, of any shape, as floating point in [0, 1] on ``device``."""
    return features.to(device).to(dtype).mul_(1 / LEVELS)


def _beyond_the_video(
    pivots: range, n_frames: int, half_chain_size: int
) -> Iterator[tuple[int, int, slice]]:
    """The offsets that lead out of the video, and the offset whose feature each repeats.

    Yields:
        The offset, the one before it, nearer to 0, and which of ``pivots`` it leads out of the
        video.
    """
    for way in (1, -1):
        for offset in range(way, way * (half_chain_size + 1), way):
            inside = range(max(pivots.start, -offset), min(pivots.stop, n_frames - offset))
            beyond = (
                range(max(inside.stop, pivots.start), pivots.stop)
                if way > 0
                else range(pivots.start, min(inside.start, pivots.stop))
            )
            if beyond:
                yield offset, offset - way, among(beyond, pivots)


def _pixels(step: ChainStep, size: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """The pixels where chains stand, truncated toward zero, and whether in the frame; [P, 1, N]."""
    height, width = size
    inside = (step.x > -1) & (step.x < width) & (step.y > -1) & (step.y < height)
    pixels = torch.add(step.x.to(torch.int64), step.y.to(torch.int64), alpha=width)
    return torch.where(inside, pixels, 0)[:, None], inside[:, None]


def _range_with_zero(values: torch.Tensor) -> Range:
    if not values.numel():
        return 0.0, 0.0
    return min(values.min().item(), 0.0), max(values.max().item(), 0.0)


def write_levels(out: torch.Tensor, values: torch.Tensor, value_range: Range) -> None:
    """out = round(LEVELS (v - low) / (high - low)); 0 where all values are equal."""
    low, high = value_range
    scale = LEVELS / (high - low) if high > low else 0.0
    if not 1e-30 < high - low < 1e38:
        values = values.double()  # the difference or the scale may be infinite in float32
    out.copy_((values - low).mul_(scale).round_())
