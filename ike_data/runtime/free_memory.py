"""How much memory is free, and how much this process holds."""

from __future__ import annotations

from pathlib import Path

import psutil
import torch

_CGROUP = Path("/proc/self/cgroup")
_CGROUP_ROOT = Path("/sys/fs/cgroup")


def free_memory(device: torch.device) -> int:
    """Bytes that can still be allocated on ``device``.

    On the CPU also within the limits of the control groups (version 2) that containers and batch
    systems such as Slurm put a process in; psutil sees the whole machine only.
    """
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        # What PyTorch keeps for its next tensors is not free for others.
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(free) + kept
    return min([psutil.virtual_memory().available, *_left_in_control_groups()])


def held_memory() -> int:
    """Bytes of the machine's memory that this process holds now."""
    return int(psutil.Process().memory_info().rss)


def _left_in_control_groups() -> list[int]:
    try:
        lines = _CGROUP.read_text().splitlines()
    except OSError:
        return []  # not Linux
    left = []
    for line in lines:
        hierarchy, _, own = line.partition("::")
        if hierarchy != "0":
            continue  # version 1
        group = _CGROUP_ROOT / own.lstrip("/")
        while group.is_relative_to(_CGROUP_ROOT):
            try:
                limit = (group / "memory.max").read_text().strip()
                used = int((group / "memory.current").read_text()) - _file_cache(group)
            except (OSError, ValueError):
                limit = "max"
            if limit != "max":
                left.append(max(int(limit) - used, 0))
            group = group.parent
    return left


def _file_cache(group: Path) -> int:
    """Bytes of files that are kept in memory until it is needed, which the group counts as used."""
    try:
        lines = (group / "memory.stat").read_text().splitlines()
    except OSError:
        return 0
    counts = dict(line.split() for line in lines if len(line.split()) == 2)
    return int(counts.get("inactive_file", 0))
