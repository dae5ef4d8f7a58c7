"""An epoch of a short video has several passes."""

from __future__ import annotations

import math

# Of an epoch, so 150 in the five of config.ini. After 50 steps in all a network's masks were worse
# than its labels; docs/extensions.md has the numbers.
LEAST_STEPS = 30


def passes_of_epoch(n_frames: int, batch_size: int) -> int:
    """The fewest passes over ``n_frames`` frames that are at least `LEAST_STEPS` steps."""
    steps_of_pass = math.ceil(n_frames / batch_size)
    return math.ceil(LEAST_STEPS / steps_of_pass)
