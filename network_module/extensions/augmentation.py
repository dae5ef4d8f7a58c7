"""Random changes of the frames that a batch learns from."""

from __future__ import annotations

import torch


def flip_some(
    frames: torch.Tensor, soft_masks: torch.Tensor, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mirror about half of the frames, [b, 3, H, W], left to right, each with its mask, [b, H, W].

    The ``generator`` is on the CPU.
    """
    flipped = (torch.rand(len(frames), generator=generator) < 0.5).to(frames.device)
    return (
        torch.where(flipped[:, None, None, None], frames.flip(-1), frames),
        torch.where(flipped[:, None, None], soft_masks.flip(-1), soft_masks),
    )


def colour_jitter(
    frames: torch.Tensor, strength: float, generator: torch.Generator
) -> torch.Tensor:
    """Multiply brightness, contrast and saturation of each frame by factors of 1 +- ``strength``.

    Frames, [b, 3, H, W], are in [0, 1] before and after; ``strength`` is in [0, 1), and the
    ``generator`` on the CPU.
    """
    from torchvision.transforms import v2  # not at the top: it takes seconds

    factors = 1 + strength * (2 * torch.rand(len(frames), 3, generator=generator) - 1)
    changed = []
    for frame, (brightness, contrast, saturation) in zip(frames, factors.tolist(), strict=True):
        frame = v2.functional.adjust_brightness(frame, brightness)
        frame = v2.functional.adjust_contrast(frame, contrast)
        changed.append(v2.functional.adjust_saturation(frame, saturation))
    return torch.stack(changed)
