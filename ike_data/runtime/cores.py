"""Work on many frames shared among the processor's cores."""

from __future__ import annotations

import functools
import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")

# More gain little where memory is what limits, and each needs some of it.
_MAX_WORKERS = 16


def n_workers(device: torch.device) -> int:
    """How many calls `map_on_cores` makes at a time."""
    return min(torch.get_num_threads(), _MAX_WORKERS) if device.type == "cpu" else 1


def at_once(n_items: int, device: torch.device) -> int:
    """How many of ``n_items`` frames one operation should work on.

    All on a GPU, which they fill, in as few kernels; one on a CPU, whose cache it fits.
    """
    return 1 if device.type == "cpu" else n_items


def equal_blocks(n_items: int, largest: int, device: torch.device) -> list[range]:
    """Split range(n_items) into blocks of nearly equal size, at most ``largest``.

    As many as keep all workers of `map_on_cores` busy to the end.
    """
    n_rounds = -(-n_items // (largest * n_workers(device)))
    n_blocks = max(min(n_rounds * n_workers(device), n_items), 1)
    edges = [idx * n_items // n_blocks for idx in range(n_blocks + 1)]
    return [range(*pair) for pair in itertools.pairwise(edges)]


def map_on_cores(
    function: Callable[[Item], Result], items: Iterable[Item], device: torch.device
) -> Iterator[Result]:
    """``map``, in order; on a CPU with a thread for each core that PyTorch may use.

    A frame is too small to be shared by several cores: gathering and adding by index run on one
    anyway, and for the rest the cores would wait for each other after each operation. PyTorch
    and compiled loops release Python's lock while they compute.

    The calls are made in inference mode if this one is.

    However this ends, by an error of a call, Ctrl-C or because its results are not wanted any more,
    no call runs on: those that have not begun are not made, and the others are waited for.
    """
    if device.type != "cpu":
        yield from map(function, items)
        return
    threads = _threads(n_workers(device))
    calls: deque[Future[Result]] = deque()
    inference = torch.is_inference_mode_enabled()  # of this thread only

    def call(item: Item) -> Result:
        with torch.inference_mode(inference):
            return function(item)

    try:
        for item in items:
            calls.append(threads.submit(call, item))
        while calls:
            wait([calls[0]])  # not .result(): Ctrl-C here must leave it among the calls
            yield calls.popleft().result()
    finally:
        # Executor.map does not wait: a call could write into a folder that is being removed.
        wait([future for future in calls if not future.cancel()])


@functools.cache
def _threads(n_threads: int) -> ThreadPoolExecutor:
    # Kept: the memory allocator gives each new thread a heap of its own.
    return ThreadPoolExecutor(n_threads, initializer=torch.set_num_threads, initargs=(1,))
