"""Losses in which a pixel counts as much as its soft mask is sure."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ike_data.parameters import check_ranges, parameter
from network_module.losses import cross_entropy, dice, hard_labels


@dataclass(frozen=True)
class ConfidenceWeights:
    """``slope`` is how fast the weight rises from 0, at a soft mask of 0.5, to at most 1.

    With 3 it is 1 at soft masks up to 1/3 and from 2/3: thin parts of an object seldom come closer
    to 1.
    """

    slope: float = parameter(3.0, low_excluded=True)

    def __post_init__(self) -> None:
        check_ranges(self)


def confidence(soft_masks: torch.Tensor, slope: float) -> torch.Tensor:
    """min(slope |2 t - 1|, 1): 1 where a soft mask is sure of either class, 0 where undecided."""
    return (slope * (2 * soft_masks - 1).abs()).clamp(max=1)


def confident_losses(logits: torch.Tensor, soft_masks: torch.Tensor, slope: float) -> torch.Tensor:
    """Weighted cross-entropy and dice, [2], both on the hard labels; see `losses.paper_losses`."""
    labels, weights = hard_labels(soft_masks), confidence(soft_masks, slope)
    return torch.stack([cross_entropy(logits, labels, weights), dice(logits, labels, weights)])
