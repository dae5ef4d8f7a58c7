"""Soft masks from a trained network."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from tqdm import tqdm

from network_module.dataset import to_unit_range
from network_module.precision import half_precision


def predict(
    model: torch.nn.Module,
    frames: torch.Tensor,
    *,
    batch_size: int,
    device: torch.device,
    half: bool = False,
) -> Iterator[tuple[int, torch.Tensor]]:
    """The object's probability in every pixel, softmax channel 1.

    Args:
        model: on ``device``; frames [b, 3, H, W] in [0, 1] -> logits [b, 2, H, W].
        frames: uint8 [n, 3, H, W].
        batch_size: frames at a time.
        half: convolutions in bfloat16.

    Yields:
        Of each batch the index of its first frame and float32 [b, H, W] in [0, 1], on the CPU.
    """
    batches = tqdm(range(0, len(frames), batch_size), desc="predicting", unit="batch", leave=False)
    for start in batches:
        with torch.inference_mode(), half_precision(half, device):
            logits = model(to_unit_range(frames[start : start + batch_size], device))
            masks = logits.float().softmax(dim=1)[:, 1].cpu()
        yield start, masks
