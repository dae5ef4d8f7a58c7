"""Refinement: masks as colour and position explain them, along the edges of the frames."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from graph_module.extensions.appearance import Appearance, appearance_masks
from graph_module.progress import Progress, silent
from ike_data.guided_filter import follow_edges
from ike_data.soft_masks import HARD_THRESHOLD


@dataclass(frozen=True)
class Refinement:
    """What is learnt of the masks that are the result."""

    appearance: Appearance = field(default_factory=Appearance)


def refine(
    video: torch.Tensor,
    masks: torch.Tensor,
    settings: Refinement,
    *,
    reliability: torch.Tensor | None = None,
    progress: Progress = silent,
) -> torch.Tensor | None:
    """`appearance_masks` along the edges of the frames.

    Args:
        video: uint8 RGB [n, 3, H, W], on the CPU.
        masks: [n, H, W] in [0, 1].
        reliability: of each frame, [n], see `appearance_masks`.

    Returns:
        [n, H, W] in [0, 1]; None if no pixel of it reaches 0.5, as of an object of a few pixels.
        Masks that have no such pixel themselves are returned as they are.
    """
    if masks.max() < HARD_THRESHOLD:
        return masks
    learnt = appearance_masks(
        video, masks, settings.appearance, reliability=reliability, progress=progress
    )
    refined = follow_edges(video, learnt)
    return None if refined.max() < HARD_THRESHOLD else refined
