"""The soft masks that colour and position alone explain; not in the paper.

Ridge regression of hard labels y, the masks cut at 0.5 as the network's pseudo-labels are, on
random Fourier features z = cos(W d + phases) (Rahimi and Recht, "Random Features for Large-Scale
Kernel Machines", NIPS 2007) of a pixel's colour and position d: the kernel of z is Gaussian.

    w = (sum g z z^T + ridge I)^-1 sum g z (y - 0.5)
    mask = w . z + 0.5, moved so that it is 0.5 where it is cut

The sums run over the frames around a frame, weighed by a Gaussian g over time, so that what one of
them has missed, or has too much of, is judged by the others; and by how far the masks of each of
them can be trusted. Frames whose masks cannot be trusted at all are passed over, and time stands
still for them: where an object pauses and flow shows nothing, what it looked like before and after
is what counts, however long it pauses.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from tqdm import tqdm

from graph_module.temporal_weights import temporal_weight
from ike_data.soft_masks import HARD_THRESHOLD

SIGMA = 4.0  # of the temporal Gaussian that weighs the frames that weights are learnt from, frames
REACH = 16  # where it ends, frames to each side
N_FOURIER = 1000  # random features
# Widths of the Gaussian kernel: Lab's lightness, its two colour axes, position in frame heights.
LIGHTNESS, COLOUR, POSITION = 20.0, 10.0, 0.3
RIDGE = 1.0
PIXELS_AT_ONCE = 1 << 14
LEAST_TRUST = 0.01  # of the most trusted frame's: frames of less are passed over
_N_SAMPLED = 6000  # pixels of a frame that a fit looks at, about
# Least squares cut at 0.5 favours the larger class, the background; the middle between the means
# of both classes (Fisher's discriminant) favours none, and gives halos. This is the way to it.
_TO_MIDDLE = 0.5


class _Moments(NamedTuple):
    """Sums over the sampled pixels of a frame, z their random features and y their labels."""

    gram: torch.Tensor  # of z z^T, [N_FOURIER, N_FOURIER]
    objects: torch.Tensor  # of z y, [N_FOURIER]
    features: torch.Tensor  # of z, [N_FOURIER]
    n_objects: torch.Tensor  # of y, []
    n_all: torch.Tensor  # of 1, []


class _Window:
    """The moments of the frames around a frame, each read once, in a ring of slots.

    One tensor for each sum, with the slots as its first dimension: small tensors that stay, among
    large ones that come and go, would leave the allocator with holes as large as these.
    """

    def __init__(
        self, n_slots: int, like: torch.Tensor, read: Callable[[int, _Moments], None]
    ) -> None:
        """``read`` writes the moments of the frame at a place; ``like``: of their type."""
        shapes = (N_FOURIER, N_FOURIER), (N_FOURIER,), (N_FOURIER,), (), ()
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
    *,
    shrink: int = 1,
    trust: torch.Tensor | None = None,
    sigma: float = SIGMA,
    reach: int = REACH,
) -> torch.Tensor:
    """Predict each frame's mask from its colours and positions.

    Args:
        video: uint8 RGB [n, 3, H, W], on the CPU.
        masks: [n, H, W] in [0, 1].
        shrink: masks and frames are looked at in their size divided by this, for speed; at least 1.
        trust: how much the masks of a frame count beside those of the others, [n], at least 0, on
            the device of ``masks``; only ratios matter. None, or 0 for all frames: all alike.
        sigma, reach: of the temporal Gaussian, frames that are not passed over; reach at least 1.

    Returns:
        [n, H, W] in [0, 1], on the device of ``masks``.
    """
    n_frames, height, width = masks.shape
    if trust is None or not trust.any():
        trust = masks.new_ones(n_frames)
    size = max(height // shrink, 1), max(width // shrink, 1)
    generator = torch.Generator().manual_seed(0)
    frequencies = torch.randn(5, N_FOURIER, generator=generator).to(masks)
    phases = (2 * math.pi * torch.rand(N_FOURIER, generator=generator)).to(masks)
    step = min(max(round(math.sqrt(size[0] * size[1] / _N_SAMPLED)), 1), *size)
    sampled = slice(step // 2, None, step)

    n_sampled = len(range(size[0])[sampled]) * len(range(size[1])[sampled])
    n_rows = max(min(size[0] * size[1], PIXELS_AT_ONCE), n_sampled)
    room = masks.new_empty(n_rows, N_FOURIER)

    def fourier(descriptors: torch.Tensor) -> torch.Tensor:
        """[K, 5] -> z, [K, N_FOURIER], until it is called again."""
        return torch.addmm(phases, descriptors, frequencies, out=room[: len(descriptors)]).cos_()

    # Frames to learn from, in their order, and where each frame stands among them: one that is
    # passed over, half way between two.
    teaches = trust >= LEAST_TRUST * trust.max()
    teachers, trust = teaches.nonzero()[:, 0].tolist(), trust[teaches]
    places = (teaches.cumsum(0) - torch.where(teaches, 1.0, 0.5)).tolist()

    def read(place: int, moments: _Moments) -> None:
        idx = teachers[place]
        z = fourier(_descriptors(video[idx], size)[sampled, sampled].flatten(0, 1).to(masks))
        label = (masks[idx] >= HARD_THRESHOLD).to(masks.dtype)
        label = F.interpolate(label[None, None], size=size, mode="area")[0, 0]  # [h, w]
        y = label[sampled, sampled].flatten()
        torch.mm(z.T, z, out=moments.gram)
        torch.mv(z.T, y, out=moments.objects)
        torch.sum(z, 0, out=moments.features)
        moments.n_objects.copy_(y.sum())
        moments.n_all.fill_(len(y))

    window = _Window(min(2 * reach + 1, len(teachers)), masks, read)
    predicted = torch.empty_like(masks)
    for idx, place in enumerate(tqdm(places, "appearance", unit="frame")):
        first = max(math.ceil(place - reach), 0)
        end = min(math.floor(place + reach) + 1, len(teachers))
        temporal_weights = masks.new_tensor(
            [temporal_weight(other - place, sigma) for other in range(first, end)]
        )
        trusted = temporal_weights * trust[first:end]
        # In all as much as without it, for RIDGE does not change either.
        trusted *= temporal_weights.sum() / trusted.sum()
        weights, cut = _fit(window.weighted(first, trusted))
        descriptors = _descriptors(video[idx], size).flatten(0, 1).to(masks)  # [h w, 5]
        values = [fourier(some) @ weights for some in descriptors.split(PIXELS_AT_ONCE)]
        # Half of the range was taken off: without a bias, 0 is what nothing speaks for.
        mask = (torch.cat(values) + (1 - cut)).clamp_(0, 1).view(1, 1, *size)
        predicted[idx] = F.interpolate(
            mask, size=(height, width), mode="bilinear", align_corners=False
        )[0, 0]
    return predicted


def _weighted_sum(weights: torch.Tensor, sums: torch.Tensor) -> torch.Tensor:
    """Over the slots: [R], [R, ...] -> [...]."""
    return (weights @ sums.view(len(weights), -1)).view(sums.shape[1:])


def _fit(sums: _Moments) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights [N_FOURIER] of the regression of y - 0.5, and where to cut what they predict of y."""
    # float64: of frames of few colours the Gram matrix is nearly singular.
    gram = sums.gram.double()
    gram.diagonal().add_(RIDGE)
    moments = (sums.objects - 0.5 * sums.features).double()
    weights = torch.cholesky_solve(moments[:, None], torch.linalg.cholesky(gram))[:, 0]
    weights = weights.to(sums.gram)
    n_background = sums.n_all - sums.n_objects
    half = torch.full_like(sums.n_all, HARD_THRESHOLD)
    if min(sums.n_objects, n_background) < 1:
        return weights, half
    of_objects = sums.objects @ weights / sums.n_objects + 0.5
    of_background = (sums.features - sums.objects) @ weights / n_background + 0.5
    return weights, torch.lerp(half, (of_objects + of_background) / 2, _TO_MIDDLE)


def _descriptors(frame: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """[h, w, 5] of a frame: Lab colour and position, in widths of the kernel."""
    height, width = size
    rgb = cv2.resize(frame.permute(1, 2, 0).numpy(), (width, height), interpolation=cv2.INTER_AREA)
    lab = cv2.cvtColor(rgb.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)  # [h, w, 3]
    y, x = np.mgrid[:height, :width] / (POSITION * height)
    scaled = lab / np.array([LIGHTNESS, COLOUR, COLOUR])
    return torch.from_numpy(np.dstack([scaled, x, y])).float()
