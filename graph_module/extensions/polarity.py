"""Polarity: whether the masks are of the object or of the background.

The iteration gives masks or their opposite where the features explain both equally. In videos of a
few frames the background can win, as it has more links. Motion saliency tells the two apart.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from graph_module.extensions.frame_reliability import (
    FrameReliability,
    agreement,
    something_moves,
    split_by_mask,
)
from ike_data.parameters import check_ranges, parameter


@dataclass(frozen=True)
class Polarity:
    """When masks are inverted."""

    # `agreement` of the masks of the whole video with the saliency, below which they are of the
    # background. On 24 videos of 2 or 3 frames it was up to 0.02 where they were, and at least 0.59
    # where they were not.
    agreement: float = parameter(0.25, high=1)
    # `something_moves` of at least one frame; else nothing can be said.
    least_motion: float = parameter(0.5, high=1)
    salient: float = parameter(FrameReliability.salient, low_excluded=True, high=1)
    power: int = parameter(FrameReliability.power, low=1)

    def __post_init__(self) -> None:
        check_ranges(self)


def is_background(
    saliency: torch.Tensor, masks: torch.Tensor, settings: Polarity | None = None
) -> bool:
    """Whether the masks of a video, as a whole, leave out what moves by itself.

    Frames in which nothing moves by itself do not count.

    Args:
        saliency: [n, H, W] in [0, 1], see `motion_saliency`.
        masks: soft masks, [n, H, W].
    """
    settings = settings or Polarity()
    moves = torch.stack(
        [something_moves(frame, settings.salient, settings.power) for frame in saliency]
    )
    parts = torch.stack([split_by_mask(*frame) for frame in zip(saliency, masks, strict=True)])
    salient, n_pixels = (moves[:, None, None] * parts).sum(dim=0)  # inside and outside, each
    if moves.max() < settings.least_motion or n_pixels.min() < 1:
        return False
    return bool(agreement(salient, n_pixels) < settings.agreement)
