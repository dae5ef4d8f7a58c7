"""Training of the U-Net on one video (docs/method.md section 4)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from tqdm import tqdm

from ike_data.tensor_files import is_state_of
from network_module.batches import shuffled_batches, to_unit_range
from network_module.extensions.augmentation import colour_jitter, flip_some
from network_module.extensions.confidence_weights import confident_losses
from network_module.extensions.cosine_decay import decayed_rate
from network_module.extensions.frame_agreement import agreeing_frames
from network_module.extensions.half_size import halve, n_half_size_passes
from network_module.gradients import set_gradients
from network_module.losses import paper_losses
from network_module.precision import convolution_settings, use_bf16
from network_module.settings import Settings


class EpochLosses(NamedTuple):
    """Losses of an epoch, the means over its frames, taken while the weights changed."""

    total: float
    cross_entropy: float
    dice: float


class DivergedError(ValueError):
    """The loss or the output of a network is not finite any more."""

    def __init__(self, epoch: int, learning_rate: float) -> None:
        super().__init__(
            f"learning_rate = {learning_rate}: training diverged in epoch {epoch}, its loss or its "
            "masks are not finite; use a smaller learning_rate"
        )


@dataclass
class Training:
    """A network in training, with all that its next epoch depends on beside data and settings."""

    network: torch.nn.Module
    optimiser: torch.optim.Optimizer
    generator: torch.Generator  # on the CPU: order of the frames and their augmentation
    epoch: int = 0  # done so far
    # bool [n], the frames that are learnt from, see `extensions.frame_agreement`; None: all so far.
    agreeing: torch.Tensor | None = None

    @classmethod
    def of(cls, network: torch.nn.Module, settings: Settings) -> Training:
        """The start of the training of ``network``, which changes in place."""
        # Fused: one operation for many parameters.
        optimiser = torch.optim.AdamW(network.parameters(), lr=settings.learning_rate, fused=True)
        return cls(network, optimiser, torch.Generator().manual_seed(settings.seed))

    def state(self) -> dict[str, Any]:
        """Tensors and plain values that ``torch.load(weights_only=True)`` reads."""
        return {
            "epoch": self.epoch,
            "model": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "shuffling": self.generator.get_state(),
            "agreeing": self.agreeing,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on where `state` was taken, with the same network, video and settings.

        Raises:
            Exception: of any class, where ``state`` is not what `state` gives.
        """
        moments = state["optimiser"]["state"]
        parameters = list(self.network.parameters())
        agreeing = state.get("agreeing")  # earlier versions have none
        whole = isinstance(state["epoch"], int) and state["epoch"] >= 1
        whole &= agreeing is None or (agreeing.dtype == torch.bool and agreeing.ndim == 1)
        whole &= is_state_of(state["model"], self.network.state_dict())
        whole &= moments.keys() == set(range(len(parameters)))
        if not whole or not all(
            is_state_of(
                moments[idx], {"step": torch.zeros(()), "exp_avg": value, "exp_avg_sq": value}
            )
            and moments[idx]["step"] >= 1
            for idx, value in enumerate(parameters)
        ):
            raise ValueError("not the state of a training of this network")
        self.network.load_state_dict(state["model"])
        # The settings of the optimiser are this run's.
        settings = self.optimiser.state_dict()["param_groups"]
        self.optimiser.load_state_dict({"state": moments, "param_groups": settings})
        self.generator.set_state(state["shuffling"])
        self.agreeing = agreeing
        self.epoch = state["epoch"]


def train(
    training: Training,
    video: torch.Tensor,
    soft_masks: torch.Tensor,
    settings: Settings,
    *,
    progress: bool = False,
) -> Iterator[EpochLosses]:
    """Train for the epochs that are still to be done, and yield the losses after each.

    The paper's training: in each epoch all frames once, in shuffled batches; cross-entropy plus
    dice; AdamW. What ``settings`` turns on beside that is in `extensions`. PyTorch's global random
    state is not used.

    Args:
        training: its network is on the device to train on.
        video: uint8 RGB [n, 3, H, W].
        soft_masks: float32 [n, H, W] in [0, 1], the pseudo-labels.
        progress: show a bar for each epoch.

    Raises:
        DivergedError: the loss is not finite.
    """
    network, optimiser = training.network, training.optimiser
    device = next(network.parameters()).device
    bf16 = use_bf16(settings.mixed_precision, device)
    passes_of_epoch = settings.passes_of_epoch(len(video))
    n_passes = settings.n_epochs * passes_of_epoch
    n_half_size = n_half_size_passes(settings.half_size, n_passes, *video.shape[-2:])
    agreement = settings.frame_agreement
    losses_of = confident_losses if settings.confidence_weights else paper_losses
    while training.epoch < settings.n_epochs:
        sums, n_learnt = torch.zeros(2, device=device), 0
        batches = _batches_of_epoch(training, passes_of_epoch, len(video), settings.batch_size)
        bar = tqdm(
            batches, f"epoch {training.epoch + 1}", unit="batch", leave=False, disable=not progress
        )
        with convolution_settings(deterministic=settings.deterministic):
            for n_passes_done, drawn in bar:
                if agreement and training.agreeing is None and n_passes_done >= n_half_size > 0:
                    training.agreeing = agreeing_frames(
                        network, video, soft_masks, agreement, settings.batch_size, bf16=bf16
                    )
                batch = drawn if training.agreeing is None else drawn[training.agreeing[drawn]]
                if not len(batch):
                    continue
                rate = _learning_rate(settings, n_passes_done, n_passes, n_half_size)
                optimiser.param_groups[0]["lr"] = rate
                frames = to_unit_range(video[batch], device)  # [b, 3, H, W]
                targets = soft_masks[batch].to(device)  # [b, H, W]
                if n_passes_done < n_half_size:
                    frames, targets = halve(frames, targets)
                frames, targets = _augment(frames, targets, settings, training.generator)

                # [2]; what is minimised is their sum.
                losses = set_gradients(network, frames, targets, losses_of, bf16=bf16)
                optimiser.step()
                sums += len(batch) * losses
                n_learnt += len(batch)
        training.epoch += 1
        # At the end of the epoch only: a GPU would be waited for in each step.
        means = sums.cpu() / n_learnt
        if not torch.isfinite(means).all():
            raise DivergedError(training.epoch, settings.learning_rate)
        yield EpochLosses(float(means.sum()), float(means[0]), float(means[1]))


def _batches_of_epoch(
    training: Training, n_passes: int, n_frames: int, batch_size: int
) -> list[tuple[float, torch.Tensor]]:
    """For each batch: passes done before it, a fraction, and its frame indices."""
    batches = [
        batch
        for _ in range(n_passes)
        for batch in shuffled_batches(n_frames, batch_size, training.generator)
    ]
    batches_per_pass = len(batches) // n_passes
    first = training.epoch * n_passes
    return [(first + idx / batches_per_pass, batch) for idx, batch in enumerate(batches)]


def _learning_rate(
    settings: Settings, n_passes_done: float, n_passes: int, n_half_size: int
) -> float:
    if not settings.cosine_decay:
        return settings.learning_rate
    full_size_rate = settings.half_size.full_size_rate if settings.half_size else 1.0
    return decayed_rate(
        settings.learning_rate, n_passes_done, n_passes, n_half_size, full_size_rate
    )


def _augment(
    frames: torch.Tensor, soft_masks: torch.Tensor, settings: Settings, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    if settings.flips:
        frames, soft_masks = flip_some(frames, soft_masks, generator)
    if settings.colour_jitter:
        frames = colour_jitter(frames, settings.colour_jitter, generator)
    return frames, soft_masks
