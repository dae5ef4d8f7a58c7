"""Min-max normalisation to [0, 1].

Where all values are equal the result is 0: nothing stands out, and nothing is divided by 0.
"""

from __future__ import annotations

import torch

from ike_data.runtime.cores import do_on_cores, frames_together


def min_max_(values: torch.Tensor) -> torch.Tensor:
    """(v - min) / (max - min) over all of ``values``, in place."""
    low, high = values.aminmax()
    return values.sub_(low).div_(torch.where(high > low, high - low, 1))


def min_max_each_(masks: torch.Tensor) -> torch.Tensor:
    """(v - min) / (max - min) over each of the n masks [n, ...], in place."""
    if frames_together(masks.device):
        low, high = masks.flatten(1).aminmax(dim=1)
        shape = -1, *(1,) * (masks.ndim - 1)
        span = torch.where(high > low, high - low, 1)
        return masks.sub_(low.view(shape)).div_(span.view(shape))
    do_on_cores(min_max_, masks, masks.device)
    return masks
