"""What colour and position explain of masks, along the edges of the frames; not in the paper."""

from __future__ import annotations

import sys

import torch

from graph_module.appearance import appearance_masks
from graph_module.motion_saliency import motion_evidence
from ike_data.guided_filter import follow_edges
from ike_data.soft_masks import HARD_THRESHOLD


def explained(
    video: torch.Tensor, masks: torch.Tensor, saliency: torch.Tensor | None, *, shrink: int = 1
) -> torch.Tensor:
    """`appearance_masks` of all frames, those trusted whose motion speaks for their mask.

    Args:
        video: uint8 RGB [n, 3, H, W], on the CPU.
        masks: [n, H, W] in [0, 1].
        saliency: [n, H, W], see `motion_saliency`; None: all frames count alike.
        shrink: see `appearance_masks`.

    Returns:
        [n, H, W] in [0, 1].
    """
    trust = None if saliency is None else motion_evidence(saliency, masks)
    return follow_edges(video, appearance_masks(video, masks, shrink=shrink, trust=trust))


def refined(
    video: torch.Tensor, masks: torch.Tensor, saliency: torch.Tensor | None
) -> torch.Tensor:
    """What `explained` gives of masks; the masks themselves where that, or they, hold no object."""
    if masks.max() < HARD_THRESHOLD:
        return masks
    result = explained(video, masks, saliency)
    if result.max() < HARD_THRESHOLD:
        print(
            "warning: refinement leaves no object, perhaps as it is very small; the masks are "
            "saved as they were before",
            file=sys.stderr,
        )
        return masks
    return result
