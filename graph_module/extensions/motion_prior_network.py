"""The network of the motion prior: a small U-Net from the flow of one frame to its soft mask."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn

N_INPUTS = 10  # channels of `motion_prior.network_inputs`
CHANNELS = (24, 48, 96, 128, 160)  # of the levels, from half of the size of the inputs downwards
N_GROUPS = 8  # of the group norm
HEAD_CHANNELS = 16


class MotionPriorNetwork(nn.Module):
    """Encoder and decoder with skip connections; the inputs come in once more before the end."""

    def __init__(self) -> None:
        super().__init__()
        first, last = CHANNELS[0], CHANNELS[-1]
        self.stem = nn.Conv2d(N_INPUTS, first, 5, stride=2, padding=2)
        encoder = [ResidualBlock(first, first)]
        for finer, coarser in pairwise(CHANNELS):
            encoder.append(ResidualBlock(finer, coarser, stride=2))
        self.encoder = nn.ModuleList(encoder)
        self.middle = ResidualBlock(last, last)
        upwards = CHANNELS[::-1]
        self.decoder = nn.ModuleList(
            ResidualBlock(coarser + finer, finer) for coarser, finer in pairwise(upwards)
        )
        self.head = nn.Conv2d(first + N_INPUTS, HEAD_CHANNELS, 3, padding=1)
        self.out = nn.Conv2d(HEAD_CHANNELS, 1, 1)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Inputs of any size, [B, N_INPUTS, H, W] -> logits of the soft mask, [B, H, W]."""
        height, width = inputs.shape[2:]
        multiple = 2 ** len(CHANNELS)
        inputs = F.pad(inputs, (0, -width % multiple, 0, -height % multiple), mode="replicate")
        features = self.stem(inputs)
        skipped = []
        for block in self.encoder:
            features = block(features)
            skipped.append(features)
        features = self.middle(skipped.pop())
        for block in self.decoder:
            finer = skipped.pop()
            features = block(torch.cat([_enlarged(features, finer), finer], dim=1))
        features = torch.cat([_enlarged(features, inputs), inputs], dim=1)
        return self.out(F.silu(self.head(features)))[:, 0, :height, :width]


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with group norm, and a 1x1 convolution beside them."""

    def __init__(self, n_in: int, n_out: int, stride: int = 1) -> None:
        super().__init__()
        self.first = nn.Conv2d(n_in, n_out, 3, stride, padding=1)
        self.first_norm = nn.GroupNorm(N_GROUPS, n_out)
        self.second = nn.Conv2d(n_out, n_out, 3, padding=1)
        self.second_norm = nn.GroupNorm(N_GROUPS, n_out)
        self.shortcut = nn.Conv2d(n_in, n_out, 1, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        residual = F.silu(self.first_norm(self.first(x)))
        return F.silu(self.second_norm(self.second(residual)) + self.shortcut(x))


def _enlarged(features: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    return F.interpolate(features, size=like.shape[2:], mode="bilinear", align_corners=False)
