"""What a network leaves of an epoch in its out_path; see `ike_data.layout`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import torch

from ike_data.frames import Frames
from ike_data.layout import checkpoint_path, epoch_images, epoch_masks, epoch_name
from ike_data.runtime.atomic import atomic_folder
from ike_data.runtime.errors import warn
from ike_data.runtime.prefetch import write_behind
from ike_data.soft_masks import HARD_THRESHOLD, encode_mask, mask_name, save_map


def is_complete(out_path: Path, to_save: Sequence[int]) -> bool:
    """Whether all is there of the epochs ``to_save``."""
    parts = checkpoint_path, epoch_masks, epoch_images
    return all(part(out_path, epoch).exists() for epoch in to_save for part in parts)


def write_masks(
    out_path: Path,
    epoch: int,
    batches: Iterable[tuple[int, torch.Tensor]],
    frames: Frames,
    not_finite: Exception,
) -> Path:
    """Write the masks of an epoch and their pictures, while the next ones are computed.

    Warns on stderr if no mask at all reaches 0.5.

    Args:
        batches: see `predict_batches`.
        not_finite: raised, and nothing is left, where a mask has a value that is not finite.

    Returns:
        The folder of the masks.
    """
    folder = epoch_masks(out_path, epoch)
    with (
        atomic_folder(folder) as maps,
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
    if highest < HARD_THRESHOLD:
        warn(
            f"the network of {epoch_name(epoch)} finds no object, its masks are below "
            f"{HARD_THRESHOLD} everywhere; do the pseudo-labels hold one? If so, train for longer "
            "(n_epochs, passes_per_epoch) or with more base_channels"
        )
    return folder
