"""Masks whose boundaries follow the edges of the frames; not in the paper.

The guided filter of He, Sun and Tang, "Guided Image Filtering" (TPAMI 2013), with a colour guide:
in each window the mask is a linear function of the colour. OpenCV has it in its contributed modules
only, which cannot be installed beside opencv-python.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

RADIUS = 4  # of a window, pixels
EPSILON = 1e-4  # colours, in [0, 1], that vary by less than this in a window are flat
# Masks are steepened around 0.5 first: what varies slowly would be flattened to its mean.
STEEPNESS = 3.0


def follow_edges(video: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
    """Filter clamp(3 (mask - 0.5) + 0.5, 0, 1) with the frames as the guide.

    Args:
        video: uint8 RGB [n, 3, H, W], on any device.
        masks: [n, H, W] in [0, 1].

    Returns:
        [n, H, W] in [0, 1], on the device of ``masks``.
    """
    filtered = torch.empty_like(masks)
    for idx, mask in enumerate(masks):
        steep = ((mask - 0.5) * STEEPNESS + 0.5).clamp_(0, 1)
        guide = video[idx].to(masks) / 255
        filtered[idx] = guided_filter(guide, steep, radius=RADIUS, epsilon=EPSILON).clamp_(0, 1)
    return filtered


def guided_filter(
    guide: torch.Tensor, mask: torch.Tensor, *, radius: int, epsilon: float
) -> torch.Tensor:
    """q = mean(a) . I + mean(b), with a = (Sigma + epsilon U)^-1 cov(I, p) in each window.

    Equations 19 to 21 of the paper. Windows are cut off at the frame's border.

    Args:
        guide: I, [3, H, W] in [0, 1].
        mask: p, [H, W].
        radius: of the (2 radius + 1)^2 windows, pixels.
        epsilon: > 0, of the squared range of colours.

    Returns:
        [H, W]; it may leave the range of ``mask`` a little.
    """

    def mean(planes: torch.Tensor) -> torch.Tensor:
        """Of each window: of its columns, then of their means. [C, H, W] -> [C, H, W]."""
        # In this layout and in two steps a CPU takes a sixth of the time.
        planes = planes[None].contiguous(memory_format=torch.channels_last)
        for size, padding in (
            ((2 * radius + 1, 1), (radius, 0)),
            ((1, 2 * radius + 1), (0, radius)),
        ):
            planes = F.avg_pool2d(planes, size, 1, padding, count_include_pad=False)
        return planes[0]

    products = (guide[:, None] * guide).flatten(0, 1)  # [9, H, W]
    means = mean(torch.cat([guide, mask[None], guide * mask, products]))
    mean_i, mean_p, mean_ip, mean_ii = means.split([3, 1, 3, 9])
    covariance = mean_ip - mean_i * mean_p  # [3, H, W]
    sigma = mean_ii - (mean_i[:, None] * mean_i).flatten(0, 1)
    sigma = sigma.permute(1, 2, 0).unflatten(-1, (3, 3))  # [H, W, 3, 3]
    sigma.diagonal(dim1=-2, dim2=-1).add_(epsilon)
    a = torch.linalg.solve(sigma, covariance.permute(1, 2, 0)[..., None])[..., 0]  # [H, W, 3]
    a = a.permute(2, 0, 1)  # [3, H, W]
    b = mean_p[0] - (a * mean_i).sum(0)  # [H, W]
    mean_a, mean_b = mean(torch.cat([a, b[None]])).split([3, 1])
    return (mean_a * guide).sum(0) + mean_b[0]
