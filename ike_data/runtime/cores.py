"""Work on many frames: shared among a processor's cores, or done by a GPU in few operations.

A frame fits a core's cache, and is too small to be shared by several cores. So on a CPU each core
takes a frame at a time. On a GPU a frame takes less time than it takes Python to start the
operation, so there each operation works on as many frames as the memory for its results allows.
"""

from __future__ import annotations

import functools
import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")

# More gain little where memory is what limits, and each needs some of it.
_MAX_WORKERS = 16

# The most that the tensors of one block of frames may take on a GPU, bytes. No setting: masks
# differ by rounding alone.
BLOCK_BYTES = 1 << 29

_as_on_gpu = ContextVar("as_on_gpu", default=False)


@contextmanager
def as_on_gpu() -> Iterator[None]:
    """In this block tensors on a CPU are worked on as those on a GPU are.

    So the operations that a GPU is given can be tested and counted without one.
    """
    token = _as_on_gpu.set(True)
    try:
        yield
    finally:
        _as_on_gpu.reset(token)


def frames_together(device: torch.device) -> bool:
    """Whether one operation works on many frames: on a GPU, not on a CPU."""
    return device.type != "cpu" or _as_on_gpu.get()


def n_workers(device: torch.device) -> int:
    """The most calls that `map_on_cores` makes at a time."""
    return 1 if frames_together(device) else min(torch.get_num_threads(), _MAX_WORKERS)


def frames_at_once(frame_bytes: float, device: torch.device) -> int:
    """How many frames one operation works on: one on a CPU, on a GPU as `BLOCK_BYTES` allows.

    ``frame_bytes``: what one frame's tensors take at a time, bytes.
    """
    return max(int(BLOCK_BYTES / max(frame_bytes, 1)), 1) if frames_together(device) else 1


def frame_blocks(n_frames: int, frame_bytes: float, device: torch.device) -> list[range]:
    """Split range(n_frames) into blocks of `frames_at_once`, for `map_on_cores`."""
    size = frames_at_once(frame_bytes, device)
    return [range(start, min(start + size, n_frames)) for start in range(0, n_frames, size)]


def fill_in_blocks(
    out: torch.Tensor,
    function: Callable[..., torch.Tensor],
    *frames: torch.Tensor,
    frame_bytes: float,
) -> torch.Tensor:
    """Write ``function`` of blocks of frames to the same frames of ``out``, which is returned.

    Args:
        out: [n, ...].
        frames: arguments of the function, [n, ...] each; it gets [m, ...] of each, and gives the
            m frames of ``out``.
        frame_bytes: see `frames_at_once`.
    """

    def fill(block: range) -> None:
        some = slice(block.start, block.stop)
        out[some] = function(*(tensor[some] for tensor in frames))

    do_on_cores(fill, frame_blocks(len(out), frame_bytes, out.device), out.device)
    return out


def equal_blocks(n_items: int, largest: int, device: torch.device) -> list[range]:
    """Split range(n_items) into blocks of nearly equal size, at most ``largest``.

    As many as keep all workers of `map_on_cores` busy to the end.
    """
    n_rounds = -(-n_items // (largest * n_workers(device)))
    n_blocks = max(min(n_rounds * n_workers(device), n_items), 1)
    edges = [idx * n_items // n_blocks for idx in range(n_blocks + 1)]
    return [range(*pair) for pair in itertools.pairwise(edges)]


def n_equal_parts(batch_size: int, device: torch.device) -> int:
    """The largest divisor of ``batch_size`` that is at most the number of cores.

    With parts of other than equal size the cores would wait for the largest.
    """
    largest = min(batch_size, n_workers(device))
    return next(n for n in range(largest, 0, -1) if batch_size % n == 0)


def map_on_cores(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    device: torch.device,
    *,
    n_calls: int | None = None,
) -> Iterator[Result]:
    """``map``, in order; on a CPU with a thread for each core that PyTorch may use.

    By default a call has one core: gathering and adding by index use one anyway, and for the rest
    the cores would wait for each other after each operation. PyTorch and compiled loops release
    Python's lock while they compute.

    The calls are made in inference mode, or without gradients, if this one is.

    However this ends, by an error of a call, Ctrl-C or because its results are not wanted any more,
    no call runs on: those that have not begun are not made, and the others are waited for.

    Args:
        n_calls: how many items there are, at most one for each core. The cores are shared equally
            among the calls. None: many, and a core for each.
    """
    n_threads = n_workers(device) if n_calls is None else min(n_calls, n_workers(device))
    if n_threads == 1:  # in a pool of one thread, callers on several threads would queue
        yield from map(function, items)
        return
    cores_each = 1 if n_calls is None else torch.get_num_threads() // n_threads
    threads = _threads(n_workers(device))
    calls: deque[Future[Result]] = deque()
    # Of this thread only.
    inference, gradients = torch.is_inference_mode_enabled(), torch.is_grad_enabled()

    def call(item: Item) -> Result:
        # In a thread the first call of get_num_threads takes over what any thread set last.
        if torch.get_num_threads() != cores_each:
            torch.set_num_threads(cores_each)
        with torch.inference_mode(inference), torch.set_grad_enabled(gradients):
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


def do_on_cores(
    function: Callable[[Item], object], items: Iterable[Item], device: torch.device
) -> None:
    """`map_on_cores` of a function that returns nothing of use."""
    for _ in map_on_cores(function, items, device):
        pass


@functools.cache
def _threads(n_threads: int) -> ThreadPoolExecutor:
    # Kept: the memory allocator gives each new thread a heap of its own.
    return ThreadPoolExecutor(n_threads)
