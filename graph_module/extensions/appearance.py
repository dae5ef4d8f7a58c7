"""Appearance: the soft masks that colour and position alone explain.

Ridge regression of hard labels y, the masks cut at 0.5 as the network's pseudo-labels are, on D
random Fourier features z = sqrt(2 / D) cos(W d + phases) (Rahimi and Recht, "Random Features for
Large-Scale Kernel Machines", NIPS 2007) of a pixel's colour and position d: the kernel of z is
Gaussian.

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
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
import torch

from graph_module.link_weights import temporal_gaussian
from graph_module.progress import Progress, silent
from ike_data.parameters import check_ranges, parameter
from ike_data.runtime.cores import map_on_cores
from ike_data.soft_masks import HARD_THRESHOLD

# Pixels whose features a core has in memory at a time: they fit its cache. Frames that are shared
# among the cores: their moments are in memory, with those of their windows. No settings: masks
# differ by rounding alone.
PIXELS_AT_ONCE, FRAMES_AT_ONCE = 1024, 32


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
    n_fourier: int = parameter(500, low=1)  # random features, D; 256 lose boundaries
    ridge: float = parameter(0.002, low_excluded=True)  # beside a kernel of 1 for equal pixels
    n_sampled: int = parameter(2600, low=1)  # pixels of a frame that a fit looks at, about
    # Frames of less than this share of the most reliable frame's reliability are skipped.
    least_reliability: float = parameter(0.01, high=1)
    # Least squares cut at 0.5 favours the larger class, the background. The middle between the
    # means of both classes (Fisher's discriminant) favours none, and gives halos. This is how far
    # the cut is moved from 0.5 to that middle.
    to_middle: float = parameter(0.5, high=1)

    def __post_init__(self) -> None:
        check_ranges(self)


class Fourier(NamedTuple):
    """Random features of descriptors [K, 5]; their length is left out: see `_fit`."""

    frequencies: torch.Tensor  # [5, D]
    phases: torch.Tensor  # [D]

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        """cos(W d + phases), [K, D]."""
        return torch.addmm(self.phases, pixels, self.frequencies).cos_()


class _Teachers(NamedTuple):
    """The frames to learn from, in their order."""

    frames: list[int]
    reliability: torch.Tensor  # of each of them
    # Where each frame of the video stands among them: one that is skipped, half way between two.
    places: list[float]

    def window(self, idx: int, reach: int) -> range:
        """The places of those around frame ``idx``, up to ``reach`` of them to each side."""
        first = max(math.ceil(self.places[idx] - reach), 0)
        return range(first, min(math.floor(self.places[idx] + reach) + 1, len(self.frames)))


class _Moments(NamedTuple):
    """Sums over the sampled pixels of each of m frames, c their features and y their labels."""

    gram: torch.Tensor  # of c c^T, [m, D, D]
    objects: torch.Tensor  # of c y, [m, D]
    features: torch.Tensor  # of c, [m, D]
    n_objects: torch.Tensor  # of y, [m]
    n_all: torch.Tensor  # of 1, [m]


def appearance_masks(
    video: torch.Tensor,
    masks: torch.Tensor,
    settings: Appearance | None = None,
    *,
    reliability: torch.Tensor | None = None,
    progress: Progress = silent,
) -> torch.Tensor:
    """Predict each frame's mask from its colours and positions.

    Args:
        video: uint8 RGB [n, 3, H, W], on the CPU.
        masks: [n, H, W] in [0, 1].
        reliability: how much the masks of a frame count beside those of the others, [n], at least
            0, on the device of ``masks``; only ratios matter. None, or 0 for all frames: all alike.

    Returns:
        [n, H, W] in [0, 1], on the device of ``masks``.
    """
    settings = settings or Appearance()
    n_frames, device = len(masks), masks.device
    if reliability is None or not reliability.any():
        reliability = masks.new_ones(n_frames)
    fourier = fourier_features(settings.n_fourier, masks)
    teachers = _teachers(reliability, settings.least_reliability)
    # A ring: a frame's moments are where those of a frame were that no window reaches any more.
    n_slots = min(FRAMES_AT_ONCE + 2 * settings.reach, len(teachers.frames))
    moments = _empty_moments(n_slots, settings.n_fourier, masks)

    def learn(place: int) -> None:
        idx = teachers.frames[place]
        of_frame = _Moments(*(sums[place % n_slots] for sums in moments))
        _write_moments(video[idx], masks[idx], fourier, settings, of_frame)

    def predict(idx: int) -> torch.Tensor:
        window = teachers.window(idx, settings.reach)
        counts = masks.new_zeros(n_slots)
        counts[torch.tensor(window, device=device) % n_slots] = _counts(
            teachers, idx, window, settings.sigma
        )
        sums = _Moments(*(_weighted_sum(counts, some) for some in moments))
        weights, cut = _fit(sums, settings.ridge, settings.to_middle)
        pixels = descriptors(video[idx], settings).flatten(0, 1).to(masks)  # [H W, 5]
        values = [fourier(some) @ weights for some in pixels.split(PIXELS_AT_ONCE)]
        # + 0.5, which the regression takes off, and + 0.5 - cut, for the masks are cut at 0.5.
        return (torch.cat(values) + (1 - cut)).clamp_(0, 1).view_as(masks[idx])

    def masks_in_order() -> Iterator[torch.Tensor]:
        n_learnt = 0
        for start in range(0, n_frames, FRAMES_AT_ONCE):
            some = range(start, min(start + FRAMES_AT_ONCE, n_frames))
            to_learn = range(n_learnt, teachers.window(some[-1], settings.reach).stop)
            for _done in map_on_cores(learn, to_learn, device):
                pass
            n_learnt = to_learn.stop
            yield from map_on_cores(predict, some, device)

    predicted = torch.empty_like(masks)
    bar = progress(masks_in_order(), desc="appearance", total=n_frames, unit="frame")
    for idx, mask in enumerate(bar):
        predicted[idx] = mask
    return predicted


def fourier_features(n_fourier: int, like: torch.Tensor) -> Fourier:
    """Always the same random frequencies, of the type of ``like``."""
    generator = torch.Generator().manual_seed(0)
    frequencies = torch.randn(5, n_fourier, generator=generator)
    phases = 2 * math.pi * torch.rand(n_fourier, generator=generator)
    return Fourier(frequencies.to(like), phases.to(like))


def descriptors(frame: torch.Tensor, settings: Appearance) -> torch.Tensor:
    """Lab colour and position of a frame's pixels, in widths of the kernel.

    Args:
        frame: uint8 RGB [3, H, W], on the CPU.

    Returns:
        float32 [H, W, 5]
    """
    height, width = frame.shape[1:]
    rgb = np.ascontiguousarray(frame.permute(1, 2, 0).numpy(), np.float32) / 255
    lab = cv2.cvtColor(rgb, cv2.COLOR_RGB2LAB)  # [H, W, 3]
    scaled = np.empty((height, width, 5), np.float32)
    widths = np.array([settings.lightness, settings.colour, settings.colour], np.float32)
    scaled[..., :3] = np.asarray(lab, np.float32) / widths
    scaled[..., 3] = np.arange(width) / (settings.position * height)
    scaled[..., 4] = np.arange(height)[:, None] / (settings.position * height)
    return torch.from_numpy(scaled)


def _teachers(reliability: torch.Tensor, least: float) -> _Teachers:
    """All but those of less than the share ``least`` of the largest reliability, [n]."""
    teaches = reliability >= least * reliability.max()
    places = teaches.cumsum(0) - torch.where(teaches, 1.0, 0.5)
    return _Teachers(teaches.nonzero()[:, 0].tolist(), reliability[teaches], places.tolist())


def _counts(teachers: _Teachers, idx: int, window: range, sigma: float) -> torch.Tensor:
    """The weights g of the frames of a window around frame ``idx``, [m]."""
    distances = [other - teachers.places[idx] for other in window]
    temporal = teachers.reliability.new_tensor([temporal_gaussian(k, sigma) for k in distances])
    counts = temporal * teachers.reliability[window.start : window.stop]
    # In all as much as without reliability, for the ridge does not change either.
    return counts * (temporal.sum() / counts.sum())


def _empty_moments(n_frames: int, n_fourier: int, like: torch.Tensor) -> _Moments:
    shapes = (n_fourier, n_fourier), (n_fourier,), (n_fourier,), (), ()
    return _Moments(*(like.new_zeros(n_frames, *shape) for shape in shapes))


def _write_moments(
    frame: torch.Tensor,
    mask: torch.Tensor,
    fourier: Fourier,
    settings: Appearance,
    moments: _Moments,
) -> None:
    """Those of a frame, uint8 [3, H, W], and its mask [H, W]."""
    for sums in moments:
        sums.zero_()
    height, width = mask.shape
    step = round(math.sqrt(height * width / settings.n_sampled))
    step = min(max(step, 1), height, width)
    sampled = slice(step // 2, None, step)
    pixels = descriptors(frame, settings)[sampled, sampled].flatten(0, 1).to(mask)  # [K, 5]
    labels = (mask[sampled, sampled] >= HARD_THRESHOLD).to(mask.dtype).flatten()  # [K]
    for some, y in zip(pixels.split(PIXELS_AT_ONCE), labels.split(PIXELS_AT_ONCE), strict=True):
        c = fourier(some)
        moments.gram.addmm_(c.T, c)
        moments.objects.addmv_(c.T, y)
        moments.features.add_(c.sum(0))
    moments.n_objects.copy_(labels.sum())
    moments.n_all.fill_(len(labels))


def _weighted_sum(weights: torch.Tensor, sums: torch.Tensor) -> torch.Tensor:
    """Over the frames: [m], [m, ...] -> [...]."""
    return (weights @ sums.view(len(weights), -1)).view(sums.shape[1:])


def _fit(sums: _Moments, ridge: float, to_middle: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights [D] of the regression of y - 0.5 on c, and where to cut what they predict of y.

    Of y - 0.5, for there is no bias: pixels that are like none of those seen get about 0.5.
    """
    # float64: of frames of few colours the Gram matrix is nearly singular.
    gram = sums.gram.double()
    # Of z = sqrt(2 / D) c the Gram matrix is 2 / D times this one.
    gram.diagonal().add_(ridge * len(gram) / 2)
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
