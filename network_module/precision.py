"""bf16 (bfloat16) for the U-Net's convolutions, where the processor calculates with it."""

from __future__ import annotations

import platform
from contextlib import AbstractContextManager
from pathlib import Path

import torch

_CPU_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}  # the last one is ARM's
_CPU_INFO = Path("/proc/cpuinfo")


def use_bf16(mixed_precision: str, device: torch.device) -> bool:
    """Whether to calculate in bf16: ``yes``, ``no``, or ``auto``: where it is fast."""
    if mixed_precision != "auto":
        return mixed_precision == "yes"
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return _cpu_has_bf16()


def _cpu_has_bf16() -> bool:
    """Whether the processor has bf16 instructions; False where that cannot be told.

    PyTorch runs bf16 on any processor, but on others it is slower than float32.
    """
    if platform.system() == "Darwin" or not _CPU_INFO.exists():
        return False
    for line in _CPU_INFO.read_text().splitlines():
        name, _, flags = line.partition(":")
        if name.strip() in ("flags", "Features"):
            return not _CPU_FLAGS.isdisjoint(flags.split())
    return False


def convolution_settings(*, deterministic: bool) -> AbstractContextManager[None]:
    """cuDNN uses float32, not TensorFloat32.

    Unless ``deterministic``, it may use its fastest kernels, which may add up in random order.
    """
    return torch.backends.cudnn.flags(
        enabled=True, benchmark=not deterministic, deterministic=deterministic, allow_tf32=False
    )


def logits_of(network: torch.nn.Module, frames: torch.Tensor, *, bf16: bool) -> torch.Tensor:
    """float32 logits of ``frames``, [b, 2, H, W]; with ``bf16`` the convolutions are in bf16."""
    # No cache of the weights in bf16: all threads would share it, and the graph behind it.
    precision = torch.autocast(
        frames.device.type, dtype=torch.bfloat16, enabled=bf16, cache_enabled=False
    )
    with precision:
        logits: torch.Tensor = network(frames)
    return logits.float()
