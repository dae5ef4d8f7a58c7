"""Learn one video from its pseudo-labels, and save what each epoch gives."""

from __future__ import annotations

import math
import re
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import torch

from ike_data.atomic import atomic_folder
from ike_data.config import NetworkModule
from ike_data.errors import InputError
from ike_data.frames import Frames
from ike_data.memory_statement import state_memory
from ike_data.out_of_memory import NETWORK_REMEDY
from ike_data.overlap import written_behind
from ike_data.saved_config import warn_of_other_frames
from ike_data.soft_masks import HARD_THRESHOLD, encode_mask, mask_name, save_map
from ike_data.step_log import step_log
from ike_data.working_frames import read_working_frames
from network_module.checkpoints import (
    REMEDY,
    TrainingState,
    go_on,
    is_of_training,
    load_checkpoint,
    mark_of_data,
    mark_of_training,
    read_training,
    save_checkpoint,
    save_training,
)
from network_module.dataset import read_pseudo_labels
from network_module.losses import hard_labels
from network_module.memory_need import NetworkSize, prediction_bytes, training_bytes
from network_module.precision import convolution_settings, use_half
from network_module.prediction import predict
from network_module.pretrained_encoder import check_base_channels, load_pretrained_encoder
from network_module.training import Training, diverged
from network_module.unet import UNet, seeded_unet, start_from_prior

# The state of a training, twice the size of a checkpoint, is saved this often at most.
SECONDS_BETWEEN_STATES = 60.0
STATE_NAME = "training.pth"
MASK_FOLDERS = "results_pt", "results_images"
Resume = Literal["no", "yes", "if_same"]
# Networks that learnt from less had worse masks; see docs/quality.md.
LEAST_HALF_SIZE = 96  # pixels
_EPOCH = re.compile(r"epoch_\d+(\.pth)?")


