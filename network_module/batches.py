"""The frames of a video, a batch at a time."""

from __future__ import annotations

import torch


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


def check_video(video: torch.Tensor) -> None:
    """Raises ValueError unless ``video`` is uint8 [n, 3, H, W] with at least one pixel."""
    if not isinstance(video, torch.Tensor) or video.dtype != torch.uint8:
        raise ValueError(f"video should be a uint8 tensor, got {_kind(video)}")
    if video.ndim != 4 or video.shape[1] != 3 or video.numel() == 0:
        raise ValueError(f"video should have shape [n, 3, H, W], got {list(video.shape)}")


def check_masks(masks: torch.Tensor, video: torch.Tensor) -> None:
    """Raises ValueError unless ``masks`` is float [n, H, W] in [0, 1], as many as ``video`` has."""
    if not isinstance(masks, torch.Tensor) or not masks.is_floating_point():
        raise ValueError(f"masks should be a float tensor, got {_kind(masks)}")
    n, _, height, width = video.shape
    if masks.shape != (n, height, width):
        raise ValueError(
            f"masks should have shape [{n}, {height}, {width}] as the video, "
            f"got {list(masks.shape)}"
        )
    if not bool(((masks >= 0) & (masks <= 1)).all()):  # NaN is neither
        raise ValueError("masks should be in [0, 1]")


def _kind(value: object) -> str:
    return str(value.dtype) if isinstance(value, torch.Tensor) else type(value).__name__
