"""Soft masks from a trained network."""

from __future__ import annotations

import torch
from tqdm import tqdm

from network_module.dataset import to_unit_range


@torch.inference_mode()
def predict(
    model: torch.nn.Module, frames: torch.Tensor, *, batch_size: int, device: torch.device
) -> torch.Tensor:
    """The object's probability in every pixel, softmax channel 1.

    Args:
        model: on ``device``; frames [b, 3, H, W] in [0, 1] -> logits [b, 2, H, W].
        frames: uint8 [n, 3, H, W].
        batch_size: frames at a time.

    Returns:
        float32 [n, H, W] in [0, 1], on the CPU.
    """
    batches = tqdm(frames.split(batch_size), desc="predicting", unit="batch", leave=False)
    masks = [model(to_unit_range(batch, device)).softmax(dim=1)[:, 1].cpu() for batch in batches]
    return torch.cat(masks)
