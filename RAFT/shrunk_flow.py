"""Flow that is found on shrunk frames, for less memory and time (max_side)."""

from __future__ import annotations

from typing import Any, NamedTuple

import cv2
import numpy as np

from RAFT.flow_method import FlowMethod


class ShrunkFrame(NamedTuple):
    """What another method makes of a frame that was shrunk."""

    encoded: Any
    height: int  # of the frame itself, pixels
    width: int


class ShrunkFlow:
    """A `FlowMethod` that runs another one on shrunk frames, and enlarges the flow again."""

    def __init__(self, method: FlowMethod, max_side: int) -> None:
        """
        Args:
            max_side: pixels that a shrunk frame's longer side has. Frames whose longer side has
                fewer are left as they are; 0: all.

        Raises:
            ValueError: ``max_side`` is no whole number of at least 0.
        """
        if not isinstance(max_side, int) or max_side < 0:
            raise ValueError(f"max_side should be a whole number of at least 0, got {max_side!r}")
        self._method, self._max_side = method, max_side

    def encode(self, frame: np.ndarray) -> ShrunkFrame:
        """See `FlowMethod.encode`; a pixel of the shrunk frame is the mean of its area."""
        height, width = frame.shape[:2]
        size = shrunk_size(height, width, self._max_side)
        if size != (height, width):
            frame = cv2.resize(frame, size[::-1], interpolation=cv2.INTER_AREA)
        return ShrunkFrame(self._method.encode(frame), height, width)

    def flow_both_ways(
        self, first: ShrunkFrame, second: ShrunkFrame
    ) -> tuple[np.ndarray, np.ndarray]:
        """See `FlowMethod.flow_both_ways`."""
        forward, backward = self._method.flow_both_ways(first.encoded, second.encoded)
        size = first.height, first.width
        return _enlarged(forward, *size), _enlarged(backward, *size)


def shrunk_size(height: int, width: int, max_side: int) -> tuple[int, int]:
    """Height and width, pixels, of a frame once no side is longer than ``max_side`` (0: any)."""
    longer = max(height, width)
    if max_side == 0 or longer <= max_side:
        return height, width
    return max(round(height * max_side / longer), 1), max(round(width * max_side / longer), 1)


def _enlarged(flow: np.ndarray, height: int, width: int) -> np.ndarray:
    # Not resize_flow, whose last bits differ: a run that an older release began would mix both.
    flow_height, flow_width = flow.shape[:2]
    if (flow_height, flow_width) == (height, width):
        return flow
    # Sides are rounded, so that each axis has a factor of its own.
    factors = np.array([width / flow_width, height / flow_height], np.float32)
    return cv2.resize(flow, (width, height), interpolation=cv2.INTER_LINEAR) * factors
