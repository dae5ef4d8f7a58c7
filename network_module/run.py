"""main.py's two runs, files in and files out: train a network on a video, or apply one to it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

import torch

from ike_data.config import NetworkModule
from ike_data.frames import Frames
from ike_data.layout import (
    MAPS,
    SEED_ITERATION,
    checkpoint_path,
    iteration_of,
    saved_checkpoints,
    saved_epochs,
    state_path,
)
from ike_data.runtime.cores import n_equal_parts
from ike_data.runtime.errors import InputError, warn
from ike_data.runtime.memory_statement import state_memory
from ike_data.runtime.out_of_memory import NETWORK_REMEDY
from ike_data.saved_config import warn_of_other_frames
from ike_data.soft_masks import mask_name, read_soft_masks
from ike_data.step_log import step_log
from ike_data.working_frames import read_working_frames
from network_module.checkpoints import (
    TrainingState,
    is_of_training,
    load_checkpoint,
    read_training,
    restore_training,
    save_checkpoint,
    save_training,
)
from network_module.extensions.frame_agreement import FrameAgreement
from network_module.extensions.half_size import HalfSize, is_large_enough, n_half_size_passes
from network_module.identity import Identity
from network_module.learning import start_training
from network_module.memory_need import NetworkSize, prediction_bytes, training_bytes
from network_module.precision import use_bf16
from network_module.prediction import predict_batches
from network_module.pretrained_encoder import load_pretrained_encoder
from network_module.results import is_complete, write_masks
from network_module.settings import Settings
from network_module.training import DivergedError, Training, train
from network_module.unet import UNet, seeded_unet

# The state of a training, three times the size of a checkpoint, is saved this often at most.
SECONDS_BETWEEN_STATES = 60.0
Record = Callable[[Iterable[Path]], None]
Resume = Literal["no", "yes", "if_same"]


@dataclass(frozen=True)
class _Job:
    """What learns from what, how, and where the results go."""

    network: UNet
    frames: Frames
    video: torch.Tensor
    soft_masks: torch.Tensor
    settings: Settings
    to_save: Sequence[int]  # epochs
    identity: Identity
    out_path: Path


def learn_video(
    frames: Frames,
    pseudo_gt_path: Path,
    out_path: Path,
    *,
    working_size: tuple[int, int],
    config: NetworkModule,
    device: torch.device,
    resume: Resume,
    record: Record,
) -> None:
    """Train a U-Net on ``frames``; save the epochs in to_save_epochs (`results`) and log.csv.

    Args:
        pseudo_gt_path: folder of soft masks, one a frame, of the working size.
        working_size: (height, width), pixels.
        resume: whether to go on with the training that an earlier run has left: "no"; "yes", and
            refuse if that is another training; "if_same", and else train from the start.
        record: called when all input has been read, with what an earlier run has left.

    Raises:
        InputError: a frame, pseudo-label or pretrained encoder cannot be used; another training
            would be lost (see ``resume``); or training diverged, and nothing is saved from an epoch
            with an output that is not finite.
    """
    settings = settings_of(config)
    network = seeded_unet(config.base_channels, config.seed)
    if config.pretrained_encoder is not None:
        load_pretrained_encoder(network, config.pretrained_encoder)
    size = _network_size(network, frames.count, working_size, settings, device)
    state_memory(device, training_bytes(size), NETWORK_REMEDY)
    network.to(device)
    warn_of_other_frames(pseudo_gt_path, frames)
    if iteration_of(pseudo_gt_path) == SEED_ITERATION:
        warn(
            f"{pseudo_gt_path}: holds the seed of the graph module, which is the same in each "
            "frame; give the masks of a later iteration"
        )
    soft_masks = read_pseudo_labels(pseudo_gt_path, frames.count, *working_size)
    video = read_working_frames(frames, *working_size)
    to_save = config.to_save_epochs or range(1, config.n_epochs + 1)
    _explain_half_size(settings, frames.count, working_size, min(to_save))

    height, width = working_size
    all_settings = {"working_h": height, "working_w": width, **vars(config)}
    all_settings["passes_per_epoch"] = settings.passes_of_epoch(frames.count)
    identity = Identity.of(video, soft_masks, all_settings)
    job = _Job(network, frames, video, soft_masks, settings, to_save, identity, out_path)
    training = start_training(network, soft_masks, settings)
    log_lines = _begin(job, training, resume, record)
    if log_lines is not None:
        print(f"convolutions in {'bfloat16' if size.bf16 else 'float32'}")
        try:
            _train_and_save(job, training, log_lines)
        except DivergedError as error:
            raise InputError(f"[Network Module] {error}") from error


def _train_and_save(job: _Job, training: Training, log_lines: list[list[str]]) -> None:
    path, n_epochs = state_path(job.out_path), job.settings.n_epochs
    saved_at = time.monotonic()
    with step_log(job.out_path, "epoch", "loss", "cross_entropy", "dice", kept=log_lines) as log:
        for losses in train(training, job.video, job.soft_masks, job.settings, progress=True):
            epoch = training.epoch
            saved = f", saved {_save_epoch(job, epoch)}" if epoch in job.to_save else ""
            log_lines.append(log(epoch, *losses))
            print(
                f"epoch {epoch}/{n_epochs}: loss {losses.total:.4f} (cross-entropy "
                f"{losses.cross_entropy:.4f}, dice {losses.dice:.4f}){saved}",
                flush=True,
            )
            if epoch < n_epochs and time.monotonic() - saved_at >= SECONDS_BETWEEN_STATES:
                save_training(path, training, job.identity, log_lines)
                saved_at = time.monotonic()
    path.unlink(missing_ok=True)


def _save_epoch(job: _Job, epoch: int) -> Path:
    """Save masks and checkpoint; return the folder of the masks."""
    masks = predict_batches(job.network, job.video, job.settings, progress=True)
    not_finite = DivergedError(epoch, job.settings.learning_rate)
    folder = write_masks(job.out_path, epoch, masks, job.frames, not_finite)
    height, width = job.video.shape[-2:]
    path = checkpoint_path(job.out_path, epoch)
    save_checkpoint(path, job.network, epoch, (height, width), job.identity.mark)
    return folder


def apply_checkpoint(
    frames: Frames,
    checkpoint: Path,
    out_path: Path,
    *,
    working_size: tuple[int, int],
    config: NetworkModule,
    device: torch.device,
    record: Record,
) -> None:
    """Write the masks that a trained network gives for ``frames``, as `learn_video` does.

    Args:
        checkpoint: models/epoch_%05d.pth of an out_path; its epoch names the folders of the masks.
        working_size, record: see `learn_video`.

    Raises:
        InputError: a frame or the checkpoint cannot be used, or a training is in ``out_path``.
    """
    if saved_checkpoints(out_path) or state_path(out_path).exists():
        raise InputError(
            f"out_path {out_path}: holds a training, whose record would be replaced; give "
            "--predict_only an out_path of its own"
        )
    settings = settings_of(config)
    network, epoch = load_checkpoint(checkpoint)
    size = _network_size(network, frames.count, working_size, settings, device)
    n_bytes = prediction_bytes(size, along_edges=settings.along_edges)
    state_memory(device, n_bytes, NETWORK_REMEDY)
    video = read_working_frames(frames, *working_size)
    record(saved_epochs(out_path))
    masks = predict_batches(network.to(device), video, settings, progress=True)
    not_finite = InputError(f"{checkpoint}: gives masks that are not finite; train it again")
    print(f"masks written to {write_masks(out_path, epoch, masks, frames, not_finite)}")


def settings_of(config: NetworkModule) -> Settings:
    """[Network Module], without what is of files only."""
    names = {key.name for key in fields(Settings)} & vars(config).keys()
    half_size = HalfSize(config.half_size_share) if config.half_size_share else None
    values = {name: getattr(config, name) for name in names}
    values["frame_agreement"] = FrameAgreement() if config.frame_agreement else None
    return Settings(**values, half_size=half_size)


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


def _network_size(
    network: UNet,
    n_frames: int,
    working_size: tuple[int, int],
    settings: Settings,
    device: torch.device,
) -> NetworkSize:
    return NetworkSize(
        n_frames,
        *working_size,
        base_channels=network.last.in_channels,
        n_parameters=sum(parameter.numel() for parameter in network.parameters()),
        batch_size=settings.batch_size,
        n_parts=n_equal_parts(min(settings.batch_size, n_frames), device),
        bf16=use_bf16(settings.mixed_precision, device),
        on_cpu=device.type == "cpu",
    )


def _explain_half_size(
    settings: Settings, n_frames: int, working_size: tuple[int, int], first_saved: int
) -> None:
    """Say if half the size is too small to use; warn if a saved epoch is at half size."""
    half_size = settings.half_size
    if half_size and not is_large_enough(*working_size, half_size.least_side):
        height, width = working_size
        print(
            f"half_size_share is not used: half of {height} x {width} is less than "
            f"{half_size.least_side} pixels, too little to learn from"
        )
    passes_of_epoch = settings.passes_of_epoch(n_frames)
    n_passes = settings.n_epochs * passes_of_epoch
    last_half_size = n_half_size_passes(half_size, n_passes, *working_size) // passes_of_epoch
    if first_saved <= last_half_size:
        warn(
            f"up to epoch {last_half_size} the network learns at half size "
            "(half_size_share); an epoch of these is saved, but its masks will not be good"
        )


def _begin(job: _Job, training: Training, resume: Resume, record: Record) -> list[list[str]] | None:
    """Bring ``training`` to where it goes on. The lines of its log; None: it is complete."""
    path = state_path(job.out_path)
    kept = _read_state(path, job.identity)
    if resume != "no":
        if isinstance(kept, TrainingState):
            restore_training(path, training, kept, job.settings.n_epochs)
            print(f"going on after epoch {training.epoch}")
            record([])  # what is there is this training's
            return kept.log
        if resume == "yes" and kept is not None:
            raise kept
        if _is_of_this_training(job):
            if is_complete(job.out_path, job.to_save):
                print(f"this training is complete: its masks are in {job.out_path / MAPS}")
                return None
        elif resume == "yes":
            raise InputError(
                f"{job.out_path}: holds a training of other settings, frames or pseudo-labels, "
                "which would be replaced; leave out --resume to train from the start"
            )
        print("nothing to go on with: training from the start")
    record([*saved_epochs(job.out_path), path])
    if not isinstance(kept, TrainingState):
        path.unlink(missing_ok=True)
    elif path.exists():  # stays until there is another state
        print("training from the start; --resume would go on with the one interrupted here")
    return []


def _read_state(path: Path, identity: Identity) -> TrainingState | InputError | None:
    """The state in ``path``; an error that says why it cannot be gone on with; None: no file."""
    if not path.exists():
        return None
    try:
        kept = read_training(path)
    except InputError as error:
        return error
    if difference := kept.identity.difference(identity):
        return InputError(f"{path}: {difference}; leave out --resume to train from the start")
    return kept


def _is_of_this_training(job: _Job) -> bool:
    """Whether all checkpoints that are there, if any, are of the training that is asked for."""
    return all(is_of_training(path, job.identity.mark) for path in saved_checkpoints(job.out_path))
