"""Losses in which a pixel counts as much as its soft mask is sure."""

from __future__ import annotations

import torch

from network_module.losses import cross_entropy, dice, hard_labels

# How fast the weight rises from 0, at a soft mask of 0.5, to at most 1. With 3 it is 1 up to 1/3
# and from 2/3: thin parts of an object seldom come closer to 1.
SLOPE = 3.0


def confidence(soft_masks: torch.Tensor) -> torch.Tensor:
    """min(SLOPE |2 t - 1|, 1): 1 where a soft mask is sure of either class, 0 where undecided."""
    return (SLOPE * (2 * soft_masks - 1).abs()).clamp(max=1)


def confident_losses(logits: torch.Tensor, soft_masks: torch.Tensor) -> torch.Tensor:
    """Weighted cross-entropy and dice, [2], both on the hard labels; see `losses.paper_losses`."""
    labels, weights = hard_labels(soft_masks), confidence(soft_masks)
    return torch.stack([cross_entropy(logits, labels, weights), dice(logits, labels, weights)])
