"""The losses (docs/method.md section 4)."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from ike_data.soft_masks import HARD_THRESHOLD


def hard_labels(soft_masks: torch.Tensor) -> torch.Tensor:
    """1 where the soft mask is at least 0.5, else 0, in the type of ``soft_masks``."""
    return (soft_masks >= HARD_THRESHOLD).to(soft_masks.dtype)


def paper_losses(logits: torch.Tensor, soft_masks: torch.Tensor) -> torch.Tensor:
    """The terms of the paper's loss, [2]: cross-entropy on the hard labels, dice on the soft masks.

    Args:
        logits: [n, 2, H, W], background and object.
        soft_masks: [n, H, W] in [0, 1], the pseudo-labels.
    """
    return torch.stack([cross_entropy(logits, hard_labels(soft_masks)), dice(logits, soft_masks)])


def cross_entropy(
    logits: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor | None = None
) -> torch.Tensor:
    """Cross-entropy with the label of each pixel, the (weighted) mean over all pixels.

    Args:
        logits: [n, 2, H, W], background and object.
        labels: [n, H, W], 1 where the object is, else 0.
        weights: [n, H, W] of the pixels, at least 0; None, the paper's: all count equally.

    Returns:
        A scalar in nats, at least 0.
    """
    # Labels as probabilities, not as indices: for these PyTorch's CUDA kernel adds up in random
    # order.
    if weights is None:
        return F.cross_entropy(logits, _both_classes(labels))
    losses = F.cross_entropy(logits, _both_classes(labels), reduction="none")  # [n, H, W]
    return (weights * losses).sum() / weights.sum().clamp(min=1)


def dice(
    logits: torch.Tensor, soft_masks: torch.Tensor, weights: torch.Tensor | None = None
) -> torch.Tensor:
    """1 - (2 sum(w p t) + 1) / (sum(w p) + sum(w t) + 1), p the softmax of ``logits``.

    t is the soft mask and w the weight of a pixel. The sums run over the pixels of a frame; the
    mean of the object's and the background's dice, averaged over the batch.

    Args:
        logits: [n, 2, H, W], background and object.
        soft_masks: [n, H, W] in [0, 1].
        weights: [n, H, W], at least 0; None, the paper's: 1.

    Returns:
        A scalar in [0, 1).
    """
    p = logits.softmax(dim=1)  # [n, 2, H, W]
    t = _both_classes(soft_masks)
    weighted_p = p if weights is None else p * weights[:, None]
    weighted_t = t if weights is None else t * weights[:, None]
    overlap = (weighted_p * t).sum(dim=(2, 3))  # [n, 2]
    total = weighted_p.sum(dim=(2, 3)) + weighted_t.sum(dim=(2, 3))
    return (1 - (2 * overlap + 1) / (total + 1)).mean()


def _both_classes(masks: torch.Tensor) -> torch.Tensor:
    """[n, H, W] of the object -> [n, 2, H, W], background and object."""
    return torch.stack([1 - masks, masks], dim=1)
