"""Loops over single pixels, compiled by numba where it is installed.

PyTorch works on whole arrays. Several such operations on all links of a frame spend most of their
time moving them through memory. The same loop, compiled, takes a third of the time on a CPU.
Without numba, and on a GPU, PyTorch does the work; the tests hold both equal.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

Loop = Callable[..., None]

PROBLEM: str | None = None  # why numba cannot be used although it is installed
try:
    import numba
except ImportError as error:
    AVAILABLE = False
    if not isinstance(error, ModuleNotFoundError):  # installed, but not for this NumPy, say
        PROBLEM = str(error)
else:
    AVAILABLE = True


def compiled(*, sums_in_any_order: bool = False) -> Callable[[Loop], Loop]:
    """Decorate a loop over NumPy arrays; numba compiles it when it is first called.

    Tensors are handed over as arrays that share their memory. The loop releases Python's lock.

    Args:
        sums_in_any_order: let the compiler add several terms at a time; it does so in the same
            order in each call.
    """
    # Not all of fastmath: NaN and infinity keep their meaning.
    fastmath = {"reassoc", "contract", "nsz"} if sums_in_any_order else False

    def decorate(loop: Loop) -> Loop:
        dispatcher = _compile(loop, fastmath) if AVAILABLE else loop

        def call(*values: Any) -> None:
            dispatcher(*(v.numpy() if isinstance(v, torch.Tensor) else v for v in values))

        return call

    return decorate


def _compile(loop: Loop, fastmath: Any) -> Loop:
    # As in NumPy, dividing by zero gives inf: nothing to test for in the loop.
    try:
        return numba.njit(loop, nogil=True, error_model="numpy", fastmath=fastmath, cache=True)
    except RuntimeError:  # no folder that can be written to keep the compiled code in
        return numba.njit(loop, nogil=True, error_model="numpy", fastmath=fastmath)
