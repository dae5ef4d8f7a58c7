"""Checkpoints: of a trained network, and of a training that is to go on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from ike_data.config import MAX_BASE_CHANNELS, MAX_EPOCHS
from ike_data.runtime.atomic import atomic_file
from ike_data.runtime.errors import InputError
from ike_data.runtime.out_of_memory import memory_is_full
from ike_data.tensor_files import is_state_of, load_tensors, save_tensors
from network_module.identity import Identity
from network_module.training import Training
from network_module.unet import UNet

REMEDY = "delete it, or leave out --resume"


def save_checkpoint(
    path: Path, network: UNet, epoch: int, working_size: tuple[int, int], training_mark: int
) -> None:
    """Save all that is needed to build ``network`` again; see `load_checkpoint`.

    ``epoch``, ``working_size`` (height, width; pixels) and `Identity.mark` say how it was trained.
    """
    height, width = working_size
    checkpoint = {
        # On the CPU, so that a machine without a GPU can load it.
        "model": {name: value.cpu() for name, value in network.state_dict().items()},
        "base_channels": network.last.in_channels,
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
    if path.is_dir():
        raise InputError(f"{path}: is a folder; {remedy}")
    checkpoint = load_tensors(path, remedy)
    held = checkpoint if isinstance(checkpoint, dict) else {}
    base_channels, epoch, weights = (held.get(key) for key in ("base_channels", "epoch", "model"))
    if (
        not (isinstance(base_channels, int) and 1 <= base_channels <= MAX_BASE_CHANNELS)
        or not (isinstance(epoch, int) and 1 <= epoch <= MAX_EPOCHS)
        or not is_state_of(weights, _expected_state(base_channels))
    ):
        raise InputError(f"{path}: is not a checkpoint of main.py; {remedy}")
    network = UNet(base_channels)
    network.load_state_dict(held["model"])
    return network, epoch


def is_of_training(path: Path, training_mark: int) -> bool:
    """Whether ``path`` is a checkpoint of the training with this `Identity.mark`.

    InputError where it is damaged.
    """
    checkpoint = load_tensors(path, REMEDY)
    return isinstance(checkpoint, dict) and checkpoint.get("training") == training_mark


def _expected_state(base_channels: int) -> dict[str, torch.Tensor]:
    with torch.device("meta"):  # shapes only, no memory
        return UNet(base_channels).state_dict()


class TrainingState(NamedTuple):
    """What an interrupted training has left, and what it is the state of."""

    state: dict[str, Any]  # see `Training.state`
    data_mark: int  # this and settings: see `Identity`
    settings: dict[str, str]
    log: list[list[str]]  # the lines of its log.csv

    @property
    def identity(self) -> Identity:
        return Identity(self.data_mark, self.settings)


def save_training(
    path: Path, training: Training, identity: Identity, log: Sequence[Sequence[str]]
) -> None:
    """Save what a training needs to go on after its last finished epoch; see `TrainingState`."""
    kept = TrainingState(training.state(), *identity, [list(row) for row in log])
    _save(path, kept._asdict())


def read_training(path: Path) -> TrainingState:
    """Read what `save_training` has saved.

    Raises:
        InputError: the file is damaged, or something else.
    """
    held = load_tensors(path, REMEDY)
    if (
        not isinstance(held, dict)
        or held.keys() != set(TrainingState._fields)
        or not isinstance(held["data_mark"], int)
        or not _is_dict_of_words(held["settings"])
        or not _is_log(held["log"])
    ):
        raise InputError(f"{path}: is not the state of a training; {REMEDY}")
    return TrainingState(**held)


def restore_training(path: Path, training: Training, kept: TrainingState, n_epochs: int) -> None:
    """Put what was ``kept`` in ``path`` into ``training``, just made of the same settings.

    Raises:
        InputError: it is not the state of such a training of ``n_epochs``.
    """
    try:
        training.load_state(kept.state)
    except Exception as error:  # what load_state_dict raises depends on what it is given
        if memory_is_full(error):
            raise
        raise InputError(f"{path}: is not the state of a training; {REMEDY}") from error
    if training.epoch >= n_epochs:  # a run of these settings saves none of its last epoch
        raise InputError(
            f"{path}: is of epoch {training.epoch}, but n_epochs = {n_epochs}; {REMEDY}"
        )


def _is_dict_of_words(value: object) -> bool:
    return isinstance(value, dict) and all(
        isinstance(word, str) for pair in value.items() for word in pair
    )


def _is_log(value: object) -> bool:
    try:
        return isinstance(value, list) and all(
            isinstance(row, list) and row and all(math.isfinite(float(word)) for word in row)
            for row in value
        )
    except (TypeError, ValueError):
        return False


def _save(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as partial:
        save_tensors(partial, content)
