"""The U-Net (docs/method.md section 4): ResNet-style residual blocks, instance norm everywhere."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn

N_CLASSES = 2  # background, object
_STRIDE = 16  # four 2x2 poolings
_MIN_SIZE = 32  # leaves 2x2 values at the bottom: instance norm cannot take the variance of one


def seeded_unet(base_channels: int, seed: int) -> UNet:
    """A U-Net on the CPU with PyTorch's random weights; the same ``seed`` gives the same weights.

    PyTorch's global random state is neither used nor changed.
    """
    with torch.random.fork_rng(devices=[]):
        # Not torch.manual_seed: it would reseed the GPUs as well, which are not forked here.
        torch.default_generator.manual_seed(seed)
        return UNet(base_channels)


class UNet(nn.Module):
    """Object segmentation of single frames.

    Convs that a norm follows have no bias, because the norm subtracts it again; only the last
    conv has one. That makes 67.4 M parameters at ``base_channels`` 64.

    Args:
        base_channels: channels of the first stage, at least 1; each further stage doubles them,
            so the bottom block has 16 times as many.
    """

    def __init__(self, base_channels: int = 64) -> None:
        super().__init__()
        c = base_channels
        self.stem = nn.Sequential(
            nn.Conv2d(3, c, kernel_size=7, padding=3, bias=False), _norm(c), nn.ReLU()
        )
        self.encoder = nn.ModuleList(
            ResidualBlock(*widths) for widths in pairwise((c, c, 2 * c, 4 * c, 8 * c))
        )
        self.bottom = ResidualBlock(8 * c, 16 * c)
        # From the deepest level to the first, as they are run.
        widths = 8 * c, 4 * c, 2 * c, c
        self.upsampling = nn.ModuleList(_upsampling(2 * width, width) for width in widths)
        self.decoder = nn.ModuleList(ResidualBlock(2 * width, width) for width in widths)
        self.last = nn.Conv2d(c, N_CLASSES, kernel_size=3, padding=1)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """Logits of background (channel 0) and object (channel 1), [n, 2, H, W].

        Any size works: frames are padded inside (replicate) to a multiple of 16 and at least 32,
        and the logits are cut back. ``frames`` are RGB in [0, 1], [n, 3, H, W].
        """
        height, width = frames.shape[-2:]
        top, bottom = _padding(height)
        left, right = _padding(width)
        x = F.pad(frames, (left, right, top, bottom), mode="replicate")

        x = self.stem(x)
        encoder_maps = []
        for block in self.encoder:
            x = block(x)
            encoder_maps.append(x)
            x = F.max_pool2d(x, kernel_size=2)
        x = self.bottom(x)
        for upsampling, block in zip(self.upsampling, self.decoder, strict=True):
            x = block(torch.cat([encoder_maps.pop(), upsampling(x)], dim=1))
        return self.last(x)[..., top : top + height, left : left + width]


def padded_size(size: int) -> int:
    """What the U-Net makes of a side of ``size`` pixels, pixels."""
    return max(_MIN_SIZE, -(-size // _STRIDE) * _STRIDE)


def _padding(size: int) -> tuple[int, int]:
    """Pixels to add before and after: half of the padding each."""
    padding = padded_size(size) - size
    before = padding // 2
    return before, padding - before


class ResidualBlock(nn.Module):
    """Two pairs of 3x3 convs, each pair with its own shortcut: two basic blocks of ResNet-18.

    Unlike ResNet-18 there is no ReLU between the convs of the second pair.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv1 = _conv3x3(in_channels, out_channels)
        self.norm1 = _norm(out_channels)
        self.conv2 = _conv3x3(out_channels, out_channels)
        self.norm2 = _norm(out_channels)
        self.conv3 = _conv3x3(out_channels, out_channels)
        self.norm3 = _norm(out_channels)
        self.conv4 = _conv3x3(out_channels, out_channels)
        self.norm4 = _norm(out_channels)
        self.shortcut = (
            nn.Identity()
            if in_channels == out_channels
            else nn.Sequential(
                nn.Conv2d(in_channels, out_channels, kernel_size=1, bias=False), _norm(out_channels)
            )
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[n, in_channels, h, w] -> [n, out_channels, h, w]"""
        y = F.relu(self.norm1(self.conv1(x)))
        y = self.norm2(self.conv2(y))
        first = F.relu(y + self.shortcut(x))
        y = self.norm3(self.conv3(first))
        y = self.norm4(self.conv4(y))
        return F.relu(y + first)


def _upsampling(in_channels: int, out_channels: int) -> nn.Sequential:
    """A 3x3 stride-2 transposed conv + norm: twice the size."""
    return nn.Sequential(
        nn.ConvTranspose2d(
            in_channels, out_channels, 3, stride=2, padding=1, output_padding=1, bias=False
        ),
        _norm(out_channels),
    )


def _conv3x3(in_channels: int, out_channels: int) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1, bias=False)


def _norm(channels: int) -> nn.InstanceNorm2d:
    return nn.InstanceNorm2d(channels, affine=True)
