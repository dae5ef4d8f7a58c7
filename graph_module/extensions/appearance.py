"""Appearance: the soft masks that colour and position alone explain.

Ridge regression of hard labels y, the masks cut at 0.5 as the network's pseudo-labels are, on
random Fourier features z = cos(W d + phases) (Rahimi and Recht, "Random Features for Large-Scale
Kernel Machines", NIPS 2007) of a pixel's colour and position d: the kernel of z is Gaussian.

    w = (sum g z z^T + ridge I)^-1 sum g z (y - 0.5)
    mask = w . z + 0.5, moved so that it is 0.5 where it is cut

The sums run over the frames around a frame, so that what one of them has missed, or has too much
of, is judged by the others. Their weights g are a Gaussian over time, times the reliability of the
frames. Unreliable frames are skipped, and do not count in the distance in time either. So where an
object pauses and flow shows nothing, what it looked like before and after is what counts, however
long it pauses.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F

from graph_module.link_weights import temporal_gaussian
from graph_module.progress import Progress, silent
from ike_data.parameters import check_ranges, parameter
from ike_data.soft_masks import HARD_THRESHOLD


@dataclass(frozen=True)
class Appearance:
    """The window in time, the kernel, and the regression."""

    sigma: float = parameter(4.0, low_excluded=True)  # of the Gaussian over time, frames
    reach: int = parameter(16, low=1)  # where that ends, frames to each side
    # Widths of the Gaussian kernel: Lab's lightness, its two colour axes, and position in frame
    # heights.
    lightness: float = parameter(20.0, low_excluded=True)
    colour: float = parameter(10.0, low_excluded=True)
    position: float = parameter(0.3, low_excluded=True)
    n_fourier: int = parameter(1000, low=1)  # random features; 600 lose 0.004 of mean J
    ridge: float = parameter(1.0, low_excluded=True)
    n_sampled: int = parameter(6000, low=1)  # pixels of a frame that a fit looks at, about
    # Frames of less than this share of the most reliable frame's reliability are skipped.
    least_reliability: float = parameter(0.01, high=1)
    # Least squares cut at 0.5 favours the larger class, the background. The middle between the
    # means of both classes (Fisher's discriminant) favours none, and gives halos. This is how far
    # the cut is moved from 0.5 to that middle.
    to_middle: float = parameter(0.5, high=1)
    pixels_at_once: int = parameter(1 << 14, low=1)  # whose features are in memory

    def __post_init__(self) -> None:
        check_ranges(self)


Fourier = Callable[[torch.Tensor], torch.Tensor]


class _Moments(NamedTuple):
    """Sums over the sampled pixels of a frame, z their random features and y their labels."""

    gram: torch.Tensor  # of z z^T, [n_fourier, n_fourier]
    objects: torch.Tensor  # of z y, [n_fourier]
    features: torch.Tensor  # of z, [n_fourier]
    n_objects: torch.Tensor  # of y, []
    n_all: torch.Tensor  # of 1, []


class _Window:
    """The moments of the frames around a frame, each read once, in a ring of slots.

    One tensor for each sum, with the slots as its first dimension: small tensors that stay, among
    large ones that come and go, would leave the allocator with holes as large as these.
    """

    def __init__(
        self,
        n_slots: int,
        n_fourier: int,
        like: torch.Tensor,
        read: Callable[[int, _Moments], None],
    ) -> None:
        """``read`` writes the moments of the frame at a place; ``like``: of their type."""
        shapes = (n_fourier, n_fourier), (n_fourier,), (n_fourier,), (), ()
        self._slots = _Moments(*(like.new_zeros(n_slots, *shape) for shape in shapes))
        self._n_slots, self._read, self._n_read = n_slots, read, 0

    def weighted(self, first: int, weights: torch.Tensor) -> _Moments:
        """The sum over the places from ``first`` on, ``weights`` [m]; later calls begin later."""
        end = first + len(weights)
        while self._n_read < end:
            slot = self._n_read % self._n_slots
            self._read(self._n_read, _Moments(*(sums[slot] for sums in self._slots)))
            self._n_read += 1
        of_slots = weights.new_zeros(self._n_slots)
        of_slots[torch.arange(first, end, device=weights.device) % self._n_slots] = weights
        return _Moments(*(_weighted_sum(of_slots, sums) for sums in self._slots))


def appearance_masks(
    video: torch.Tensor,
    masks: torch.Tensor,
    settings: Appearance | None = None,
    *,
    shrink: int = 1,
    reliability: torch.Tensor | None = None,
    progress: Progress = silent,
) -> torch.Tensor:
    """Predict each frame's mask from its colours and positions.

    Args:
        video: uint8 RGB [n, 3, H, W], on the CPU.
        masks: [n, H, W] in [0, 1].
        shrink: masks and frames are looked at in their size divided by this, for speed; at least 1.
        reliability: how much the masks of a frame count beside those of the others, [n], at least
            0, on the device of ``masks``; only ratios matter. None, or 0 for all frames: all alike.

    Returns:
        [n, H, W] in [0, 1], on the device of ``masks``.
    """
    settings = settings or Appearance()
    n_frames, height, width = masks.shape
    if reliability is None or not reliability.any():
        reliability = masks.new_ones(n_frames)
    size = max(height // shrink, 1), max(width // shrink, 1)
    step = min(max(round(math.sqrt(size[0] * size[1] / settings.n_sampled)), 1), *size)
    sampled = slice(step // 2, None, step)
    n_sampled = len(range(size[0])[sampled]) * len(range(size[1])[sampled])
    n_rows = max(min(size[0] * size[1], settings.pixels_at_once), n_sampled)
    fourier = fourier_features(settings.n_fourier, n_rows, masks)

    # Frames to learn from, in their order, and where each frame stands among them: one that is
    # skipped, half way between two.
    teaches = reliability >= settings.least_reliability * reliability.max()
    teachers, reliability = teaches.nonzero()[:, 0].tolist(), reliability[teaches]
    places = (teaches.cumsum(0) - torch.where(teaches, 1.0, 0.5)).tolist()

    def read(place: int, moments: _Moments) -> None:
        idx = teachers[place]
        pixels = descriptors(video[idx], size, settings)[sampled, sampled].flatten(0, 1)
        label = (masks[idx] >= HARD_THRESHOLD).to(masks.dtype)
        label = F.interpolate(label[None, None], size=size, mode="area")[0, 0]  # [h, w]
        _write_moments(fourier(pixels.to(masks)), label[sampled, sampled].flatten(), moments)

    n_slots = min(2 * settings.reach + 1, len(teachers))
    window = _Window(n_slots, settings.n_fourier, masks, read)
    predicted = torch.empty_like(masks)
    for idx, place in enumerate(progress(places, desc="appearance", total=n_frames, unit="frame")):
        first = max(math.ceil(place - settings.reach), 0)
        end = min(math.floor(place + settings.reach) + 1, len(teachers))
        temporal = masks.new_tensor(
            [temporal_gaussian(other - place, settings.sigma) for other in range(first, end)]
        )
        counts = temporal * reliability[first:end]
        # In all as much as without reliability, for the ridge does not change either.
        counts *= temporal.sum() / counts.sum()
        weights, cut = _fit(window.weighted(first, counts), settings.ridge, settings.to_middle)
        pixels = descriptors(video[idx], size, settings).flatten(0, 1).to(masks)  # [h w, 5]
        values = [fourier(some) @ weights for some in pixels.split(settings.pixels_at_once)]
        # + 0.5, which the regression takes off, and + 0.5 - cut, for the masks are cut at 0.5.
        mask = (torch.cat(values) + (1 - cut)).clamp_(0, 1).view(1, 1, *size)
        predicted[idx] = F.interpolate(
            mask, size=(height, width), mode="bilinear", align_corners=False
        )[0, 0]
    return predicted


def fourier_features(n_fourier: int, n_rows: int, like: torch.Tensor) -> Fourier:
    """The function [K, 5] -> z, [K, n_fourier], K at most n_rows, of the type of ``like``.

    Always of the same random frequencies. What it returns is overwritten by the next call.
    """
    generator = torch.Generator().manual_seed(0)
    frequencies = torch.randn(5, n_fourier, generator=generator).to(like)
    phases = (2 * math.pi * torch.rand(n_fourier, generator=generator)).to(like)
    room = like.new_empty(n_rows, n_fourier)

    def fourier(pixels: torch.Tensor) -> torch.Tensor:
        return torch.addmm(phases, pixels, frequencies, out=room[: len(pixels)]).cos_()

    return fourier


def descriptors(frame: torch.Tensor, size: tuple[int, int], settings: Appearance) -> torch.Tensor:
    """Lab colour and position of a frame's pixels, in widths of the kernel.

    Args:
        frame: uint8 RGB [3, H, W], on the CPU; it is resized to ``size``, (h, w).

    Returns:
        float32 [h, w, 5]
    """
    height, width = size
    rgb = cv2.resize(frame.permute(1, 2, 0).numpy(), (width, height), interpolation=cv2.INTER_AREA)
    lab = cv2.cvtColor(rgb.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)  # [h, w, 3]
    y, x = np.mgrid[:height, :width] / (settings.position * height)
    scaled = lab / np.array([settings.lightness, settings.colour, settings.colour])
    return torch.from_numpy(np.dstack([scaled, x, y])).float()


def _write_moments(z: torch.Tensor, y: torch.Tensor, moments: _Moments) -> None:
    """Of random features z, [K, n_fourier], and labels y, [K]."""
    torch.mm(z.T, z, out=moments.gram)
    torch.mv(z.T, y, out=moments.objects)
    torch.sum(z, 0, out=moments.features)
    moments.n_objects.copy_(y.sum())
    moments.n_all.fill_(len(y))


def _weighted_sum(weights: torch.Tensor, sums: torch.Tensor) -> torch.Tensor:
    """Over the slots: [R], [R, ...] -> [...]."""
    return (weights @ sums.view(len(weights), -1)).view(sums.shape[1:])


def _fit(sums: _Moments, ridge: float, to_middle: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights [n_fourier] of the regression of y - 0.5, and where to cut what they predict of y.

    Of y - 0.5, for there is no bias: pixels that are like none of those seen get about 0.5.
    """
    # float64: of frames of few colours the Gram matrix is nearly singular.
    gram = sums.gram.double()
    gram.diagonal().add_(ridge)
    moments = (sums.objects - 0.5 * sums.features).double()
    weights = torch.cholesky_solve(moments[:, None], torch.linalg.cholesky(gram))[:, 0]
    weights = weights.to(sums.gram)
    n_background = sums.n_all - sums.n_objects
    half = torch.full_like(sums.n_all, HARD_THRESHOLD)
    if min(sums.n_objects, n_background) < 1:
        return weights, half
    of_objects = sums.objects @ weights / sums.n_objects + 0.5
    of_background = (sums.features - sums.objects) @ weights / n_background + 0.5
    return weights, torch.lerp(half, (of_objects + of_background) / 2, to_middle)
