"""Of a short video an epoch has several passes."""

from __future__ import annotations

import math

# Of an epoch. A network that has taken a sixth as many has worse masks than the labels it learns
# from; docs/extensions.md has the numbers.
LEAST_STEPS = 60


def passes_of_epoch(n_frames: int, batch_size: int) -> int:
    """So many passes over ``n_frames`` frames that they are at least `LEAST_STEPS` steps."""
    steps_of_pass = math.ceil(n_frames / batch_size)
    return math.ceil(LEAST_STEPS / steps_of_pass)
