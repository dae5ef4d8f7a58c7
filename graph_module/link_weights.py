"""The weight of a link (docs/method.md section 3, "Motion matrix M").

A link over k frames weighs g(k) = exp(-k^2 / (2 sigma^2)), for every k up to the half window.
"""

from __future__ import annotations

import math


def temporal_gaussian(distance: float, sigma: float) -> float:
    """g(k) = exp(-k^2 / (2 sigma^2)); ``distance`` k and ``sigma`` in frames."""
    ratio = distance / sigma  # not its square at once: that would not fit for an extreme sigma
    return math.exp(-ratio * ratio / 2)


def link_weights(half_window: int, sigma: float) -> dict[int, float]:
    """The paper's weights, {k: g(k)} for k = 1 .. half_window."""
    return {k: temporal_gaussian(k, sigma) for k in range(1, half_window + 1)}
