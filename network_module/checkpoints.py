"""Checkpoints: of a trained network, and of a training that is to go on."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ike_data.atomic import atomic_file
from ike_data.config import MAX_BASE_CHANNELS, MAX_EPOCHS
from ike_data.errors import InputError
from ike_data.out_of_memory import memory_is_full
from ike_data.tensor_files import is_state_of, load_tensors, save_tensors
from network_module.training import Training
from network_module.unet import UNet


def save_checkpoint(
    path: Path,
    model: torch.nn.Module,
    base_channels: int,
    epoch: int,
    working_size: tuple[int, int],
    training_mark: int = 0,
) -> None:
    """Save all that is needed to build ``model`` again; see `load_checkpoint`.

    ``epoch``, ``working_h`` and ``working_w`` (pixels) say how it was trained; ``training_mark``,
    a checksum, tells that it was trained so (`is_of_training`).
    """
    height, width = working_size
    checkpoint = {
        # On the CPU, so that a machine without a GPU can load it.
        "model": {name: value.cpu() for name, value in model.state_dict().items()},
        "base_channels": base_channels,
        "working_h": height,
        "working_w": width,
        "epoch": epoch,
        "training": training_mark,
    }
    _save(path, checkpoint)


def load_checkpoint(path: Path) -> tuple[UNet, int]:
    """The network of a checkpoint, and the epoch that it was saved after.

    Raises:
        InputError: the file is missing or damaged, or main.py did not save it.
    """
    remedy = "give models/epoch_%05d.pth of an out_path of main.py"
    checkpoint = load_tensors(path, remedy)
    held = checkpoint if isinstance(checkpoint, dict) else {}
    base_channels, epoch, weights = (held.get(key) for key in ("base_channels", "epoch", "model"))
    if (
        not (isinstance(base_channels, int) and 1 <= base_channels <= MAX_BASE_CHANNELS)
        or not (isinstance(epoch, int) and 1 <= epoch <= MAX_EPOCHS)
        or not is_state_of(weights, _expected_state(base_channels))
    ):
        raise InputError(f"{path}: is not a checkpoint of main.py; {remedy}")
    model = UNet(base_channels)
    model.load_state_dict(held["model"])
    return model, epoch


def is_of_training(path: Path, training_mark: int) -> bool:
    """Whether ``path`` is a checkpoint of the training with this mark.

    Raises:
        InputError: it is damaged.
    """
    if not path.exists():
        return False
    checkpoint = load_tensors(path, "delete it, or leave out --resume")
    return isinstance(checkpoint, dict) and checkpoint.get("training") == training_mark


def _expected_state(base_channels: int) -> dict[str, torch.Tensor]:
    with torch.device("meta"):  # shapes only, no memory
        return UNet(base_channels).state_dict()


def save_training(
    path: Path, training: Training, data_mark: int, settings: Mapping[str, object]
) -> None:
    """Save what `load_training` needs to go on after the last finished epoch."""
    _save(path, {**training.state(), "data": data_mark, "settings": _words(settings)})


def load_training(
    path: Path, training: Training, data_mark: int, settings: Mapping[str, object]
) -> None:
    """Go on from ``path``.

    Args:
        training: just made, of these ``settings``.
        data_mark: see `mark_of_data`.

    Raises:
        InputError: the file is damaged, or of a training with other settings or on other data.
    """
    remedy = "delete it, or leave out --resume"
    anew = "leave out --resume to train from the start"
    state = load_tensors(path, remedy)
    held = state if isinstance(state, dict) else {}
    before, now = held.get("settings"), _words(settings)
    if not isinstance(before, dict) or not isinstance(held.get("data"), int):
        raise InputError(f"{path}: is not the state of a training; {remedy}")
    for name in now | before:
        if now.get(name) != before.get(name):
            raise InputError(
                f"{path}: is of a training with {name} = {before.get(name)}, now it is "
                f"{now.get(name)}; {anew}"
            )
    if held["data"] != data_mark:
        raise InputError(f"{path}: is of a training on other frames or pseudo-labels; {anew}")
    try:
        training.load_state(held)
    except Exception as error:  # what load_state_dict raises depends on what it is given
        if memory_is_full(error):
            raise
        raise InputError(f"{path}: is not the state of a training; {remedy}") from error


def _words(settings: Mapping[str, object]) -> dict[str, str]:
    return {name: str(value) for name, value in settings.items()}


def mark_of_training(data_mark: int, settings: Mapping[str, object]) -> int:
    """A checksum of what a network learns from, and how."""
    return zlib.crc32(repr(_words(settings)).encode(), data_mark)


def mark_of_data(frames: torch.Tensor, soft_masks: torch.Tensor) -> int:
    """A checksum of what a network learns from."""
    # Not of .tobytes(), which would copy a whole video.
    return zlib.crc32(
        soft_masks.contiguous().numpy().data, zlib.crc32(frames.contiguous().numpy().data)
    )


def _save(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as partial:
        save_tensors(partial, content)
