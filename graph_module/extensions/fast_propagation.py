"""Fast propagation: few links stand for all of them.

What a chain reads changes slowly along it, so the sum over all distances is close to the sum over
few of them, each with the weights of those that it stands for. A distance between two that are
used is read as their linear interpolation, so its weight is shared between them in that
proportion. The total weight stays the same. Masks differ by less than 0.01 on average
(docs/performance.md).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from graph_module.link_weights import link_weights
from ike_data.parameters import Parameters, parameter


@dataclass(frozen=True)
class FastPropagation(Parameters):
    """Which distances are used, and when the iterations end."""

    # Each distance is about this many times the one before: 1, 2, 3, 5, 8, 11 for sigma = 4.
    growth: float = parameter(1.6, low=1, low_excluded=True)
    # The largest distance, in sigmas. Those beyond have 0.4 % of the total weight.
    n_sigmas: float = parameter(2.75, low_excluded=True)
    # Mean change of the masks below which the iterations end. What is still to come then changes
    # them by less than 0.004 on average (docs/performance.md).
    tolerance: float = parameter(0.001, high=1)


def fast_link_weights(
    half_window: int, sigma: float, fast: FastPropagation | None = None
) -> dict[int, float]:
    """{k: weight} for few k, with the total of `link_weights`; ``sigma`` in frames."""
    fast = fast or FastPropagation()
    used = _distances(math.ceil(min(half_window, fast.n_sigmas * sigma)), fast.growth)
    weights = dict.fromkeys(used, 0.0)
    for k, g in link_weights(half_window, sigma).items():
        below = max(d for d in used if d <= k)
        above = min((d for d in used if d >= k), default=below)
        share = 0.0 if above == below else (k - below) / (above - below)
        weights[below] += (1 - share) * g
        weights[above] += share * g
    return weights


def _distances(last: int, growth: float) -> list[int]:
    """1, ..., last, each about ``growth`` times the one before."""
    used = [1] if last >= 1 else []
    while used and used[-1] < last:
        used.append(min(max(round(used[-1] * growth), used[-1] + 1), last))
    return used
