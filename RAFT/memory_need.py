"""How much memory the optical flow of a video takes, however many frames it has."""

from __future__ import annotations

import math

from RAFT.dis_flow import finest_scale
from RAFT.frame_fitting import STRIDE, fitted_size

_FLOAT = 4  # bytes
# Bytes for each pixel of a frame: of the frames that are decoded, read ahead and in use; and of the
# flow, in both directions, of the pairs that are in use and being written.
_FRAMES, _FLOWS = 30, 70
# Bytes for each pixel of the size at which DIS finds flow: gradients, their products, and the
# unknowns of its refinement.
_DIS = 120
# RAFT's encoders begin with this many channels at half the size. The last number says how many
# maps of that kind are held at a time.
_CHANNELS, _CHANNELS_SMALL, _ENCODER_MAPS = 64, 32, 7
# RAFT's correlation of all cells with all, in both directions: the product, and the same divided by
# a constant. The pyramid has 4/3 the size of one of them, and is built when the product is freed.
_CORRELATIONS = 2 * 2


def dis_bytes(frame_size: tuple[int, int], flow_size: tuple[int, int]) -> int:
    """Bytes at the peak of DIS, beside what the process holds before.

    Args:
        frame_size: (height, width) of the frames, pixels.
        flow_size: the same of the frames that DIS sees, see `shrunk_size`.
    """
    n_pixels = math.prod(flow_size) // 4 ** finest_scale(*flow_size)
    return _around(frame_size) + _DIS * n_pixels


def raft_bytes(
    frame_size: tuple[int, int], flow_size: tuple[int, int], *, small: bool, on_cpu: bool
) -> int:
    """Bytes at the peak of RAFT on its device, beside its weights; sizes as in `dis_bytes`."""
    fitted_height, fitted_width = fitted_size(*flow_size)
    n_pixels = fitted_height * fitted_width
    n_cells = n_pixels // STRIDE**2
    channels = _CHANNELS_SMALL if small else _CHANNELS
    encoder = _ENCODER_MAPS * channels * n_pixels // 4
    around = _around(frame_size) if on_cpu else 0
    return _FLOAT * (_CORRELATIONS * n_cells**2 + encoder) + around


def _around(frame_size: tuple[int, int]) -> int:
    return (_FRAMES + _FLOWS) * math.prod(frame_size)
