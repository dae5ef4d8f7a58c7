"""Motion evidence: one map of what moves by itself, from motion saliency and the motion prior.

The two fail on different videos: saliency where things at several depths pass a travelling camera,
the prior where motion is unlike the synthetic scenes that it has seen. Each is believed in each
frame as far as colour and position explain it. Objects have colours and a place of their own; what
parallax, water and errors of the flow leave in a map has not.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F

from graph_module.extensions.appearance import Appearance, appearance_masks
from graph_module.progress import Progress, silent
from ike_data.parameters import Parameters, parameter
from ike_data.soft_masks import HARD_THRESHOLD


@dataclass(frozen=True)
class MotionPrior(Parameters):
    """How far the motion prior counts beside the saliency."""

    # Of the overlaps of both maps with what explains them. 0: both count alike; 8: overlaps of 0.5
    # and 0.6 give shares of 0.19 and 0.81.
    power: int = parameter(8, high=16)
    reach: int = parameter(4)  # frames to each side over which the overlaps are averaged
    step: int = parameter(2, low=1)  # every so many frames are looked at
    # Half of the features that masks are learnt with: it is asked how far, not where.
    appearance: Appearance = field(default_factory=lambda: Appearance(n_fourier=250))


def motion_evidence(
    video: torch.Tensor,
    saliency: torch.Tensor,
    prior: torch.Tensor,
    settings: MotionPrior | None = None,
    *,
    progress: Progress = silent,
) -> torch.Tensor:
    """Saliency and prior, each as far as it is believed in each frame.

    Args:
        video: uint8 RGB [n, 3, H, W], on the CPU.
        saliency, prior: [n, H, W] in [0, 1].

    Returns:
        Their weighted mean, [n, H, W] in [0, 1].
    """
    settings = settings or MotionPrior()
    maps = torch.stack([saliency, prior])  # [2, n, H, W]
    beliefs = torch.stack([_belief(video, some, settings, progress) for some in maps])  # [2, n]
    shares = beliefs / beliefs.sum(0)
    return (shares[..., None, None] * maps).sum(0)


def explained(
    video: torch.Tensor, masks: torch.Tensor, settings: Appearance, progress: Progress = silent
) -> torch.Tensor:
    """Overlap (J) of each mask, cut at 0.5, with what colour and position make of the masks.

    Video: uint8 RGB [m, 3, H, W], on the CPU; masks: [m, H, W] in [0, 1]. -> [m] in [0, 1]; 0 where
    a mask has no pixel of at least 0.5.
    """
    learnt = appearance_masks(video, masks, settings, progress=progress) >= HARD_THRESHOLD
    given = masks >= HARD_THRESHOLD
    overlap, union = (given & learnt).sum((1, 2)), (given | learnt).sum((1, 2))
    return overlap / union.clamp(min=1)


def _belief(
    video: torch.Tensor, masks: torch.Tensor, settings: MotionPrior, progress: Progress
) -> torch.Tensor:
    """`explained`, averaged over the frames around a frame, to a power; [n], above 0."""
    overlaps = explained(
        video[:: settings.step], masks[:: settings.step], settings.appearance, progress
    )
    overlaps = overlaps.repeat_interleave(settings.step)[: len(masks)]
    width = 2 * settings.reach + 1
    means = F.avg_pool1d(
        overlaps[None], width, stride=1, padding=settings.reach, count_include_pad=False
    )
    return means[0].clamp(min=0.01) ** settings.power
