"""Soft masks from a trained network."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from tqdm import tqdm

from ike_data.guided_filter import follow_edges
from ike_data.parameters import check_kind
from ike_data.runtime.cores import map_on_cores, n_equal_parts
from network_module.batches import check_video, to_unit_range
from network_module.precision import convolution_settings, logits_of, use_bf16
from network_module.settings import DEFAULTS, Settings


def predict(
    network: torch.nn.Module,
    video: torch.Tensor,
    settings: Settings = DEFAULTS,
    *,
    progress: bool = False,
) -> torch.Tensor:
    """The object's probability in every pixel.

    Args:
        network: of `learn`; it calculates on the device that it is on.
        video: uint8 RGB [n, 3, H, W]; any video, of any size.
        settings: of these ``batch_size``, ``mixed_precision``, ``deterministic`` and
            ``along_edges`` (the masks follow the edges of the frames) count.
        progress: show a bar.

    Returns:
        float32 [n, H, W] in [0, 1], on the device of ``video``.

    Raises:
        ValueError: an argument is of another type, or ``video`` of another shape.
    """
    check_kind("network", network, torch.nn.Module, "a torch.nn.Module, as learn gives it")
    check_video(video)
    check_kind("settings", settings, Settings, "network_module's Settings")
    batches = predict_batches(network, video, settings, progress=progress)
    return torch.cat([masks for _, masks in batches]).to(video.device)


def predict_batches(
    network: torch.nn.Module, video: torch.Tensor, settings: Settings, *, progress: bool = False
) -> Iterator[tuple[int, torch.Tensor]]:
    """`predict`, a batch at a time.

    Yields:
        Of each batch the index of its first frame and float32 [b, H, W], on the CPU.
    """
    device = next(network.parameters()).device
    bf16 = use_bf16(settings.mixed_precision, device)
    starts = range(0, len(video), settings.batch_size)
    bar = tqdm(starts, "predicting", unit="batch", leave=False, disable=not progress)

    def predict_part(frames: torch.Tensor) -> torch.Tensor:
        logits = logits_of(network, to_unit_range(frames, device), bf16=bf16)
        return logits.softmax(dim=1)[:, 1]  # channel 1 is the object

    for start in bar:
        batch = video[start : start + settings.batch_size].to(device)
        n_parts = n_equal_parts(len(batch), device)
        with torch.inference_mode(), convolution_settings(deterministic=settings.deterministic):
            parts = map_on_cores(predict_part, batch.chunk(n_parts), device, n_calls=n_parts)
            masks = torch.cat(list(parts))  # [b, H, W]
            if settings.along_edges:
                masks = follow_edges(batch, masks)
        yield start, masks.cpu()
