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
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F

from graph_module.progress import Progress, silent
from ike_data.parameters import Parameters, parameter
from ike_data.runtime.cores import do_on_cores, frame_blocks, frames_at_once, frames_together
from ike_data.soft_masks import HARD_THRESHOLD

# Pixels whose features a core has in memory at a time: they fit its cache. Frames that are shared
# among the cores, or worked on by a GPU: their moments are in memory, with those of their windows.
# No settings: masks differ by rounding alone.
PIXELS_AT_ONCE, FRAMES_AT_ONCE = 1024, 32


@dataclass(frozen=True)
class Appearance(Parameters):
    """The window in time, the kernel, and the regression."""

    sigma: float = parameter(4.0, low=0.1)  # of the Gaussian over time, frames
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
    least_reliability: float = parameter(0.01, low_excluded=True, high=1)
    # Least squares cut at 0.5 favours the larger class, the background. The middle between the
    # means of both classes (Fisher's discriminant) favours none, and gives halos. This is how far
    # the cut is moved from 0.5 to that middle.
    to_middle: float = parameter(0.5, high=1)


class Fourier(NamedTuple):
    """Random features of descriptors [..., 5]; without sqrt(2 / D): see `_fit`."""

    frequencies: torch.Tensor  # [5, D]
    phases: torch.Tensor  # [D]

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        """cos(W d + phases), [..., D]."""
        values = torch.addmm(self.phases, pixels.reshape(-1, 5), self.frequencies).cos_()
        return values.view(*pixels.shape[:-1], -1)


class _Teachers(NamedTuple):
    """The frames to learn from, in their order."""

    frames: list[int]
    reliability: torch.Tensor  # of each of them
    # Where each frame of the video stands among them: one that is skipped, half way between two.
    places: list[float]

    def window(self, frames: range, reach: int) -> range:
        """The places of those around ``frames``, up to ``reach`` of them to each side."""
        start = max(math.ceil(self.places[frames[0]] - reach), 0)
        stop = min(math.floor(self.places[frames[-1]] + reach) + 1, len(self.frames))
        return range(start, stop)

    def counts(self, frames: range, settings: Appearance) -> torch.Tensor:
        """The weights g of those in the window of ``frames``, [m, T]."""
        window = self.window(frames, settings.reach)
        own = self.reliability.new_tensor(self.places[frames.start : frames.stop])
        distances = torch.arange(window.start, window.stop).to(own) - own[:, None]
        temporal = torch.exp(-((distances / settings.sigma) ** 2) / 2)
        temporal *= distances.abs() <= settings.reach
        counts = temporal * self.reliability[window.start : window.stop]
        # The same sum as without reliability, so that the ridge weighs the same.
        return counts * (temporal.sum(1) / counts.sum(1))[:, None]


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
    ring = _empty_moments(n_slots, settings.n_fourier, masks)

    def learn(places: range) -> None:
        idx = teachers.frames[places.start : places.stop]
        slots = torch.arange(places.start, places.stop, device=device) % n_slots
        of_frames = _moments_of(video[idx], masks[idx], fourier, settings)
        for sums, some in zip(ring, of_frames, strict=True):
            sums.index_copy_(0, slots, some)

    def predict(frames: range) -> None:
        counts = teachers.counts(frames, settings)  # [m, T]
        first_slot = teachers.window(frames, settings.reach).start % n_slots
        counts = F.pad(counts, (0, n_slots - counts.shape[1])).roll(first_slot, dims=1)
        sums = _Moments(*(_weighted_sums(counts, some) for some in ring))
        some = slice(frames.start, frames.stop)
        predicted[some] = _predict(video[some], sums, fourier, settings).view_as(masks[some])

    def predicted_frames() -> Iterator[int]:
        n_learnt = 0
        for start in range(0, n_frames, FRAMES_AT_ONCE):
            some = range(start, min(start + FRAMES_AT_ONCE, n_frames))
            to_learn = range(n_learnt, teachers.window(some, settings.reach).stop)
            _for_blocks(learn, to_learn, settings.n_sampled, settings.n_fourier, device)
            n_learnt = to_learn.stop
            _for_blocks(predict, some, masks[0].numel(), settings.n_fourier, device)
            yield from some

    predicted = torch.empty_like(masks)
    for _ in progress(predicted_frames(), desc="appearance", total=n_frames, unit="frame"):
        pass
    return predicted


def _for_blocks(
    function: Callable[[range], None],
    frames: range,
    n_pixels: int,
    n_fourier: int,
    device: torch.device,
) -> None:
    """Call it for blocks of ``frames``, whose features and Gram matrices are in memory."""
    frame_bytes = 4 * n_fourier * n_pixels + 24 * n_fourier**2
    blocks = (frames[b.start : b.stop] for b in frame_blocks(len(frames), frame_bytes, device))
    do_on_cores(function, blocks, device)


def fourier_features(n_fourier: int, like: torch.Tensor) -> Fourier:
    """Always the same random frequencies, of the type of ``like``."""
    generator = torch.Generator().manual_seed(0)
    frequencies = torch.randn(5, n_fourier, generator=generator)
    phases = 2 * math.pi * torch.rand(n_fourier, generator=generator)
    return Fourier(frequencies.to(like), phases.to(like))


