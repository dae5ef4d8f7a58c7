"""Refinement: masks as colour and position explain them, along the edges of the frames."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from graph_module.extensions.appearance import Appearance, appearance_masks
from graph_module.extensions.coarse_graph import coarse_video
from graph_module.progress import Progress, silent
from ike_data.guided_filter import follow_edges


@dataclass(frozen=True)
class Refinement:
    """How the masks are refined."""

    appearance: Appearance = field(default_factory=Appearance)


def refine(
    video: torch.Tensor,
    masks: torch.Tensor,
    settings: Refinement,
    *,
    reliability: torch.Tensor | None = None,
    progress: Progress = silent,
) -> torch.Tensor:
    """`appearance_masks` along the edges of the frames.

    Args:
        video: uint8 RGB [n, 3, H, W], on the CPU.
        masks: [n, h, w] in [0, 1], of the size of the graph.
        reliability: of each frame, [n], see `appearance_masks`.

    Returns:
        [n, H, W] in [0, 1]. Of an object of a few pixels it may be that none of them reaches 0.5.
    """
    small = coarse_video(video, (masks.shape[1], masks.shape[2]))
    learnt = appearance_masks(
        small, masks, settings.appearance, reliability=reliability, progress=progress
    )
    return follow_edges(video, learnt)
