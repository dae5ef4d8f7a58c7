"""What is to become small in training, and what is measured of it."""

from __future__ import annotations

import torch
import torch.nn.functional as F

DICE_WEIGHT = 0.5
DICE_SMOOTHING = 0.001  # share of the frame: a mask smaller than this counts for less


def mask_loss(logits: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of the pixels, and dice of the masks; [B, h, w] twice -> a number."""
    soft = logits.sigmoid()
    smoothing = DICE_SMOOTHING * masks[0].numel()
    both = (soft * masks).sum((1, 2))
    dice = (2 * both + smoothing) / (soft.sum((1, 2)) + masks.sum((1, 2)) + smoothing)
    return F.binary_cross_entropy_with_logits(logits, masks) + DICE_WEIGHT * (1 - dice).mean()


def intersection_over_union(logits: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
    """Of each mask at a threshold of 0.5, [B]; 1 where both are empty."""
    found, true = logits > 0, masks > 0.5
    union = (found | true).sum((1, 2))
    return torch.where(union > 0, (found & true).sum((1, 2)) / union.clamp(min=1), 1.0)
