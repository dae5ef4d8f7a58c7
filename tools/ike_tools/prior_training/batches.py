"""Batches of samples: each is seen several times, and never twice alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

from graph_module.extensions.motion_prior import resized_flow

Size = tuple[int, int]  # (height, width), pixels

CUT = 0.5  # probability that a batch shows a part of its frames only
LEAST_PART = 0.65  # of a frame's height and width
ONE_SIDE = 0.1  # probability that the flow to one side is not known, as at both ends of a video


class Batch(NamedTuple):
    """What `network_inputs` takes, and the masks."""

    flows: torch.Tensor  # [B, 2, 2, h, w], to the next and to the previous frame; pixels
    errors: torch.Tensor  # [B, 2, h, w], pixels
    known: torch.Tensor  # bool [B, 2]
    masks: torch.Tensor  # [B, h, w] in [0, 1]


def draw_batch(
    rng: np.random.Generator, shards: Sequence[np.ndarray], n_samples: int, size: Size
) -> Batch:
    """Random samples at the given size: flipped, forward and backward exchanged, cut."""
    shard_length = len(shards[0])
    chosen = rng.integers(0, len(shards) * shard_length, n_samples)
    batch = read_batch([shards[k // shard_length][k % shard_length] for k in chosen], size, rng)
    flipped = torch.from_numpy(rng.random(n_samples) < 0.5)
    exchanged = torch.from_numpy(rng.random(n_samples) < 0.5)
    known = np.ones((n_samples, 2), bool)
    one_sided = rng.random(n_samples) < ONE_SIDE
    known[one_sided, rng.integers(0, 2, one_sided.sum())] = False

    def where(condition: torch.Tensor, yes: torch.Tensor, no: torch.Tensor) -> torch.Tensor:
        return torch.where(condition.reshape(-1, *[1] * (no.ndim - 1)), yes, no)

    sideways = torch.tensor([-1.0, 1.0]).reshape(2, 1, 1)
    flows = where(flipped, batch.flows.flip(-1) * sideways, batch.flows)
    errors = where(flipped, batch.errors.flip(-1), batch.errors)
    return Batch(
        where(exchanged, flows.flip(1), flows),
        where(exchanged, errors.flip(1), errors),
        torch.from_numpy(known),
        where(flipped, batch.masks.flip(-1), batch.masks),
    )


def read_batch(
    records: Sequence[np.void], size: Size, rng: np.random.Generator | None = None
) -> Batch:
    """Samples as they are, at the given size; with ``rng``, perhaps the same part of each."""
    flows, errors, masks = (
        torch.from_numpy(np.stack([record[name] for record in records])).float()
        for name in ("flows", "errors", "mask")
    )
    height, width = masks.shape[1:]
    rows, columns = slice(None), slice(None)
    if rng is not None and rng.random() < CUT:
        rows, columns = _part(rng, height), _part(rng, width)
    flows = resized_flow(flows[..., rows, columns].flatten(0, 1), size).unflatten(0, (-1, 2))
    scale = size[0] / len(range(height)[rows])
    return Batch(
        flows,
        scale * _resized(errors[..., rows, columns], size),
        torch.ones(len(records), 2, dtype=torch.bool),
        _resized(masks[:, None, rows, columns], size)[:, 0] / 255,
    )


def _part(rng: np.random.Generator, length: int) -> slice:
    """A random part of a side."""
    part = round(rng.uniform(LEAST_PART, 1) * length)
    start = int(rng.integers(0, length - part + 1))
    return slice(start, start + part)


def _resized(maps: torch.Tensor, size: Size) -> torch.Tensor:
    """[B, C, h, w] at another size; means where it becomes smaller."""
    smaller = size[0] <= maps.shape[2] and size[1] <= maps.shape[3]
    return F.interpolate(maps, size, mode="area" if smaller else "bilinear")
