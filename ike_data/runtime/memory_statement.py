"""What a command says at its start of the memory that it will need."""

from __future__ import annotations

import torch

from ike_data.runtime.errors import warn
from ike_data.runtime.free_memory import free_memory, held_memory

GB = 10**9
# What the libraries' own code takes when it is used, their threads, and loops and convolutions that
# are compiled: 35 to 80 MB were measured.
_LIBRARIES = 80 * 10**6


def state_memory(device: torch.device, n_bytes: int, remedy: str, *notes: str) -> None:
    """Print what will be needed and what there is, and a warning where that is less.

    On a CPU both count what this process holds already: the first is then its peak.

    Args:
        n_bytes: needed on ``device`` beside what the process holds now.
        remedy: what to change where that does not fit.
        notes: more of the same line.
    """
    n_free = free_memory(device)
    held = 0
    if device.type == "cpu":
        held = held_memory()
        n_bytes += _LIBRARIES
    needed = f"{(held + n_bytes) / GB:.2f} GB needed, {(held + n_free) / GB:.2f} GB there"
    print("; ".join((f"memory on the {device.type}: {needed}", *notes)), flush=True)
    if n_bytes > n_free:
        warn(f"that is more than is free; if it fails, {remedy}")