def learn_video(
    frames: Frames,
    pseudo_gt_path: Path,
    out_path: Path,
    *,
    working_size: tuple[int, int],
    settings: NetworkModule,
    device: torch.device,
    resume: Resume,
    record: Callable[[Iterable[Path]], None],
) -> None:
    """Train a U-Net on ``frames`` and save, for each epoch in to_save_epochs,

    - ``out_path/models/epoch_%05d.pth``, see `save_checkpoint`;
    - ``out_path/results_pt/epoch_%05d/%05d.pt``, the object's probability, float32
      [working_h, working_w, 1];
    - ``out_path/results_images/epoch_%05d/%05d.png``, the same as 8-bit grey at the frames' size;

    and ``out_path/log.csv`` with the losses of every epoch. While it is not done,
    ``out_path/models/training.pth`` holds the state after a finished epoch.

    Args:
        pseudo_gt_path: folder of soft masks, one a frame, of the working size.
        working_size: (height, width), pixels.
        resume: go on with the training in ``out_path`` that was interrupted, if there is one. Is it
            another training, of other settings or data, that is an error for "yes", and for
            "if_same" it makes way.
        record: called when all input has been read, with what an earlier run has left.

    Raises:
        InputError: a frame, pseudo-label or pretrained encoder cannot be used; a training to be
            resumed had other settings or data; or training diverged, and nothing is saved from an
            epoch with an output that is not finite.
    """
    height, width = working_size
    n_epochs = settings.n_epochs
    to_save = range(1, n_epochs + 1) if settings.to_save_epochs is None else settings.to_save_epochs
    half = use_half(settings.mixed_precision, device)
    model = _new_model(settings)
    size = _network_size(model, frames.count, working_size, settings.batch_size, half, device)
    n_bytes = training_bytes(size, weight_average=settings.weight_average > 0)
    state_memory(device, n_bytes, NETWORK_REMEDY)
    model.to(device)
    warn_of_other_frames(pseudo_gt_path, frames)
    soft_masks = read_pseudo_labels(pseudo_gt_path, frames.count, height, width)
    video = read_working_frames(frames, height, width)
    half_size_passes = _half_size_passes(settings, working_size)
    _warn_of_half_size_epochs(half_size_passes // settings.passes_per_epoch, to_save)
    training = _new_training(model, video, soft_masks, settings, device, half, half_size_passes)

    state_path = out_path / "models" / STATE_NAME
    all_settings = {"working_h": height, "working_w": width, **vars(settings)}
    data_mark = mark_of_data(video, soft_masks)
    training_mark = mark_of_training(data_mark, all_settings)
    kept = _kept_state(state_path, resume, data_mark, all_settings)
    if kept is None and resume != "no":
        others = not _are_of(out_path, training_mark)
        if others and resume == "yes":
            raise InputError(
                f"{out_path}: holds a training of other settings, frames or pseudo-labels, which "
                "would be replaced; leave out --resume to train from the start"
            )
        if not others and _is_complete(out_path, to_save):
            print(f"this training is complete: its masks are in {out_path / 'results_pt'}")
            return
        print("nothing to go on with: training from the start")
    if kept is None or resume == "no":
        record([*_saved_epochs(out_path), state_path])
        _leave_for_later(state_path, kept)
        log_lines: list[list[str]] = []
    else:
        log_lines = _go_on(state_path, training, kept, n_epochs)
        record([])  # what is there is this training's
    del kept
    print(f"convolutions in {'bfloat16' if half else 'float32'}")
    columns = "epoch", "loss", "cross_entropy", "dice"
    saved_at = time.monotonic()
    with (
        step_log(out_path, *columns, kept=log_lines) as log,
        convolution_settings(deterministic=settings.deterministic),
    ):
        while training.epoch < n_epochs:
            loss = training.run_epoch()
            epoch = training.epoch
            report = (
                f"epoch {epoch}/{n_epochs}: loss {loss.total:.4f} "
                f"(cross-entropy {loss.cross_entropy:.4f}, dice {loss.dice:.4f})"
            )
            if epoch in to_save:
                name = _epoch_name(epoch)
                masks = predict(
                    training.result,
                    video,
                    batch_size=settings.batch_size,
                    device=device,
                    half=half,
                    along_edges=settings.along_edges,
                )
                not_finite = diverged(epoch, settings.learning_rate)
                write_masks(out_path, name, masks, frames, not_finite)
                save_checkpoint(
                    out_path / "models" / f"{name}.pth",
                    training.result,
                    settings.base_channels,
                    epoch,
                    working_size,
                    training_mark,
                )
                report += f", saved {out_path / 'results_pt' / name}"
            log_lines.append(log(epoch, *loss))
            print(report, flush=True)
            if epoch < n_epochs and time.monotonic() - saved_at >= SECONDS_BETWEEN_STATES:
                save_training(state_path, training, data_mark, all_settings, log_lines)
                saved_at = time.monotonic()
    state_path.unlink(missing_ok=True)


def _new_model(settings: NetworkModule) -> UNet:
    """On the CPU, with the weights that its training starts from."""
    if settings.pretrained_encoder is not None:
        check_base_channels(settings.pretrained_encoder, settings.base_channels)
    model = seeded_unet(settings.base_channels, settings.seed)
    if settings.pretrained_encoder is not None:
        load_pretrained_encoder(model, settings.pretrained_encoder)
    return model


def _half_size_passes(settings: NetworkModule, working_size: tuple[int, int]) -> int:
    """How many passes, the first, are at half the working size."""
    n_passes = settings.n_epochs * settings.passes_per_epoch
    half_size_passes = math.floor(settings.half_size_share * n_passes + 1e-9)
    if half_size_passes and min(working_size) < 2 * LEAST_HALF_SIZE:
        height, width = working_size
        print(
            f"half_size_share is not used: half of {height} x {width} is less than "
            f"{LEAST_HALF_SIZE} pixels, too little to learn from"
        )
        return 0
    return half_size_passes


def _warn_of_half_size_epochs(n_half_size: int, to_save: Sequence[int]) -> None:
    if min(to_save) <= n_half_size:
        print(
            f"warning: up to epoch {n_half_size} the network learns at half size "
            "(half_size_share); an epoch of these is saved, but its masks will not be good",
            file=sys.stderr,
        )


def _new_training(
    model: UNet,
    video: torch.Tensor,
    soft_masks: torch.Tensor,
    settings: NetworkModule,
    device: torch.device,
    half: bool,
    half_size_passes: int,
) -> Training:
    if settings.prior_bias:
        start_from_prior(model, hard_labels(soft_masks).mean().item())
    return Training(
        model,
        video,
        soft_masks,
        batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        seed=settings.seed,
        device=device,
        half=half,
        passes_per_epoch=settings.passes_per_epoch,
        decay_epochs=settings.n_epochs if settings.cosine_decay else 0,
        half_size_passes=half_size_passes,
        soft_labels=settings.soft_labels,
        confidence_weights=settings.confidence_weights,
        flips=settings.flips,
        light=settings.light,
        weight_average=settings.weight_average,
    )


def _kept_state(
    path: Path, resume: Resume, data_mark: int, settings: Mapping[str, object]
) -> TrainingState | None:
    """The state in ``path``, if it is of this training; None where there is none.

    Raises:
        InputError: with ``resume`` "yes", it is of another one, or damaged.
    """
    if not path.exists():
        return None
    try:
        kept = read_training(path)
        if difference := kept.difference(data_mark, settings):
            raise InputError(f"{path}: {difference}; leave out --resume to train from the start")
    except InputError:
        if resume == "yes":
            raise
        return None
    return kept


def _leave_for_later(path: Path, kept: TrainingState | None) -> None:
    """Before a training from the start: its own state stays until there is another one."""
    if kept is None:
        path.unlink(missing_ok=True)  # it is of another training
    elif path.exists():
        print("training from the start; --resume would go on with the one interrupted here")


def _go_on(path: Path, training: Training, kept: TrainingState, n_epochs: int) -> list[list[str]]:
    """Put ``training`` where it was interrupted; the lines of its log."""
    go_on(path, training, kept)
    if training.epoch >= n_epochs:  # a run of these settings saves none of its last epoch
        raise InputError(
            f"{path}: is of epoch {training.epoch}, but n_epochs = {n_epochs}; {REMEDY}"
        )
    print(f"going on after epoch {training.epoch}")
    return kept.log


def _are_of(out_path: Path, training_mark: int) -> bool:
    """Whether all checkpoints there are of the training with this mark."""
    return all(is_of_training(path, training_mark) for path in _checkpoints(out_path))


def _is_complete(out_path: Path, to_save: Sequence[int]) -> bool:
    """Whether all that a training saves is there."""
    names = [_epoch_name(epoch) for epoch in to_save]
    saved = [out_path / "models" / f"{name}.pth" for name in names]
    saved += [out_path / folder / name for folder in MASK_FOLDERS for name in names]
    return all(path.exists() for path in saved)


def _epoch_name(epoch: int) -> str:
    return f"epoch_{epoch:05d}"


def _saved_epochs(out_path: Path) -> list[Path]:
    """What there is of any epoch in the out_path of a training."""
    folders = [out_path / name for name in ("models", *MASK_FOLDERS)]
    return [
        path
        for folder in folders
        for path in (folder.iterdir() if folder.is_dir() else ())
        if _EPOCH.fullmatch(path.name)
    ]


def _checkpoints(out_path: Path) -> list[Path]:
    return [path for path in _saved_epochs(out_path) if path.suffix == ".pth"]


def apply_checkpoint(
    frames: Frames,
    checkpoint: Path,
    out_path: Path,
    *,
    working_size: tuple[int, int],
    settings: NetworkModule,
    device: torch.device,
    record: Callable[[Iterable[Path]], None],
) -> None:
    """Write the masks that a trained network gives for ``frames``, as `learn_video` does.

    Args:
        checkpoint: models/epoch_%05d.pth of an out_path; its epoch names the folders of the masks.
        working_size, record: see `learn_video`.

    Raises:
        InputError: a frame or the checkpoint cannot be used, or a training is in ``out_path``.
    """
    if _checkpoints(out_path) or (out_path / "models" / STATE_NAME).exists():
        raise InputError(
            f"out_path {out_path}: holds a training, whose record would be replaced; give "
            "--predict_only an out_path of its own"
        )
    model, epoch = load_checkpoint(checkpoint)
    half = use_half(settings.mixed_precision, device)
    size = _network_size(model, frames.count, working_size, settings.batch_size, half, device)
    state_memory(device, prediction_bytes(size, along_edges=settings.along_edges), NETWORK_REMEDY)
    video = read_working_frames(frames, *working_size)
    name = _epoch_name(epoch)
    record(_saved_epochs(out_path))
    masks = predict(
        model.to(device),
        video,
        batch_size=settings.batch_size,
        device=device,
        half=half,
        along_edges=settings.along_edges,
    )
    not_finite = InputError(f"{checkpoint}: gives masks that are not finite; train it again")
    with convolution_settings(deterministic=settings.deterministic):
        write_masks(out_path, name, masks, frames, not_finite)
    print(f"masks written to {out_path / 'results_pt' / name}")


def _network_size(
    model: UNet,
    n_frames: int,
    working_size: tuple[int, int],
    batch_size: int,
    half: bool,
    device: torch.device,
) -> NetworkSize:
    return NetworkSize(
        n_frames,
        *working_size,
        base_channels=model.last.in_channels,
        n_parameters=sum(parameter.numel() for parameter in model.parameters()),
        batch_size=batch_size,
        half=half,
        on_cpu=device.type == "cpu",
    )


def write_masks(
    out_path: Path,
    name: str,
    batches: Iterable[tuple[int, torch.Tensor]],
    frames: Frames,
    not_finite: InputError,
) -> None:
    """Write masks to results_pt/``name`` and results_images/``name``, while the next are computed.

    Args:
        batches: see `predict`.
        not_finite: raised, and nothing is left, where a mask has a value that is not finite.
    """
    with (
        atomic_folder(out_path / "results_pt" / name) as maps,
        atomic_folder(out_path / "results_images" / name) as images,
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
    if highest < HARD_THRESHOLD:
        print(
            f"warning: the network of {name} finds no object, its masks are below "
            f"{HARD_THRESHOLD} everywhere; do the pseudo-labels hold one? If so, train for longer "
            "(n_epochs, passes_per_epoch) or with more base_channels",
            file=sys.stderr,
        )
