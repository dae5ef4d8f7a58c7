"""What a network leaves in its out_path.

- ``models/epoch_%05d.pth``: see `save_checkpoint`;
- ``models/training.pth``: see `save_training`, while the training is not done;
- ``results_pt/epoch_%05d/%05d.pt``: the object's probability, float32 [working_h, working_w, 1];
- ``results_images/epoch_%05d/%05d.png``: the same as 8-bit grey at the frames' own size.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch

from ike_data.atomic import atomic_folder
from ike_data.frames import Frames
from ike_data.overlap import written_behind
from ike_data.soft_masks import encode_mask, mask_name, save_map

MODELS, MAPS, IMAGES = "models", "results_pt", "results_images"
_EPOCH = re.compile(r"epoch_\d+(\.pth)?")


def epoch_name(epoch: int) -> str:
    return f"epoch_{epoch:05d}"


def checkpoint_path(out_path: Path, epoch: int) -> Path:
    return out_path / MODELS / f"{epoch_name(epoch)}.pth"


def state_path(out_path: Path) -> Path:
    return out_path / MODELS / "training.pth"


def saved_epochs(out_path: Path) -> list[Path]:
    """What there is of any epoch."""
    folders = [out_path / name for name in (MODELS, MAPS, IMAGES)]
    return [
        path
        for folder in folders
        for path in (folder.iterdir() if folder.is_dir() else ())
        if _EPOCH.fullmatch(path.name)
    ]


def checkpoints(out_path: Path) -> list[Path]:
    return [path for path in saved_epochs(out_path) if path.suffix == ".pth"]


def is_complete(out_path: Path, to_save: Sequence[int]) -> bool:
    """Whether all is there of the epochs ``to_save``."""
    return all(
        checkpoint_path(out_path, epoch).exists()
        and all((out_path / folder / epoch_name(epoch)).exists() for folder in (MAPS, IMAGES))
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
    name = epoch_name(epoch)
    with (
        atomic_folder(out_path / MAPS / name) as maps,
        atomic_folder(out_path / IMAGES / name) as images,
        written_behind() as write,
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
