"""The flow of each pair of neighbouring frames of a video."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence, Sized
from itertools import chain, islice, pairwise
from typing import TypeAlias

import numpy as np
import torch
from tqdm import tqdm

from ike_data.flow_resizing import resize_flow
from RAFT.flow_method import FlowMethod

Frame: TypeAlias = np.ndarray | torch.Tensor


def flow_between(
    first: Frame, second: Frame, method: FlowMethod
) -> tuple[torch.Tensor, torch.Tensor]:
    """The flow from ``first`` to ``second``, and from ``second`` to ``first``.

    Args:
        first, second: uint8 RGB, of one size: an array [h, w, 3] or a tensor [3, h, w].
        method: `DisFlow`, `RaftFlow` or `ShrunkFlow`.

    Returns:
        Two float32 tensors [2, h, w] on the CPU, channels (u, v) in pixels.

    Raises:
        ValueError: an argument is of another type, shape or size.
    """
    _check_method(method)
    array = _as_array(first, "first")
    encoded = method.encode(array), method.encode(_as_array(second, "second", array.shape))
    forward, backward = method.flow_both_ways(*encoded)
    return _as_tensor(forward), _as_tensor(backward)


def video_flow(
    frames: Iterable[Frame],
    method: FlowMethod,
    *,
    working_size: tuple[int, int] | None = None,
    progress: bool = False,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The flow of a video in both directions, as `graph_module.segment` takes it.

    Args:
        frames: uint8 RGB, all of one size: a tensor [n, 3, h, w], or anything that gives one frame
            after the other, each as in `flow_between`.
        method: `DisFlow`, `RaftFlow` or `ShrunkFlow`.
        working_size: (H, W), pixels. The flow is found at the frames' own size and then brought to
            this one by `ike_data.flow_resizing.resize_flow`. None: it stays at the frames' own.
        progress: show a bar.

    Returns:
        fwd_flow and bwd_flow, float32 [n - 1, 2, H, W] on the CPU, channels (u, v) in pixels of
        this size. ``fwd_flow[idx]`` leads from frame idx to idx + 1, ``bwd_flow[idx]`` from frame
        idx + 1 to idx. A video of one frame has [0, 2, H, W].

    Raises:
        ValueError: an argument is of another type, shape or size, or there is no frame.
    """
    _check_method(method)
    n_pairs = len(frames) - 1 if isinstance(frames, Sized) else None
    arrays = _as_arrays(frames)
    first = next(arrays, None)
    if first is None:
        raise ValueError("frames should be at least one frame, got none")
    size = first.shape[:2] if working_size is None else _checked_size(working_size)

    flows: list[list[torch.Tensor]] = [[], []]
    pairs = flows_of_pairs(chain([first], arrays), method)
    for _, *both in tqdm(pairs, "optical flow", n_pairs, unit="pair", disable=not progress):
        for of_direction, flow in zip(flows, both, strict=True):
            of_direction.append(resize_flow(_as_tensor(flow)[None], size))
    fwd_flow, bwd_flow = (torch.cat([torch.empty(0, 2, *size), *each]) for each in flows)
    return fwd_flow, bwd_flow


def flows_of_pairs(
    frames: Iterable[np.ndarray], method: FlowMethod, wanted: Collection[int] | None = None
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Yield (idx, forward flow, backward flow) of each pair (idx, idx + 1), in order.

    Of the video only one pair is held at a time, and a frame of two pairs is encoded once.

    Args:
        frames: uint8 RGB [height, width, 3]; not read beyond the last wanted pair.
        wanted: idx of the pairs whose flow is found; None: all.
    """
    encoded = None  # the first frame of the pair
    n_pairs = None if wanted is None else max(wanted, default=-1) + 1
    for idx, (first, second) in enumerate(islice(pairwise(frames), n_pairs)):
        if wanted is not None and idx not in wanted:
            encoded = None
            continue
        encoded_first = method.encode(first) if encoded is None else encoded
        encoded = method.encode(second)
        yield idx, *method.flow_both_ways(encoded_first, encoded)


def _as_arrays(frames: Iterable[Frame]) -> Iterator[np.ndarray]:
    shape = None
    for idx, frame in enumerate(frames):
        array = _as_array(frame, f"frames[{idx}]", shape)
        shape = array.shape
        yield array


def _as_array(frame: Frame, name: str, shape: tuple[int, ...] | None = None) -> np.ndarray:
    """``frame`` as uint8 [h, w, 3]; ValueError where it is no frame, or not of ``shape``."""
    array = frame
    if isinstance(frame, torch.Tensor) and frame.dtype == torch.uint8 and frame.ndim == 3:
        array = frame.permute(1, 2, 0).cpu().numpy()
    right = isinstance(array, np.ndarray) and array.dtype == np.uint8 and array.ndim == 3
    if not right or array.shape[2] != 3 or 0 in array.shape:
        got = type(frame).__name__
        if isinstance(frame, np.ndarray | torch.Tensor):
            got += f" of {frame.dtype}, {list(frame.shape)}"
        raise ValueError(
            f"{name} should be a frame, uint8 RGB: an array [h, w, 3] or a tensor [3, h, w]; "
            f"got {got}"
        )
    if shape is not None and array.shape != shape:
        raise ValueError(
            f"{name} should have {shape[0]} x {shape[1]} pixels (h x w) as the frame before it, "
            f"got {array.shape[0]} x {array.shape[1]}"
        )
    # PyTorch refuses arrays that are read backwards, as BGR[..., ::-1], and warns of those that
    # cannot be written, as np.asarray(image) of PIL.
    return np.require(array, requirements=["C", "W"])


def _as_tensor(flow: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(flow).permute(2, 0, 1).contiguous()  # [2, h, w]


def _check_method(method: FlowMethod) -> None:
    # isinstance is true of the class itself.
    if isinstance(method, type) or not isinstance(method, FlowMethod):
        raise ValueError(
            "method should be a FlowMethod, as DisFlow() or RaftFlow(load_raft()), got "
            f"{method if isinstance(method, type) else type(method).__name__}"
        )


def _checked_size(size: Sequence[int]) -> tuple[int, int]:
    right = isinstance(size, Sequence) and len(size) == 2
    if not right or not all(isinstance(side, int) and side >= 1 for side in size):
        raise ValueError(
            f"working_size should be (H, W), whole numbers of at least 1, got {size!r}"
        )
    return size[0], size[1]
