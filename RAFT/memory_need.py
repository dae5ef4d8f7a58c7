"""How much memory the optical flow of two frames takes, whatever the number of frames."""

from __future__ import annotations

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


def dis_bytes(height: int, width: int) -> int:
    """Bytes at the peak of DIS on frames of height x width pixels, beside what is held before."""
    return (_FRAMES + _FLOWS + _DIS) * height * width


def raft_bytes(height: int, width: int, *, small: bool, on_cpu: bool) -> int:
    """Bytes on its device at the peak of RAFT, beside its weights.

    Args:
        height, width: of the frames, pixels.
    """
    fitted_height, fitted_width = fitted_size(height, width)
    n_pixels = fitted_height * fitted_width
    n_cells = n_pixels // STRIDE**2
    channels = _CHANNELS_SMALL if small else _CHANNELS
    encoder = _ENCODER_MAPS * channels * n_pixels // 4
    around = (_FRAMES + _FLOWS) * height * width if on_cpu else 0
    return _FLOAT * (_CORRELATIONS * n_cells**2 + encoder) + around
