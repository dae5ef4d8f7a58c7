"""What a network leaves of an epoch in its out_path; see `ike_data.layout`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import torch

from ike_data.frames import Frames
from ike_data.layout import checkpoint_path, epoch_images, epoch_masks
from ike_data.runtime.atomic import atomic_folder
from ike_data.runtime.prefetch import write_behind
from ike_data.soft_masks import encode_mask, mask_name, save_map


def is_complete(out_path: Path, to_save: Sequence[int]) -> bool:
    """Whether all is there of the epochs ``to_save``."""
    return all(
        checkpoint_path(out_path, epoch).exists()
        and epoch_masks(out_path, epoch).exists()
        and epoch_images(out_path, epoch).exists()
        for epoch in to_save
    )


def write_masks(
    out_path: Path,
    epoch: int,
    batches: Iterable[tuple[int, torch.Tensor]],
    frames: Frames,
    not_finite: Exception,
) -> float:
    """Write the masks of an epoch and their pictures, while the next ones are computed.

    Args:
        batches: see `predict_batches`.
        not_finite: raised, and nothing is left, where a mask has a value that is not finite.

    Returns:
        The highest value of the masks.
    """
    with (
        atomic_folder(epoch_masks(out_path, epoch)) as maps,
        atomic_folder(epoch_images(out_path, epoch)) as images,
        write_behind() as write,
    ):
        highest = 0.0
        for start, masks in batches:
            if not torch.isfinite(masks).all():
                raise not_finite
            highest = max(highest, masks.max().item())

            def write_batch(start: int = start, masks: torch.Tensor = masks) -> None:
                for idx, mask in enumerate(masks, start):
                    save_map(maps / mask_name(idx), mask.unsqueeze(-1))
                    data = encode_mask(mask, frames.height, frames.width)
                    (images / mask_name(idx, ".png")).write_bytes(data)

            write(write_batch)
    return highest
