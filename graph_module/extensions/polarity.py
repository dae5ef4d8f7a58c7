"""Polarity: which frames' masks are of the background.

The regression of each frame knows no sign: a mask and its opposite are explained equally well. So
the masks of some frames can turn, where few links lead to the object, or where the seed began so.

Evidence of where the object is (saliency, prior, a network's masks) tells the two apart, but it is
wrong in some frames, as in close-ups of which the flow is unusable, and absent in others. The masks
of neighbouring frames tell where masks turn, but not which of them are right. So it is decided for
all frames together: with s = 1 or -1 for masks that stay or are inverted, the sum of

    s_p contrast_p + neighbour * s_p s_p+1 likeness_p,p+1

is made as large as can be, exactly, by dynamic programming.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from graph_module.extensions.frame_reliability import SPLIT_BYTES, split_by_mask
from ike_data.parameters import Parameters, parameter
from ike_data.runtime.cores import fill_in_blocks
from ike_data.soft_masks import HARD_THRESHOLD


@dataclass(frozen=True)
class Polarity(Parameters):
    """How much evidence and neighbours count."""

    # `contrast` below which evidence says nothing, as that of noise. Masks of objects that move
    # have mostly 0.3 to 0.7.
    least_contrast: float = parameter(0.1, high=1)
    # Frames of full contrast that a likeness of 1 outweighs. Evidence errs in many frames on end:
    # in a close-up of motocross-jump, in 13 frames. There 8 are needed for the masks to stay.
    neighbour: float = parameter(16.0)
    # Cells to each side that masks are compared in, so that a small object which moves by its own
    # size is like itself.
    grid: int = parameter(8, low=1)


def inverted_frames(
    evidence: Sequence[torch.Tensor], masks: torch.Tensor, settings: Polarity | None = None
) -> torch.Tensor:
    """The frames whose masks are of the background.

    None where no frame has any evidence.

    Args:
        evidence: maps of where the object may be, [n, H, W] each; `motion_saliency`, say. They are
            clamped to [0, 1].
        masks: soft masks, [n, H, W].

    Returns:
        bool [n], on the CPU.
    """
    settings = settings or Polarity()
    contrasts = [0.0] * len(masks)
    for maps in evidence:
        for idx, value in enumerate(contrast(maps, masks).tolist()):
            contrasts[idx] += value if abs(value) >= settings.least_contrast else 0
    if not any(contrasts):
        return torch.zeros(len(masks), dtype=torch.bool)
    links = [settings.neighbour * value for value in likeness(masks, settings.grid).tolist()]
    return torch.tensor(_best_inversions(contrasts, links))


def contrast(evidence: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
    """Mean evidence inside a mask less that outside of it; [n, H, W] twice -> [n] in [-1, 1].

    It is 0 for a mask of nothing or of everything.
    """

    def of_frames(some: torch.Tensor, of_masks: torch.Tensor) -> torch.Tensor:
        sums, n_pixels = split_by_mask(some.clamp(0, 1), of_masks)  # [2, m] each
        means = sums / n_pixels.clamp(min=1)
        return (means[0] - means[1]) * (n_pixels.amin(0) > 0)

    n_bytes = SPLIT_BYTES * masks[0].numel()
    return fill_in_blocks(
        masks.new_empty(len(masks)), of_frames, evidence, masks, frame_bytes=n_bytes
    )


def likeness(masks: torch.Tensor, grid: int = Polarity.grid) -> torch.Tensor:
    """How far the masks of neighbouring frames show the same; [n, H, W] -> [n - 1] in [-2, 2].

    Below 0 where a mask is more like the opposite of the next. The correlation r of their means in
    grid x grid cells, and d, the share of pixels in which they differ, make it r + (1 - 2 d)^3. An
    object that grows quickly lies inside of what it is next, and r > 0. Small objects that do not
    overlap have r near 0, but d near 0, too. The cube is near 0 except where d is near 0 or 1.
    """
    hard = masks >= HARD_THRESHOLD
    cells = fill_in_blocks(
        masks.new_empty(len(masks), grid * grid),
        lambda some: F.adaptive_avg_pool2d(some.to(masks)[:, None], grid).flatten(1),
        hard,
        frame_bytes=4 * masks[0].numel(),
    )
    cells -= cells.mean(1, keepdim=True)
    a, b = cells[:-1], cells[1:]
    r = (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1)).clamp(min=1e-6)
    d = (hard[:-1] != hard[1:]).sum((1, 2)) / masks[0].numel()
    return r + (1 - 2 * d) ** 3


def _best_inversions(contrasts: list[float], links: list[float]) -> list[bool]:
    """Where s = -1 in the s that maximises sum s_p contrast_p + s_p s_p+1 link_p (Viterbi).

    Masks stay where it makes no difference.
    """
    best = contrasts[0], -contrasts[0]  # up to a frame that stays, that is inverted
    origins = []
    for value, link in zip(contrasts[1:], links, strict=True):
        to_stay = best[0] + link, best[1] - link
        to_invert = best[0] - link, best[1] + link
        origins.append((to_stay[1] > to_stay[0], to_invert[1] > to_invert[0]))
        best = max(to_stay) + value, max(to_invert) - value
    inverted = [best[1] > best[0]]
    for origin in reversed(origins):
        inverted.append(origin[inverted[-1]])
    return inverted[::-1]
