"""What a training reads: pseudo-labels, and frames a batch at a time."""

from __future__ import annotations

from pathlib import Path

import torch

from ike_data.errors import InputError
from ike_data.soft_masks import mask_name, read_soft_masks


def read_pseudo_labels(folder: Path, n_frames: int, height: int, width: int) -> torch.Tensor:
    """Read the soft mask of each frame, float32 [n_frames, height, width] in [0, 1].

    Raises:
        InputError: the folder holds masks of more frames than the video has, or as
            `ike_data.soft_masks.read_soft_masks`.
    """
    masks = read_soft_masks(folder, n_frames, height, width)
    if (folder / mask_name(n_frames)).exists():
        raise InputError(
            f"{folder / mask_name(n_frames)}: the video has only {n_frames} frames, the last mask "
            f"should be {mask_name(n_frames - 1)}; give the masks of this video"
        )
    return masks


def to_unit_range(frames: torch.Tensor, device: torch.device) -> torch.Tensor:
    """uint8 frames -> float32 in [0, 1] on ``device``."""
    return frames.to(device).to(torch.float32) / 255


def shuffled_batches(
    n_frames: int, batch_size: int, generator: torch.Generator
) -> tuple[torch.Tensor, ...]:
    """Frame indices, each once, in random order, ``batch_size`` at a time.

    The last batch has what is left, at least one frame.
    """
    return torch.randperm(n_frames, generator=generator).split(batch_size)
