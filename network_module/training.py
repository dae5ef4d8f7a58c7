"""Training of the U-Net on one video."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from ike_data.errors import InputError
from ike_data.tensor_files import is_state_of
from network_module.augmentation import change_light, flip_some
from network_module.dataset import shuffled_batches, to_unit_range
from network_module.losses import confidence, cross_entropy, dice, hard_labels
from network_module.precision import half_precision

# More of it undoes what was learnt at half the size; see docs/quality.md.
FULL_SIZE_RATE = 0.25


class EpochLoss(NamedTuple):
    """Losses of an epoch, the means over its frames, taken while the weights changed."""

    total: float
    cross_entropy: float
    dice: float


class Training:
    """Training of a model in place, epoch by epoch: AdamW, shuffled batches.

    Cross-entropy takes the soft masks cut at 0.5, dice takes them as they are (METHOD section 4).

    Everything that the next epoch depends on can be taken (`state`) and put back (`load_state`).
    """

    def __init__(
        self,
        model: torch.nn.Module,
        frames: torch.Tensor,
        soft_masks: torch.Tensor,
        *,
        batch_size: int,
        learning_rate: float,
        seed: int,
        device: torch.device,
        half: bool = False,
        passes_per_epoch: int = 1,
        decay_epochs: int = 0,
        half_size_passes: int = 0,
        soft_labels: bool = False,
        confidence_weights: bool = False,
        flips: bool = False,
        light: float = 0.0,
        weight_average: float = 0.0,
    ) -> None:
        """
        Args:
            model: on ``device``; frames [b, 3, H, W] in [0, 1] -> logits [b, 2, H, W].
            frames: uint8 [n, 3, H, W].
            soft_masks: float32 [n, H, W] in [0, 1].
            seed: of the order of the frames; PyTorch's global random state is not used.
            half: convolutions in bfloat16; weights, norms' sums and losses stay in float32.
            passes_per_epoch: passes over the frames that are one epoch.
            decay_epochs: the learning rate falls along half a cosine from ``learning_rate`` at the
                start to 0 after this many epochs; 0: it stays.
            half_size_passes: so many passes, the first, learn from frames and masks of half their
                size, in a quarter of the time. With ``decay_epochs`` the learning rate falls to 0
                over these, and again, from `FULL_SIZE_RATE` of it, over the others.
            soft_labels: cross-entropy takes the soft masks as they are, too.
            confidence_weights: dice takes the labels of cross-entropy, and in both a pixel weighs
                as much as its soft mask is sure (`confidence`).
            flips, light: see `augmentation`.
            weight_average: decay of the running mean that is `result`; 0: the last weights.
        """
        self.epoch = 0  # done so far
        self._model = model
        self._frames, self._soft_masks = frames, soft_masks
        self._batch_size, self._learning_rate, self._device = batch_size, learning_rate, device
        self._half = half
        self._passes_per_epoch, self._decay_epochs = passes_per_epoch, decay_epochs
        self._half_size_passes = half_size_passes
        self._soft_labels, self._confidence_weights = soft_labels, confidence_weights
        self._flips, self._light = flips, light
        self._mean: AveragedModel | None = None
        if weight_average:
            average = get_ema_multi_avg_fn(weight_average)
            self._mean = AveragedModel(model, multi_avg_fn=average)
        self._shuffling = torch.Generator().manual_seed(seed)
        self._optimiser = torch.optim.AdamW(model.parameters(), lr=learning_rate)

    @property
    def result(self) -> torch.nn.Module:
        """The network to use: the model, or the running mean of its weights."""
        return self._model if self._mean is None else self._mean.module

    def run_epoch(self) -> EpochLoss:
        """Pass over all frames, ``passes_per_epoch`` times.

        Raises:
            InputError: the loss is not finite.
        """
        self.epoch += 1
        sums = torch.zeros(2, device=self._device)
        first_pass = (self.epoch - 1) * self._passes_per_epoch
        batches = [
            batch
            for _ in range(self._passes_per_epoch)
            for batch in shuffled_batches(len(self._frames), self._batch_size, self._shuffling)
        ]
        batches_per_pass = len(batches) // self._passes_per_epoch
        bar = tqdm(batches, desc=f"epoch {self.epoch}", unit="batch", leave=False)
        for idx, batch in enumerate(bar):
            n_passes_done = first_pass + idx / batches_per_pass
            if self._decay_epochs:
                self._optimiser.param_groups[0]["lr"] = self._decayed(n_passes_done)
            frames = to_unit_range(self._frames[batch], self._device)
            masks = self._soft_masks[batch].to(self._device)
            if n_passes_done < self._half_size_passes:
                frames, masks = F.avg_pool2d(frames, 2), F.avg_pool2d(masks, 2)
            if self._flips:
                frames, masks = flip_some(frames, masks, self._shuffling)
            if self._light:
                frames = change_light(frames, self._light, self._shuffling)
            with half_precision(self._half, self._device):
                logits = self._model(frames)
            logits = logits.float()
            labels = masks if self._soft_labels else hard_labels(masks)
            if self._confidence_weights:
                weights = confidence(masks)
                terms = cross_entropy(logits, labels, weights), dice(logits, labels, weights)
            else:
                terms = cross_entropy(logits, labels), dice(logits, masks)
            losses = torch.stack(terms)
            self._optimiser.zero_grad()
            losses.sum().backward()
            self._optimiser.step()
            if self._mean is not None:
                self._mean.update_parameters(self._model)
            sums += len(batch) * losses.detach()
        # At the end of the epoch only: a GPU would be waited for in each step.
        means = sums.cpu() / (self._passes_per_epoch * len(self._frames))
        if not torch.isfinite(means).all():
            raise diverged(self.epoch, self._learning_rate)
        return EpochLoss(float(means.sum()), float(means[0]), float(means[1]))

    def _decayed(self, n_passes_done: float) -> float:
        """The learning rate after so many passes and parts of one."""
        rate, start = self._learning_rate, 0
        end = self._decay_epochs * self._passes_per_epoch
        if n_passes_done < self._half_size_passes:
            end = self._half_size_passes
        elif self._half_size_passes:
            rate, start = FULL_SIZE_RATE * rate, self._half_size_passes
        return rate * (1 + math.cos(math.pi * (n_passes_done - start) / (end - start))) / 2

    def state(self) -> dict[str, Any]:
        """Tensors and plain values that ``torch.load(weights_only=True)`` reads."""
        return {
            "epoch": self.epoch,
            "model": self._model.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "shuffling": self._shuffling.get_state(),
            "mean": None if self._mean is None else self._mean.state_dict(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on where `state` was taken, with the same model, frames and settings.

        Raises:
            Exception: of any class, where ``state`` is not what `state` gives.
        """
        moments = state["optimiser"]["state"]
        parameters = list(self._model.parameters())
        whole = isinstance(state["epoch"], int) and state["epoch"] >= 1
        whole &= is_state_of(state["model"], self._model.state_dict())
        whole &= self._mean is None or is_state_of(state["mean"], self._mean.state_dict())
        whole &= moments.keys() == set(range(len(parameters)))
        if not whole or not all(
            is_state_of(
                moments[idx], {"step": torch.zeros(()), "exp_avg": value, "exp_avg_sq": value}
            )
            and moments[idx]["step"] >= 1
            for idx, value in enumerate(parameters)
        ):
            raise ValueError("not the state of a training of this model")
        self._model.load_state_dict(state["model"])
        # The settings of the optimiser are this run's.
        settings = self._optimiser.state_dict()["param_groups"]
        self._optimiser.load_state_dict({"state": moments, "param_groups": settings})
        self._shuffling.set_state(state["shuffling"])
        if self._mean is not None:
            self._mean.load_state_dict(state["mean"])
        self.epoch = state["epoch"]


def diverged(epoch: int, learning_rate: float) -> InputError:
    """The error for a network whose loss or output is not finite any more."""
    return InputError(
        f"[Network Module] learning_rate = {learning_rate}: training diverged in epoch {epoch}, "
        "its loss is not finite; use a smaller learning_rate"
    )
