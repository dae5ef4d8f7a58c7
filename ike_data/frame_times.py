"""What the time stamps of a video's frames say: its frame rate."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

# Seconds between neighbours. What lies beyond is a clock that was set anew, as where recordings
# were joined, and says nothing of how long a frame is shown.
_STEADY_STEPS = (-1.0, 60.0)
# Frames a second. A header's rate beyond that is the unit of its clock.
_MOST_BY_HEADER = 1000.0


def frame_rate(times: Sequence[float | None], by_header: float | None) -> float | None:
    """Frames a second, > 0 and finite: played at this rate a video lasts as long as it does.

    The mean is taken, not the median: the rate of a phone or of a screen recording varies.

    Args:
        times: seconds of each frame in the order of the frames, or None where it has none. They
            may start anywhere, repeat, be out of order, and jump.
        by_header: what the file's header claims. It is believed only where the times give no
            rate, for some recorders write the unit of their clock there.

    Returns:
        The rate, or None where it is not known.
    """
    known = [idx for idx, time in enumerate(times) if time is not None]
    n_steps = np.diff(known)
    seconds = np.diff([times[idx] for idx in known]).astype(float)
    steady = (seconds > _STEADY_STEPS[0]) & (seconds < _STEADY_STEPS[1] * n_steps)
    total = seconds[steady].sum()
    if total > 0:
        return float(n_steps[steady].sum() / total)
    if by_header is not None and 0 < by_header <= _MOST_BY_HEADER:
        return by_header
    return None
