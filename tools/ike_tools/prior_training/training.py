"""The steps of the training, and the checkpoint that an interrupted one goes on from."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from graph_module.extensions.motion_prior import network_inputs
from graph_module.extensions.motion_prior_network import MotionPriorNetwork
from ike_data.runtime.atomic import atomic_file
from ike_data.runtime.errors import InputError
from ike_data.tensor_files import load_tensors, save_tensors
from ike_tools.prior_training.batches import Batch, draw_batch, read_batch
from ike_tools.prior_training.losses import intersection_over_union, mask_loss
from ike_tools.scenes.samples import SAMPLE_HEIGHT, SAMPLE_WIDTH

BATCH_SIZE = 16
LEARNING_RATE, WEIGHT_DECAY, LARGEST_GRADIENT = 1.5e-3, 0.02, 1.0
N_WARM_UP = 100  # steps
SHARE_OF_SMALL = 0.5  # of the steps, at half of the size: they cost a third
AVERAGED_STEPS = 500  # about, of the weights' moving average
SMALL, FULL = (SAMPLE_HEIGHT // 2, SAMPLE_WIDTH // 2), (SAMPLE_HEIGHT, SAMPLE_WIDTH)


@dataclass(frozen=True)
class Plan:
    """What is trained; a checkpoint of another plan cannot be gone on from."""

    seed: int
    n_samples: int
    n_steps: int


class Quality(NamedTuple):
    """Means over held-out samples."""

    loss: float
    iou: float


class Training:
    """The state of a training between two steps."""

    def __init__(self, plan: Plan, device: torch.device) -> None:
        torch.manual_seed(plan.seed)
        self.plan = plan
        self.device = device
        self.n_done = 0
        self.network = _new_network(device)
        self.averaged = _new_network(device)
        self.averaged.load_state_dict(self.network.state_dict())
        self.averaged.eval().requires_grad_(False)
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY
        )

    def steps(self, shards: Sequence[np.ndarray]) -> Iterator[float]:
        """Do the steps that are still to be done; yield the loss of each.

        What a step draws depends on the seed and its number only.
        """
        while self.n_done < self.plan.n_steps:
            rng = np.random.default_rng([self.plan.seed, self.n_done])
            small = self.n_done < SHARE_OF_SMALL * self.plan.n_steps
            batch = draw_batch(rng, shards, BATCH_SIZE, SMALL if small else FULL)
            yield self._step(batch)

    def _step(self, batch: Batch) -> float:
        for group in self.optimizer.param_groups:
            group["lr"] = LEARNING_RATE * _share_of_rate(self.n_done, self.plan.n_steps)
        loss = mask_loss(*self._logits(self.network, batch))
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), LARGEST_GRADIENT)
        self.optimizer.step()
        self.n_done += 1
        new = max(1 / AVERAGED_STEPS, 1 / (1 + self.n_done / 20))
        with torch.no_grad():
            pairs = zip(self.averaged.parameters(), self.network.parameters(), strict=True)
            for averaged, weight in pairs:
                averaged.lerp_(weight, new)
        return float(loss.detach())

    @torch.no_grad()
    def quality(self, shards: Sequence[np.ndarray]) -> Quality:
        """Of the averaged weights, on samples that nothing is learnt from."""
        losses, ious = [], []
        for shard in shards:
            for start in range(0, len(shard), BATCH_SIZE):
                batch = read_batch(list(shard[start : start + BATCH_SIZE]), FULL)
                logits, masks = self._logits(self.averaged, batch)
                n_samples = len(masks)
                losses.append(float(mask_loss(logits, masks)) * n_samples)
                ious.append(float(intersection_over_union(logits, masks).sum()))
        n_all = sum(len(shard) for shard in shards)
        return Quality(sum(losses) / n_all, sum(ious) / n_all)

    def _logits(
        self, network: MotionPriorNetwork, batch: Batch
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The network's logits and the masks, on the device."""
        flows, errors, known, masks = (part.to(self.device) for part in batch)
        inputs = network_inputs(flows, errors, known)
        inputs = inputs.contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, torch.bfloat16):
            logits = network(inputs)
        return logits.float(), masks

    def save(self, path: Path) -> None:
        """Write all that the next step needs."""
        content = {
            "plan": asdict(self.plan),
            "n_done": self.n_done,
            "network": self.network.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        with atomic_file(path) as partial:
            save_tensors(partial, content)

    def resume(self, path: Path) -> None:
        """Go on from a checkpoint; InputError where it is damaged, or that of another plan."""
        remedy = "remove it to begin anew, or give another --out_path"
        content: dict[str, Any] = load_tensors(path, remedy)
        if not isinstance(content, dict) or content.get("plan") != asdict(self.plan):
            raise InputError(
                f"{path}: is of a training with another seed, n_samples or n_steps; {remedy}"
            )
        self.network.load_state_dict(content["network"])
        self.averaged.load_state_dict(content["averaged"])
        self.optimizer.load_state_dict(content["optimizer"])
        self.n_done = content["n_done"]

    def save_weights(self, path: Path) -> None:
        """Write the averaged weights as float16, as graph_module reads them."""
        state = self.averaged.state_dict()
        weights = {name: w.half().cpu().contiguous() for name, w in state.items()}
        with atomic_file(path) as partial:
            save_tensors(partial, weights)


def _new_network(device: torch.device) -> MotionPriorNetwork:
    """In the order of memory that convolutions are fastest in."""
    network = MotionPriorNetwork().to(device)
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def _share_of_rate(step: int, n_steps: int) -> float:
    """A cosine from 1 to 0, after a warm-up from 0."""
    return min(1, (step + 1) / N_WARM_UP) * (0.5 + 0.5 * math.cos(math.pi * step / n_steps))
