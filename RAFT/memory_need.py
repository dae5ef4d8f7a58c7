"""How much memory the optical flow of two frames takes, whatever the number of frames."""

from __future__ import annotations

import math

from RAFT.frame_fitting import STRIDE, fitted_size

_FLOAT = 4
# A pixel of the frames that are read ahead, decoded and in use, and of the flow, both ways, of
# those pairs that are in use and being written.
_FRAMES, _FLOWS = 30, 70
# DIS works at half the size: gradients, their products, and what the refinement solves for.
_DIS = 30
# RAFT's encoders begin with so many channels at half the size; so many of these maps are there at a
# time.
_CHANNELS, _CHANNELS_SMALL, _ENCODER_MAPS = 64, 32, 7
# The correlation of all cells with all, both ways: as it is multiplied, and divided. Its pyramid,
# which is a third more than one, comes when the first is gone.
_CORRELATIONS = 2 * 2


def dis_bytes(frame_size: tuple[int, int], flow_size: tuple[int, int]) -> int:
    """Bytes at the peak of DIS, beside what is held before.

    Args:
        frame_size: (height, width) of the frames, pixels.
        flow_size: that at which flow is found, see `shrunk_size`.
    """
    return _around(frame_size) + _DIS * math.prod(flow_size)


def raft_bytes(
    frame_size: tuple[int, int], flow_size: tuple[int, int], *, small: bool, on_cpu: bool
) -> int:
    """Bytes on its device at the peak of RAFT, beside its weights; sizes as for `dis_bytes`."""
    fitted_height, fitted_width = fitted_size(*flow_size)
    n_pixels = fitted_height * fitted_width
    n_cells = n_pixels // STRIDE**2
    channels = _CHANNELS_SMALL if small else _CHANNELS
    encoder = _ENCODER_MAPS * channels * n_pixels // 4
    around = _around(frame_size) if on_cpu else 0
    return _FLOAT * (_CORRELATIONS * n_cells**2 + encoder) + around


def _around(frame_size: tuple[int, int]) -> int:
    return (_FRAMES + _FLOWS) * math.prod(frame_size)
