"""Coarse graph: everything but the last step, the guided filter, is done at half the size.

A quarter of the nodes takes a quarter of the time and of the memory. What is lost are boundaries.
Refinement finds them anew: its guided filter follows the edges of the frames at the working size.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from ike_data.flow_resizing import resize_flow
from ike_data.parameters import Parameters, parameter
from ike_data.runtime.cores import fill_in_blocks


@dataclass(frozen=True)
class CoarseGraph(Parameters):
    """The size of the graph."""

    shrink: int = parameter(2, low=1)  # the frames' height and width are divided by it
    # The shorter side of the graph in pixels, below which it is not divided: objects of a few
    # pixels would be lost.
    least_side: int = parameter(96, low=1)

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of the graph of frames of height x width pixels."""
        if min(height, width) < self.shrink * self.least_side:
            return height, width
        return height // self.shrink, width // self.shrink


def coarse_maps(maps: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """The mean of the pixels that fall together; [n, C, H, W] -> [n, C, *size]."""
    return _resize_each(maps, size, lambda some: F.interpolate(some, size=size, mode="area"))


def coarse_flow(flow: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """As `coarse_maps`, and in the pixels of that size; [n - 1, 2, H, W] -> [n - 1, 2, *size]."""
    return _resize_each(flow, size, lambda some: resize_flow(some, size, mode="area"))


def coarse_video(video: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """As `coarse_maps`, rounded; uint8 [n, 3, H, W] -> [n, 3, *size]."""
    return _resize_each(
        video, size, lambda some: F.interpolate(some.float(), size=size, mode="area").round_()
    )


def enlarge_masks(masks: torch.Tensor, size: torch.Size) -> torch.Tensor:
    """Bilinearly; [n, h, w] -> [n, *size]."""
    if masks.shape[1:] == size:
        return masks
    return F.interpolate(masks[:, None], size=size, mode="bilinear", align_corners=False)[:, 0]


def _resize_each(
    frames: torch.Tensor, size: tuple[int, int], resize: Callable[[torch.Tensor], torch.Tensor]
) -> torch.Tensor:
    """``resize`` of frames, [m, C, H, W] -> [m, C, *size]; frames of that size stay."""
    if frames.shape[2:] == size:
        return frames
    resized = frames.new_empty(*frames.shape[:2], *size)
    return fill_in_blocks(resized, resize, frames, frame_bytes=4 * frames.shape[1:].numel())
