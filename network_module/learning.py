"""Learn one video from its pseudo-labels, and save what each epoch gives."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import torch

from ike_data.atomic import atomic_file
from ike_data.config import NetworkModule
from ike_data.frames import Frames
from ike_data.soft_masks import write_mask_images, write_soft_masks
from ike_data.step_log import step_log
from network_module.dataset import read_pseudo_labels, read_working_frames
from network_module.prediction import predict
from network_module.pretrained_encoder import check_base_channels, load_pretrained_encoder
from network_module.training import diverged, train
from network_module.unet import UNet, seeded_unet


def learn_video(
    frames: Frames,
    pseudo_gt_path: Path,
    out_path: Path,
    *,
    working_size: tuple[int, int],
    settings: NetworkModule,
    device: torch.device,
    record: Callable[[Iterable[Path]], None],
) -> None:
    """Train a U-Net on ``frames`` and save, for each epoch in to_save_epochs,

    - ``out_path/models/epoch_%05d.pth``, see `save_checkpoint`;
    - ``out_path/results_pt/epoch_%05d/%05d.pt``, the object's probability, float32
      [working_h, working_w, 1];
    - ``out_path/results_images/epoch_%05d/%05d.png``, the same as 8-bit grey at the frames' size;

    and ``out_path/log.csv`` with the losses of every epoch.

    Args:
        pseudo_gt_path: folder of soft masks, one a frame, of the working size.
        working_size: (height, width), pixels.
        record: called with what will be written, when all input has been read.

    Raises:
        InputError: a frame, pseudo-label or pretrained encoder cannot be used, or training
            diverged; nothing is saved from an epoch with an output that is not finite.
    """
    height, width = working_size
    n_epochs, batch_size = settings.n_epochs, settings.batch_size
    learning_rate, seed = settings.learning_rate, settings.seed
    to_save = range(1, n_epochs + 1) if settings.to_save_epochs is None else settings.to_save_epochs

    if settings.pretrained_encoder is not None:
        check_base_channels(settings.pretrained_encoder, settings.base_channels)
    model = seeded_unet(settings.base_channels, seed)
    if settings.pretrained_encoder is not None:
        load_pretrained_encoder(model, settings.pretrained_encoder)
    model.to(device)
    soft_masks = read_pseudo_labels(pseudo_gt_path, frames.count, height, width)
    video = read_working_frames(frames, height, width)
    names = [f"epoch_{epoch:05d}" for epoch in to_save]
    record(
        [out_path / folder / name for folder in ("results_pt", "results_images") for name in names]
        + [out_path / "models" / f"{name}.pth" for name in names]
    )

    epochs = train(
        model,
        video,
        soft_masks,
        n_epochs=n_epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        seed=seed,
        device=device,
    )
    with (
        step_log(out_path, "epoch", "loss", "cross_entropy", "dice") as log,
        # cuDNN's fastest kernels may add up in random order.
        torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True),
    ):
        for epoch, loss in enumerate(epochs, start=1):
            report = (
                f"epoch {epoch}/{n_epochs}: loss {loss.total:.4f} "
                f"(cross-entropy {loss.cross_entropy:.4f}, dice {loss.dice:.4f})"
            )
            if epoch in to_save:
                masks = predict(model, video, batch_size=batch_size, device=device)
                if not torch.isfinite(masks).all():
                    raise diverged(epoch, learning_rate)
                name = f"epoch_{epoch:05d}"
                save_checkpoint(
                    out_path / "models" / f"{name}.pth",
                    model,
                    settings.base_channels,
                    epoch,
                    working_size,
                )
                write_soft_masks(out_path / "results_pt" / name, masks)
                write_mask_images(
                    out_path / "results_images" / name, masks, frames.height, frames.width
                )
                report += f", saved {out_path / 'results_pt' / name}"
            log(epoch, *loss)
            print(report, flush=True)


def save_checkpoint(
    path: Path, model: UNet, base_channels: int, epoch: int, working_size: tuple[int, int]
) -> None:
    """Save all that is needed to build ``model`` again:

    checkpoint = torch.load(path, weights_only=True)
    model = UNet(checkpoint["base_channels"])
    model.load_state_dict(checkpoint["model"])

    ``epoch``, ``working_h`` and ``working_w`` (pixels) say how it was trained.
    """
    height, width = working_size
    checkpoint = {
        # On the CPU, so that a machine without a GPU can load it.
        "model": {name: value.cpu() for name, value in model.state_dict().items()},
        "base_channels": base_channels,
        "working_h": height,
        "working_w": width,
        "epoch": epoch,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    # An open file: torch.save reports a full disk as such only there.
    with atomic_file(path) as partial, partial.open("wb") as file:
        torch.save(checkpoint, file)
