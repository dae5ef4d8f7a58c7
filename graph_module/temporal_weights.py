"""How much a link over k frames weighs, and which of them are used.

METHOD section 3: g(k) = exp(-k^2 / (2 sigma^2)) for every k up to the half window.
"""

from __future__ import annotations

import math


def temporal_weight(distance: float, sigma: float) -> float:
    """g(k) = exp(-k^2 / (2 sigma^2)), the weight of what is k frames away."""
    ratio = distance / sigma  # not its square at once: that would not fit for an extreme sigma
    return math.exp(-ratio * ratio / 2)


def exact_weights(half_window: int, sigma: float) -> dict[int, float]:
    """{k: g(k)} for k = 1 .. half_window."""
    return {k: temporal_weight(k, sigma) for k in range(1, half_window + 1)}


def fast_weights(half_window: int, sigma: float) -> dict[int, float]:
    """Few distances that stand for all: {k: weight}.

    What a chain reads changes slowly along it, so the sum over all distances is close to the sum
    over few of them, each with the weights of those that it stands for. A distance between two
    kept ones is read as their linear interpolation, so its g is shared between them in that
    proportion; the total weight stays the same. Each kept distance is about 1.6 times the one
    before: 1, 2, 3, 5, 8, 11 for sigma = 4.
    """
    last = math.ceil(min(half_window, _REACH * sigma))
    kept = [1] if last >= 1 else []
    while kept and kept[-1] < last:
        kept.append(min(max(round(kept[-1] * _GROWTH), kept[-1] + 1), last))
    weights = dict.fromkeys(kept, 0.0)
    for k, g in exact_weights(half_window, sigma).items():
        below = max(d for d in kept if d <= k)
        above = min((d for d in kept if d >= k), default=below)
        share = 0.0 if above == below else (k - below) / (above - below)
        weights[below] += (1 - share) * g
        weights[above] += share * g
    return weights


_GROWTH = 1.6
_REACH = 2.75  # in sigmas; the distances beyond weigh 2 % of the total
