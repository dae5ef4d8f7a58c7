"""Work on many frames shared among the processor's cores, one frame a core."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_on_cores(
    function: Callable[[Item], Result], items: Iterable[Item], device: torch.device
) -> Iterator[Result]:
    """``map``, in order; on a CPU with a thread for each core that PyTorch may use.

    A frame is too small to be shared by several cores: gathering and adding by index run on one
    anyway, and for the rest the cores would wait for each other after each operation. PyTorch
    releases Python's lock while it computes.
    """
    if device.type != "cpu":
        yield from map(function, items)
        return
    with ThreadPoolExecutor(
        torch.get_num_threads(), initializer=torch.set_num_threads, initargs=(1,)
    ) as cores:
        yield from cores.map(function, items)
