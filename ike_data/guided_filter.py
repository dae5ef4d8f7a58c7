"""Masks whose boundaries follow the edges of the frames; not in the paper.

The guided filter of He, Sun and Tang, "Guided Image Filtering" (TPAMI 2013), with a colour guide:
in each window the mask is a linear function of the colour. Masks that are smaller than the frames
are brought to their size as in the same authors' "Fast Guided Filter" (2015): the functions are
found at the size of the masks, and applied to the frames. OpenCV has the filter in its contributed
modules only, which cannot be installed beside opencv-python.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from ike_data.runtime.cores import fill_in_blocks

RADIUS = 4  # of a window, pixels of the frames
EPSILON = 1e-4  # colours, in [0, 1], that vary by less than this in a window are flat
# Masks are steepened around 0.5 first: what varies slowly would be flattened to its mean.
STEEPNESS = 3.0
# Bytes that a pixel of a frame, and one of a mask, take at a time, about.
GUIDE_BYTES, MASK_BYTES = 60, 300


def follow_edges(video: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
    """Filter clamp(3 (mask - 0.5) + 0.5, 0, 1) with the frames as the guide.

    Args:
        video: uint8 RGB [n, 3, H, W], on any device.
        masks: [n, h, w] in [0, 1], of the size of the frames or smaller.

    Returns:
        [n, H, W] in [0, 1], on the device of ``masks``.
    """
    height, width = video.shape[2:]
    radius = max(round(RADIUS * masks.shape[1] / height), 1)

    def follow(frames: torch.Tensor, some: torch.Tensor) -> torch.Tensor:
        steep = ((some - 0.5) * STEEPNESS + 0.5).clamp_(0, 1)
        guides = frames.to(some) / 255
        return guided_filter(guides, steep, radius=radius, epsilon=EPSILON).clamp_(0, 1)

    n_bytes = GUIDE_BYTES * height * width + MASK_BYTES * masks[0].numel()
    filtered = masks.new_empty(len(masks), height, width)
    return fill_in_blocks(filtered, follow, video, masks, frame_bytes=n_bytes)


def guided_filter(
    guides: torch.Tensor, masks: torch.Tensor, *, radius: int, epsilon: float
) -> torch.Tensor:
    """q = mean(a) . I + mean(b), with a = (Sigma + epsilon U)^-1 cov(I, p) in each window.

    Equations 19 to 21 of the paper. Windows are cut off at the frame's border. Where the mask is
    smaller than the guide, mean(a) and mean(b) are those of the guide at the mask's size (pixels
    that fall together are averaged), interpolated bilinearly.

    Args:
        guides: I, [m, 3, H, W] in [0, 1].
        masks: p, [m, h, w].
        radius: of the (2 radius + 1)^2 windows, pixels of the mask.
        epsilon: > 0, of the squared range of colours.

    Returns:
        [m, H, W]; they may leave the range of ``masks`` a little.
    """
    small = guides
    if masks.shape[1:] != guides.shape[2:]:
        small = F.interpolate(guides, size=masks.shape[1:], mode="area")
    rows, columns = torch.triu_indices(3, 3)
    products = small[:, rows] * small[:, columns]  # [m, 6, h, w], the upper triangle of I I^T
    p = masks[:, None]
    sums = torch.cat([small, p, small * p, products], dim=1)
    mean_i, mean_p, mean_ip, mean_ii = _window_means(sums, radius).split([3, 1, 3, 6], dim=1)
    covariance = mean_ip - mean_i * mean_p  # [m, 3, h, w]
    sigma = mean_ii - mean_i[:, rows] * mean_i[:, columns]  # [m, 6, h, w]
    for diagonal in (0, 3, 5):
        sigma[:, diagonal].add_(epsilon)
    a = _solve_symmetric(sigma, covariance)  # [m, 3, h, w]
    b = mean_p - (a * mean_i).sum(1, keepdim=True)  # [m, 1, h, w]
    means = _window_means(torch.cat([a, b], dim=1), radius)
    if small is not guides:
        means = F.interpolate(means, size=guides.shape[2:], mode="bilinear", align_corners=False)
    return (means[:, :3] * guides).sum(1) + means[:, 3]


def _window_means(planes: torch.Tensor, radius: int) -> torch.Tensor:
    """The mean of each window: down its columns, then across. [m, C, H, W] -> [m, C, H, W]."""
    # In this layout and in two steps a CPU takes a sixth of the time.
    planes = planes.contiguous(memory_format=torch.channels_last)
    for size, padding in (
        ((2 * radius + 1, 1), (radius, 0)),
        ((1, 2 * radius + 1), (0, radius)),
    ):
        planes = F.avg_pool2d(planes, size, 1, padding, count_include_pad=False)
    return planes


def _solve_symmetric(matrix: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """x of A x = y for each pixel, A positive definite: L D L^T, written out.

    ``matrix``, [m, 6, H, W], has the upper triangles of A: 00, 01, 02, 11, 12, 22. ``right`` is y,
    [m, 3, H, W], as is x.
    """
    d0, a01, a02, a11, a12, a22 = matrix.unbind(1)
    l10, l20 = a01 / d0, a02 / d0
    d1 = a11 - l10 * a01
    e12 = a12 - l10 * a02
    l21 = e12 / d1
    d2 = a22 - l20 * a02 - l21 * e12
    y0, right1, right2 = right.unbind(1)
    y1 = right1 - l10 * y0
    y2 = right2 - l20 * y0 - l21 * y1
    x2 = y2 / d2
    x1 = y1 / d1 - l21 * x2
    return torch.stack([y0 / d0 - l10 * x1 - l20 * x2, x1, x2], dim=1)
