"""The soft masks that colour and position alone explain; not in the paper.

Ridge regression of the masks, cut at 0.5 as the network's pseudo-labels are, on random Fourier
features (Rahimi and Recht, "Random Features for Large-Scale Kernel Machines", NIPS 2007), the
Gaussian kernel of a pixel's colour and position. A frame's weights are learnt from the frames
around it, so that what one of them has missed, or has too much of, is judged by the others.
"""

from __future__ import annotations

import math
from collections import deque

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from tqdm import tqdm

HALF_WINDOW = 8  # frames to each side that a frame's weights are learnt from
N_FOURIER = 600  # random features
# Widths of the Gaussian kernel: Lab's lightness, its two colour axes, position in frame heights.
LIGHTNESS, COLOUR, POSITION = 20.0, 10.0, 0.3
RIDGE = 1.0
_HARD_THRESHOLD = 0.5
_SHRINK = 2  # masks and frames are looked at in half their size
_SAMPLE_STEP = 2  # a fit looks at every second pixel of every second row of these


def appearance_masks(
    video: torch.Tensor, masks: torch.Tensor, *, half_window: int = HALF_WINDOW
) -> torch.Tensor:
    """Predict each frame's mask from its colours and positions.

    Args:
        video: uint8 RGB [n, 3, H, W], on the CPU.
        masks: [n, H, W] in [0, 1].

    Returns:
        [n, H, W] in [0, 1], on the device of ``masks``.
    """
    n_frames, height, width = masks.shape
    size = max(height // _SHRINK, 1), max(width // _SHRINK, 1)
    labels = (masks >= _HARD_THRESHOLD).to(masks.dtype)
    labels = F.interpolate(labels[:, None], size=size, mode="area")[:, 0]  # [n, h, w]
    generator = torch.Generator().manual_seed(0)
    frequencies = torch.randn(5, N_FOURIER, generator=generator).to(masks)
    phases = (2 * math.pi * torch.rand(N_FOURIER, generator=generator)).to(masks)

    grid = torch.arange(size[0] * size[1], device=masks.device).view(size)
    sample = grid[_SAMPLE_STEP // 2 :: _SAMPLE_STEP, _SAMPLE_STEP // 2 :: _SAMPLE_STEP].flatten()

    def fourier(idx: int, pixels: torch.Tensor) -> torch.Tensor:
        """z of some pixels of a frame, [K, N_FOURIER]."""
        descriptors = _descriptors(video[idx], size).to(masks)[pixels]
        return torch.addmm(phases, descriptors, frequencies).cos_()

    def moments(idx: int) -> tuple[torch.Tensor, torch.Tensor]:
        z = fourier(idx, sample)
        # Half of the range is taken off: without a bias, 0 is what nothing speaks for.
        return z.T @ z, z.T @ (labels[idx].flatten()[sample, None] - 0.5)

    window: deque[tuple[torch.Tensor, torch.Tensor]] = deque()
    ridge = RIDGE * torch.eye(N_FOURIER).to(masks)
    predicted = torch.empty_like(masks)
    n_read = 0
    for idx in tqdm(range(n_frames), "appearance", unit="frame"):
        while n_read < min(idx + half_window + 1, n_frames):
            window.append(moments(n_read))
            n_read += 1
        if idx > half_window:
            window.popleft()
        gram, moment = (torch.stack(terms).sum(0) for terms in zip(*window, strict=True))
        weights = torch.linalg.solve(gram + ridge, moment)  # [N_FOURIER, 1]
        mask = (fourier(idx, grid.flatten()) @ weights + 0.5).clamp_(0, 1).view(1, 1, *size)
        predicted[idx] = F.interpolate(
            mask, size=(height, width), mode="bilinear", align_corners=False
        )[0, 0]
    return predicted


def _descriptors(frame: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """[h w, 5] of a frame: Lab colour and position, in widths of the kernel."""
    height, width = size
    rgb = cv2.resize(frame.permute(1, 2, 0).numpy(), (width, height), interpolation=cv2.INTER_AREA)
    lab = cv2.cvtColor(rgb.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)  # [h, w, 3]
    y, x = np.mgrid[:height, :width] / (POSITION * height)
    scaled = lab / np.array([LIGHTNESS, COLOUR, COLOUR])
    return torch.from_numpy(np.dstack([scaled, x, y]).reshape(-1, 5)).float()
