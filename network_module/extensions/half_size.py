"""The first passes over the video are at half its size, in a quarter of the time."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from ike_data.parameters import Parameters, parameter


@dataclass(frozen=True)
class HalfSize(Parameters):
    """Which passes are at half the size, and how the others go on; docs/extensions.md says why."""

    share: float = parameter(0.6, low_excluded=True, high=1)  # of the passes, the first ones
    # Networks that learnt from fewer pixels had worse masks: then all passes are at full size.
    least_side: int = parameter(96, low=1)  # pixels, of the shorter side at half the size
    # Of the learning rate, where that decays: more undoes what was learnt at half the size.
    full_size_rate: float = parameter(0.25)


def is_large_enough(height: int, width: int, least_side: int) -> bool:
    """Whether half of height x width pixels is enough to learn from."""
    return min(height, width) >= 2 * least_side


def n_half_size_passes(half_size: HalfSize | None, n_passes: int, height: int, width: int) -> int:
    """How many of the passes, the first ones, are at half of height x width pixels."""
    if half_size is None or not is_large_enough(height, width, half_size.least_side):
        return 0
    return math.floor(half_size.share * n_passes + 1e-9)


def halve(frames: torch.Tensor, soft_masks: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """[b, 3, H, W] and [b, H, W] -> [b, 3, H // 2, W // 2] and [b, H // 2, W // 2], by means."""
    return F.avg_pool2d(frames, 2), F.avg_pool2d(soft_masks, 2)
