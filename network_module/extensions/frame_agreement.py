"""Frames are left out of the training once the network contradicts their pseudo-labels.

A network first learns what most labels agree on, and later, pass by pass, the labels that
contradict these. After the passes at half the size it has seen each frame a few times only. So its
masks are compared with the labels then.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ike_data.parameters import Parameters, parameter
from ike_data.soft_masks import HARD_THRESHOLD
from network_module.batches import to_unit_range
from network_module.extensions.half_size import halve
from network_module.precision import logits_of


@dataclass(frozen=True)
class FrameAgreement(Parameters):
    """When a network agrees with a pseudo-label."""

    # Least intersection over union of its mask and the label. It was above 0.65 in all frames of
    # ten clips whose labels are right, and 0.1 to 0.5 where a label has a river beside the object.
    least_overlap: float = parameter(0.5, low_excluded=True, high=1)


@torch.no_grad()
def agreeing_frames(
    network: torch.nn.Module,
    video: torch.Tensor,
    soft_masks: torch.Tensor,
    agreement: FrameAgreement,
    batch_size: int,
    *,
    bf16: bool,
) -> torch.Tensor:
    """Which frames have a label that the network's mask, at half the size, agrees with.

    Args:
        video: uint8 RGB [n, 3, H, W].
        soft_masks: float32 [n, H, W] in [0, 1], the pseudo-labels.

    Returns:
        bool [n], on the CPU. Where no frame agrees all are True: there is nothing else to learn.
    """
    device = next(network.parameters()).device
    found = []
    for some in torch.arange(len(video)).split(batch_size):
        frames, labels = halve(to_unit_range(video[some], device), soft_masks[some].to(device))
        logits = logits_of(network, frames, bf16=bf16)  # [b, 2, H / 2, W / 2]
        found.append(overlaps(logits[:, 1] > logits[:, 0], labels >= HARD_THRESHOLD))
    agreeing = torch.cat(found).cpu() >= agreement.least_overlap
    return agreeing if agreeing.any() else torch.ones_like(agreeing)


def overlaps(some: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """Intersection over union of hard masks, bool [m, H, W] -> [m]; 1 where both are empty."""
    intersection, union = (some & others).sum((1, 2)), (some | others).sum((1, 2))
    return torch.where(union > 0, intersection / union.clamp(min=1), 1.0)
