"""A learning rate that falls to 0 along half a cosine."""

from __future__ import annotations

import math


def decayed_rate(
    learning_rate: float,
    n_passes_done: float,
    n_passes: int,
    n_half_size: int,
    full_size_rate: float,
) -> float:
    """The learning rate after ``n_passes_done`` passes over the video, which may be a fraction.

    It falls from ``learning_rate`` to 0 over all ``n_passes``. Where the first ``n_half_size`` of
    them are at half the size, it falls to 0 over these, and again over the others, from the share
    ``full_size_rate`` of ``learning_rate``.
    """
    start, end = 0, n_passes
    if n_passes_done < n_half_size:
        end = n_half_size
    elif n_half_size:
        learning_rate, start = full_size_rate * learning_rate, n_half_size
    return learning_rate * (1 + math.cos(math.pi * (n_passes_done - start) / (end - start))) / 2
