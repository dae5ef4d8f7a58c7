"""Room for node features that do not fit on the device."""

from __future__ import annotations

import math
import os
import tempfile
from pathlib import Path

import numpy as np
import torch


def offloaded(folder: Path, shape: tuple[int, ...], device: torch.device) -> torch.Tensor:
    """int16 of ``shape``: in the CPU's memory for a GPU, in a file in ``folder`` for a CPU.

    Raises:
        OSError: the disk has no room for it.
    """
    if device.type == "cuda":
        return torch.empty(shape, dtype=torch.int16)
    # A file without a name: it is gone when the process ends, however it ends.
    with tempfile.TemporaryFile(dir=folder) as file:
        # Taken now: a disk that fills up later would kill the process without a message.
        if hasattr(os, "posix_fallocate"):  # not on macOS
            os.posix_fallocate(file.fileno(), 0, 2 * math.prod(shape))
        else:
            file.truncate(2 * math.prod(shape))
        return torch.from_numpy(np.memmap(file, np.int16, "r+", shape=shape))