def descriptors(frames: torch.Tensor, settings: Appearance) -> torch.Tensor:
    """Lab colour and position of each pixel, in widths of the kernel.

    uint8 RGB [m, 3, H, W], on the CPU -> float32 [m, H, W, 5]
    """
    m, _, height, width = frames.shape
    rgb = np.ascontiguousarray(frames.permute(0, 2, 3, 1).numpy(), np.float32) / 255
    lab = cv2.cvtColor(rgb.reshape(-1, width, 3), cv2.COLOR_RGB2LAB).reshape(rgb.shape)
    scaled = np.empty((m, height, width, 5), np.float32)
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


def _empty_moments(n_frames: int, n_fourier: int, like: torch.Tensor) -> _Moments:
    shapes = (n_fourier, n_fourier), (n_fourier,), (n_fourier,), (), ()
    return _Moments(*(like.new_zeros(n_frames, *shape) for shape in shapes))


def _moments_of(
    frames: torch.Tensor, masks: torch.Tensor, fourier: Fourier, settings: Appearance
) -> _Moments:
    """Those of m frames, uint8 [m, 3, H, W], and their masks [m, H, W]."""
    m, height, width = masks.shape
    step = round(math.sqrt(height * width / settings.n_sampled))
    step = min(max(step, 1), height, width)
    sampled = slice(step // 2, None, step)
    pixels = descriptors(frames, settings)[:, sampled, sampled].flatten(1, 2).to(masks)  # [m, K, 5]
    hard = masks[:, sampled, sampled] >= HARD_THRESHOLD
    labels = hard.to(masks.dtype).flatten(1)[..., None]  # [m, K, 1]
    moments = _empty_moments(m, settings.n_fourier, masks)
    for some, y in zip(_pieces(pixels, fourier), _pieces(labels, fourier), strict=True):
        c = fourier(some)  # [m, k, D]
        moments.gram.baddbmm_(c.mT, c)
        moments.objects.unsqueeze(-1).baddbmm_(c.mT, y)
        moments.features.add_(c.sum(1))
    moments.n_objects.copy_(labels.sum((1, 2)))
    moments.n_all.fill_(labels.shape[1])
    return moments


def _pieces(pixels: torch.Tensor, fourier: Fourier) -> tuple[torch.Tensor, ...]:
    """Parts of [m, K, ...] whose features are in memory at a time."""
    n_pixels, device = PIXELS_AT_ONCE, fourier.phases.device
    if frames_together(device):
        n_pixels = frames_at_once(4 * len(pixels) * len(fourier.phases), device)
    return pixels.split(n_pixels, dim=1)


def _weighted_sums(counts: torch.Tensor, sums: torch.Tensor) -> torch.Tensor:
    """Over T frames, for each of m: [m, T], [T, ...] -> [m, ...]."""
    return (counts @ sums.view(len(sums), -1)).view(-1, *sums.shape[1:])


def _predict(
    frames: torch.Tensor, sums: _Moments, fourier: Fourier, settings: Appearance
) -> torch.Tensor:
    """The masks [m, H W] of frames [m, 3, H, W], from the moments of their windows."""
    weights, cut = _fit(sums, settings.ridge, settings.to_middle)
    pixels = descriptors(frames, settings).flatten(1, 2).to(weights)  # [m, H W, 5]
    values = [fourier(some) @ weights[..., None] for some in _pieces(pixels, fourier)]
    # + 0.5, which the regression takes off, and + 0.5 - cut, for the masks are cut at 0.5.
    return (torch.cat(values, dim=1)[..., 0] + (1 - cut)[:, None]).clamp_(0, 1)


def _fit(sums: _Moments, ridge: float, to_middle: float) -> tuple[torch.Tensor, torch.Tensor]:
    """For m windows: weights [m, D] of the regression of y - 0.5 on c, and the threshold of y, [m].

    Of y - 0.5, for there is no bias: pixels that are like none of those seen get about 0.5.
    """
    # float64: of frames of few colours the Gram matrix is nearly singular.
    gram = sums.gram.double()
    # Of z = sqrt(2 / D) c the Gram matrix is 2 / D times this one.
    gram.diagonal(dim1=1, dim2=2).add_(ridge * gram.shape[1] / 2)
    moments = (sums.objects - 0.5 * sums.features).double()
    weights = torch.cholesky_solve(moments[..., None], torch.linalg.cholesky(gram))[..., 0]
    weights = weights.to(sums.gram)
    n_background = sums.n_all - sums.n_objects
    of_objects = _dot(sums.objects, weights) / sums.n_objects + 0.5
    of_background = _dot(sums.features - sums.objects, weights) / n_background + 0.5
    half = torch.full_like(sums.n_all, HARD_THRESHOLD)
    cut = torch.lerp(half, (of_objects + of_background) / 2, to_middle)
    return weights, torch.where(torch.minimum(sums.n_objects, n_background) < 1, half, cut)


def _dot(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Of each row, [m, D] twice -> [m]."""
    if len(a) == 1:  # on a CPU
        return torch.dot(a[0], b[0])[None]
    return (a * b).sum(1)
