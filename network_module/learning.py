"""Learning one video: from its soft masks to a trained network."""

from __future__ import annotations

import torch

from ike_data.parameters import check_kind
from network_module.batches import check_masks, check_video
from network_module.extensions.prior_bias import start_from_prior
from network_module.losses import hard_labels
from network_module.settings import DEFAULTS, Settings
from network_module.training import Training, train
from network_module.unet import UNet, seeded_unet


def learn(
    video: torch.Tensor,
    masks: torch.Tensor,
    settings: Settings = DEFAULTS,
    *,
    device: torch.device | str | None = None,
    network: UNet | None = None,
    progress: bool = False,
) -> UNet:
    """Train a U-Net on one video, with soft masks as pseudo-labels.

    The same arguments give the same weights on the same machine with as many threads
    (``torch.get_num_threads``).

    Args:
        video: uint8 RGB [n, 3, H, W].
        masks: float [n, H, W] in [0, 1].
        device: where to train; None: where ``video`` is.
        network: to start from, e.g. with a pretrained encoder, and trained in place; None: a new
            one with the random weights of ``settings.seed``.
        progress: show a bar for each epoch.

    Returns:
        The trained network, for `predict`. ``network.state_dict()`` can be saved.

    Raises:
        ValueError: ``video`` or ``masks`` is of another type, shape or range; ``settings``
            are not of this module; ``device`` is unknown or not there; or training diverged
            (`DivergedError`).
    """
    check_video(video)
    check_masks(masks, video)
    check_kind("settings", settings, Settings, "network_module's Settings")
    try:
        device = torch.device(video.device if device is None else device)
        torch.empty(0, device=device)  # is it there?
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device: {str(error).splitlines()[0]}") from error
    if network is None:
        network = seeded_unet(settings.base_channels, settings.seed)
    network.to(device)
    masks = masks.to(torch.float32)
    training = start_training(network, masks, settings)
    for _ in train(training, video, masks, settings, progress=progress):
        pass
    return network


def start_training(network: UNet, soft_masks: torch.Tensor, settings: Settings) -> Training:
    """The start of a training of ``network`` with ``soft_masks``, float32 [n, H, W]."""
    if settings.prior_bias:
        start_from_prior(network, hard_labels(soft_masks).mean().item())
    return Training.of(network, settings)
