"""Flow at a smaller size than the frames' own, in the frames' own pixels (max_side)."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import cv2
import numpy as np


class FlowMethod(Protocol):
    """A way to find the flow between neighbouring frames: `RaftFlow`, `DisFlow`, `ShrunkFlow`."""

    def encode(self, frame: np.ndarray) -> Any:
        """What ``flow_both_ways`` needs of a frame, uint8 RGB [height, width, 3]."""

    def flow_both_ways(self, first: Any, second: Any) -> tuple[np.ndarray, np.ndarray]:
        """Flow from ``first`` to ``second`` and back: float32 [height, width, 2], (u, v)."""


class ShrunkFrame(NamedTuple):
    """What the method makes of a frame that was shrunk."""

    encoded: Any
    height: int  # of the frame itself, pixels
    width: int


class ShrunkFlow:
    """Another method, on frames that are shrunk until no side is longer than ``max_side``."""

    def __init__(self, method: FlowMethod, max_side: int) -> None:
        """``max_side``: pixels; see `shrunk_size`."""
        self._method, self._max_side = method, max_side

    def encode(self, frame: np.ndarray) -> ShrunkFrame:
        """Shrink ``frame``, uint8 RGB [height, width, 3], to the means of areas, and encode it."""
        height, width = frame.shape[:2]
        size = shrunk_size(height, width, self._max_side)
        if size != (height, width):
            frame = cv2.resize(frame, size[::-1], interpolation=cv2.INTER_AREA)
        return ShrunkFrame(self._method.encode(frame), height, width)

    def flow_both_ways(
        self, first: ShrunkFrame, second: ShrunkFrame
    ) -> tuple[np.ndarray, np.ndarray]:
        """Flow from ``first`` to ``second``, and from ``second`` to ``first``.

        Returns:
            Two float32 arrays [height, width, 2], (u, v) in pixels of the frames' own size.
        """
        forward, backward = self._method.flow_both_ways(first.encoded, second.encoded)
        size = first.height, first.width
        return _enlarged(forward, *size), _enlarged(backward, *size)


def shrunk_size(height: int, width: int, max_side: int) -> tuple[int, int]:
    """Height and width that flow of frames of this size is found at, pixels; 0 sets no limit."""
    longer = max(height, width)
    if max_side == 0 or longer <= max_side:
        return height, width
    return max(round(height * max_side / longer), 1), max(round(width * max_side / longer), 1)


def _enlarged(flow: np.ndarray, height: int, width: int) -> np.ndarray:
    flow_height, flow_width = flow.shape[:2]
    if (flow_height, flow_width) == (height, width):
        return flow
    # Sides are rounded, so that each axis has a factor of its own.
    factors = np.array([width / flow_width, height / flow_height], np.float32)
    return cv2.resize(flow, (width, height), interpolation=cv2.INTER_LINEAR) * factors
