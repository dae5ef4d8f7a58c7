"""The losses (METHOD section 4): cross-entropy on hard labels plus dice on soft masks."""

from __future__ import annotations

import torch
import torch.nn.functional as F

_HARD_THRESHOLD = 0.5


def cross_entropy(
    logits: torch.Tensor, soft_masks: torch.Tensor, *, soft_labels: bool = False
) -> torch.Tensor:
    """Cross-entropy with the hard label (soft mask >= 0.5), the mean over all pixels.

    Args:
        logits: [n, 2, H, W], background and object.
        soft_masks: [n, H, W] in [0, 1].
        soft_labels: with the soft mask itself as the label's probability (not in the paper).

    Returns:
        A scalar in nats, at least 0.
    """
    labels = soft_masks if soft_labels else (soft_masks >= _HARD_THRESHOLD).to(logits.dtype)
    # Labels as probabilities, not as indices: for these PyTorch's CUDA kernel adds up in random
    # order.
    return F.cross_entropy(logits, _both_classes(labels))


def dice(logits: torch.Tensor, soft_masks: torch.Tensor) -> torch.Tensor:
    """1 - (2 sum(p t) + 1) / (sum p + sum t + 1), p the softmax of ``logits``, t the soft mask.

    The sums run over the pixels of a frame; the mean of the object's and the background's dice,
    averaged over the batch.

    Args:
        logits: [n, 2, H, W], background and object.
        soft_masks: [n, H, W] in [0, 1].

    Returns:
        A scalar in [0, 1).
    """
    p = logits.softmax(dim=1)  # [n, 2, H, W]
    t = _both_classes(soft_masks)
    overlap = (p * t).sum(dim=(2, 3))  # [n, 2]
    total = p.sum(dim=(2, 3)) + t.sum(dim=(2, 3))
    return (1 - (2 * overlap + 1) / (total + 1)).mean()


def _both_classes(masks: torch.Tensor) -> torch.Tensor:
    """[n, H, W] of the object -> [n, 2, H, W], background and object."""
    return torch.stack([1 - masks, masks], dim=1)
