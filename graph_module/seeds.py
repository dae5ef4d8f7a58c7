"""The first soft mask, the same for every frame (docs/method.md section 3, "Seeds")."""

from __future__ import annotations

import numpy as np
import torch

from graph_module.normalisation import min_max_

RANDOM, UNIFORM, CENTRAL = 0, 1, 2
_RANDOM_STATE = 115  # the authors' choice; their masks can be reproduced only with it


def seed_mask(seed_type: int, sigma_share: float, height: int, width: int) -> torch.Tensor:
    """The seed x_p of a frame: float32 [height, width] in [0, 1].

    0: uniform random in [0, 1); 1: ones; 2: exp(-r^2 / (2 s^2)), r the distance to pixel
    (width // 2, height // 2), s = sigma_share * min(height, width), min-max normalised.

    Raises:
        ValueError: ``seed_type`` is not 0, 1 or 2.
    """
    if seed_type == RANDOM:
        noise = np.random.RandomState(_RANDOM_STATE).rand(height, width)
        return torch.from_numpy(noise).to(torch.float32)
    if seed_type == UNIFORM:
        return torch.ones(height, width)
    if seed_type == CENTRAL:
        y = torch.arange(height, dtype=torch.float64)[:, None] - height // 2
        x = torch.arange(width, dtype=torch.float64)[None, :] - width // 2
        s = sigma_share * min(height, width)
        return min_max_(torch.exp(-((x / s) ** 2 + (y / s) ** 2) / 2)).to(torch.float32)
    raise ValueError(f"seed_type should be 0, 1 or 2, got {seed_type}")
