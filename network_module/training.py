"""Training of the U-Net on one video."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from tqdm import tqdm

from ike_data.errors import InputError
from network_module.dataset import shuffled_batches, to_unit_range
from network_module.losses import cross_entropy, dice


class EpochLoss(NamedTuple):
    """Losses of an epoch, the means over its frames, taken while the weights changed."""

    total: float
    cross_entropy: float
    dice: float


def train(
    model: torch.nn.Module,
    frames: torch.Tensor,
    soft_masks: torch.Tensor,
    *,
    n_epochs: int,
    batch_size: int,
    learning_rate: float,
    seed: int,
    device: torch.device,
) -> Iterator[EpochLoss]:
    """Train ``model`` in place, yielding after each epoch (AdamW, shuffled batches).

    Args:
        model: on ``device``; frames [b, 3, H, W] in [0, 1] -> logits [b, 2, H, W].
        frames: uint8 [n, 3, H, W].
        soft_masks: float32 [n, H, W] in [0, 1].
        seed: of the order of the frames; PyTorch's global random state is not used.

    Raises:
        InputError: the loss is not finite.
    """
    shuffling = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.AdamW(model.parameters(), lr=learning_rate)
    for epoch in range(1, n_epochs + 1):
        sums = torch.zeros(2)
        batches = shuffled_batches(len(frames), batch_size, shuffling)
        for batch in tqdm(batches, desc=f"epoch {epoch}/{n_epochs}", unit="batch", leave=False):
            logits = model(to_unit_range(frames[batch], device))
            labels = soft_masks[batch].to(device)
            losses = torch.stack([cross_entropy(logits, labels), dice(logits, labels)])
            if not torch.isfinite(losses).all():
                raise diverged(epoch, learning_rate)
            optimiser.zero_grad()
            losses.sum().backward()
            optimiser.step()
            sums += len(batch) * losses.detach().cpu()
        means = sums / len(frames)
        yield EpochLoss(float(means.sum()), float(means[0]), float(means[1]))


def diverged(epoch: int, learning_rate: float) -> InputError:
    """The error for a network whose loss or output is not finite any more."""
    return InputError(
        f"[Network Module] learning_rate = {learning_rate}: training diverged in epoch {epoch}, "
        "its loss is not finite; use a smaller learning_rate"
    )
