"""Soft masks from a trained network."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from tqdm import tqdm

from ike_data.guided_filter import follow_edges
from network_module.dataset import to_unit_range
from network_module.precision import half_precision


def predict(
    model: torch.nn.Module,
    frames: torch.Tensor,
    *,
    batch_size: int,
    device: torch.device,
    half: bool = False,
    along_edges: bool = False,
) -> Iterator[tuple[int, torch.Tensor]]:
    """The object's probability in every pixel, softmax channel 1.

    Args:
        model: on ``device``; frames [b, 3, H, W] in [0, 1] -> logits [b, 2, H, W].
        frames: uint8 [n, 3, H, W].
        batch_size: frames at a time.
        half: convolutions in bfloat16.
        along_edges: see `follow_edges`.

    Yields:
        Of each batch the index of its first frame and float32 [b, H, W] in [0, 1], on the CPU.
    """
    batches = tqdm(range(0, len(frames), batch_size), desc="predicting", unit="batch", leave=False)
    for start in batches:
        batch = frames[start : start + batch_size].to(device)
        with torch.inference_mode():
            with half_precision(half, device):
                logits = model(to_unit_range(batch, device))
            masks = logits.float().softmax(dim=1)[:, 1]  # [b, H, W]
            if along_edges:
                masks = follow_edges(batch, masks)
        yield start, masks.cpu()
