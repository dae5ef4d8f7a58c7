"""The losses against values worked out by hand and against a plain numpy formula."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from network_module.extensions.confidence_weights import confidence, confident_losses
from network_module.losses import cross_entropy, dice, hard_labels, paper_losses


def logits_of(object_probability: list[list[float]]) -> torch.Tensor:
    """[n][W] probabilities -> logits [n, 2, 1, W], shifted so that only their difference counts."""
    p = torch.tensor(object_probability, dtype=torch.float64)[:, None, :]  # [n, 1, W]
    return torch.stack([(1 - p).log() + 3, p.log() + 3], dim=1)


def masks_of(soft_mask: list[list[float]]) -> torch.Tensor:
    return torch.tensor(soft_mask, dtype=torch.float64)[:, None, :]


def test_weighted_cross_entropy_by_hand():
    # -(2 ln 3/4 + 0 ln 1/5 + 1/2 ln 1/4) / 2.5
    loss = cross_entropy(
        logits_of([[0.75, 0.2, 0.25]]), masks_of([[1, 1, 1]]), masks_of([[2, 0, 0.5]])
    )
    assert loss.item() == pytest.approx((2 * math.log(4 / 3) + math.log(4) / 2) / 2.5, abs=1e-12)


def test_no_pixel_with_a_weight():
    logits, labels = logits_of([[0.75, 0.2]]), masks_of([[1.0, 0.0]])
    assert cross_entropy(logits, labels, torch.zeros_like(labels)) == 0
    assert dice(logits, labels, torch.zeros_like(labels)) == 0


def test_weighted_dice_by_hand():
    # Weights 2, 0: of the object p = 0.75, t = 1: 1 - (2 * 1.5 + 1) / (1.5 + 2 + 1) = 1/9;
    # of the background p = 0.25, t = 0: 1 - (0 + 1) / (0.5 + 0 + 1) = 1/3.
    loss = dice(logits_of([[0.75, 0.25]]), masks_of([[1.0, 0.4]]), masks_of([[2.0, 0.0]]))
    assert loss.item() == pytest.approx((1 / 9 + 1 / 3) / 2, abs=1e-12)


def test_labels_and_confidence_of_soft_masks():
    masks = torch.tensor([0.0, 0.25, 0.375, 0.5, 0.625, 0.75, 1.0])
    assert hard_labels(masks).tolist() == [0, 0, 0, 1, 1, 1, 1]
    assert confidence(masks).tolist() == [1, 1, 0.75, 0, 0.75, 1, 1]


def test_losses_agree_with_numpy():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(3, 2, 5, 7))
    t = rng.random((3, 5, 7))
    p = 1 / (1 + np.exp(logits[:, 0] - logits[:, 1]))

    expected_cross_entropy = -np.where(t >= 0.5, np.log(p), np.log(1 - p)).mean()
    frames = []
    for p_frame, t_frame in zip(p, t, strict=True):
        for q, s in ((p_frame, t_frame), (1 - p_frame, 1 - t_frame)):
            frames.append(1 - (2 * (q * s).sum() + 1) / (q.sum() + s.sum() + 1))

    tensors = torch.from_numpy(logits), torch.from_numpy(t)
    expected = [expected_cross_entropy, np.mean(frames)]
    assert paper_losses(*tensors).tolist() == pytest.approx(expected, abs=1e-12)


def test_losses_weighted_by_confidence_by_hand():
    # Soft masks 1, 0.4: labels 1, 0, weights 1 and 3 * 0.2. Cross-entropy: p = 0.75, 0.25, so both
    # losses are ln 4/3. Dice, object: 1 - 2.5 / (0.75 + 0.15 + 1 + 1); background: overlap
    # 0.6 * 0.75, 1 - 1.9 / (0.25 + 0.45 + 0.6 + 1).
    found = confident_losses(logits_of([[0.75, 0.25]]), masks_of([[1.0, 0.4]]))
    # The weights sum to more than 1, so they divide the sum.
    expected = [math.log(4 / 3), ((1 - 2.5 / 2.9) + (1 - 1.9 / 2.3)) / 2]
    assert found.tolist() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("label", [0.0, 1.0])
def test_a_constant_label_gives_finite_losses_and_gradients(label):
    logits = torch.full((2, 2, 3, 4), 40.0)
    logits[:, int(label)] = -40.0  # sure and wrong everywhere
    logits.requires_grad_()
    masks = torch.full((2, 3, 4), label)
    loss = cross_entropy(logits, masks) + dice(logits, masks)
    loss.backward()
    # Cross-entropy 80. Dice, the class that is there: 1 - 1 / (0 + 12 + 1); so is the other one.
    assert loss.item() == pytest.approx(80 + 12 / 13, rel=1e-6)
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()
    assert logits.grad.abs().min() > 0
