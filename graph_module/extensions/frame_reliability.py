"""Frame reliability: how far the motion in a frame speaks for the frame's mask.

Objects pause, and then the flow does not tell where they are. From a few errors of the flow the
graph can then make the opposite of the object, a mask of nearly the whole frame, and nothing should
be learnt from such a mask. The reliability of a frame is near 1 or near 0: many still frames must
not outvote a moving one that is far away in time.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from graph_module.extensions.motion_saliency import saturating
from ike_data.parameters import Parameters, parameter
from ike_data.runtime.cores import fill_in_blocks
from ike_data.soft_masks import HARD_THRESHOLD

# Bytes per pixel in `split_by_mask`, about.
SPLIT_BYTES = 12


@dataclass(frozen=True)
class FrameReliability(Parameters):
    """When a frame is half reliable, and how sharply that changes."""

    # Mean saliency of what is salient in the frame. DIS flow of still things gives 0 to 0.3, of
    # moving things 0.3 to 0.6.
    salient: float = parameter(0.35, low_excluded=True, high=1)
    # `agreement` of the mask with the saliency. It is low: only masks that leave out nearly all
    # that moves are unreliable.
    agreement: float = parameter(0.05, low_excluded=True, high=1)
    power: int = parameter(8, low=1, high=16)  # high, so that the result is nearly yes or no


def frame_reliability(
    saliency: torch.Tensor, masks: torch.Tensor, settings: FrameReliability | None = None
) -> torch.Tensor:
    """Near 0 where nothing moves by itself, and where nearly all that moves is outside the mask.

    Saliency (`motion_saliency`) and soft masks, [n, H, W] in [0, 1] both -> [n] in [0, 1); 0 for a
    mask of nothing or of everything.
    """
    settings = settings or FrameReliability()

    def of_frames(some: torch.Tensor, of_masks: torch.Tensor) -> torch.Tensor:
        salient, n_pixels = split_by_mask(some, of_masks)
        agrees = agreement(salient, n_pixels) * (n_pixels[1] > 0)
        moves = something_moves(some, settings.salient, settings.power)
        return moves * saturating(agrees, settings.agreement, settings.power)

    n_bytes = SPLIT_BYTES * masks[0].numel()
    return fill_in_blocks(
        masks.new_empty(len(masks)), of_frames, saliency, masks, frame_bytes=n_bytes
    )


def something_moves(saliency: torch.Tensor, salient: float, power: int) -> torch.Tensor:
    """Near 1 where the mean saliency of what is salient is above ``salient``.

    [m, H, W] -> [m]
    """
    mean_salient = (saliency**2).sum((1, 2)) / saliency.sum((1, 2)).clamp(min=1e-6)
    return saturating(mean_salient, salient, power)


def split_by_mask(saliency: torch.Tensor, masks: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Sums of saliency and of pixels, inside and outside of the mask of each frame.

    [m, H, W] both -> [2, m] twice, inside and outside.
    """
    inside = (masks >= HARD_THRESHOLD).to(saliency)
    salient, n_inside = (saliency * inside).sum((1, 2)), inside.sum((1, 2))
    outside, n_pixels = saliency.sum((1, 2)) - salient, inside[0].numel()
    return torch.stack([salient, outside]), torch.stack([n_inside, n_pixels - n_inside])


def agreement(salient: torch.Tensor, n_pixels: torch.Tensor) -> torch.Tensor:
    """Mean saliency inside, over the sum of the means inside and outside; [m] in [0, 1].

    Both arguments are what `split_by_mask` gives.
    """
    means = salient / n_pixels.clamp(min=1)
    return means[0] / means.sum(0).clamp(min=1e-6)
