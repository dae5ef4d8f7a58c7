"""Which exceptions mean that the memory does not suffice, and what to change in a command then.

This module imports nothing heavy, as `command_line`, which uses it, must answer at once.
"""

from __future__ import annotations

FLOW_REMEDY = (
    "find the flow at a smaller size (--max_side PIXELS), or use --method dis or --small; where "
    "--method dis fails, make the frames smaller"
)
GRAPH_REMEDY = (
    "set a smaller working_h and working_w or smaller half chain sizes, or cut the video into parts"
)
NETWORK_REMEDY = (
    "set a smaller batch_size or a smaller working_h and working_w; a new training also takes a "
    "smaller base_channels"
)

_TORCH_CPU = ("allocate memory", "not enough memory")  # what its allocators say
_CUDA_LIBRARIES = ("CUDA error: out of memory", "STATUS_ALLOC_FAILED")
_OPENCV_NO_MEMORY = -4


def gpu_is_full(error: BaseException) -> bool:
    """Whether ``error`` says that an allocation on a GPU failed."""
    # torch may not have been imported at all. Some releases have other classes for this beside
    # torch.OutOfMemoryError.
    return type(error).__name__ == "OutOfMemoryError" or (
        isinstance(error, RuntimeError) and any(text in str(error) for text in _CUDA_LIBRARIES)
    )


def cpu_is_full(error: BaseException) -> bool:
    """Whether ``error`` says that an allocation in the machine's own memory failed.

    PyTorch has no class of its own for that; OpenCV's error has a code.
    """
    if isinstance(error, RuntimeError) and not gpu_is_full(error):
        return any(text in str(error) for text in _TORCH_CPU)
    return isinstance(error, MemoryError) or getattr(error, "code", None) == _OPENCV_NO_MEMORY


def memory_is_full(error: BaseException) -> bool:
    """Whether ``error`` says that an allocation failed, wherever."""
    return gpu_is_full(error) or cpu_is_full(error)
