"""Which operations PyTorch starts on a device, for what a GPU waits for is Python to start them."""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

# These move no data: they reserve memory, or look at what is there in another shape.
_START_NOTHING = {
    "_unsafe_view",
    "detach",
    "empty",
    "empty_like",
    "empty_strided",
    "lift_fresh",
    "new_empty",
    "new_empty_strided",
}


class OperationCount(TorchDispatchMode):
    """Counts the operations of its block, by name; views are none.

    It sees tensors on any device, and those of the thread that enters it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()
        self.of_fractions: set[str] = set()  # those whose first argument is of floating point

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        name = func.overloadpacket.__name__
        result = func(*args, **(kwargs or {}))
        if name not in _START_NOTHING and not (_may_be_view(func) and _is_view(result, args[0])):
            self.counts[name] += 1
            if args and isinstance(args[0], torch.Tensor) and args[0].is_floating_point():
                self.of_fractions.add(name)
        return result

    def total(self) -> int:
        """Of all operations."""
        return self.counts.total()


def _may_be_view(func: Any) -> bool:
    aliases = [value.alias_info for value in func._schema.returns]
    return any(alias is not None and not alias.is_write for alias in aliases)


def _is_view(result: Any, of: torch.Tensor) -> bool:
    """Not so where `to` or `reshape` had to copy."""
    first = result if isinstance(result, torch.Tensor) else result[0]
    return first.untyped_storage().data_ptr() == of.untyped_storage().data_ptr()
