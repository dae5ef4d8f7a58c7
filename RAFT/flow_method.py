"""What every way to find optical flow has in common."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import numpy as np


@runtime_checkable
class FlowMethod(Protocol):
    """Finds the flow between two frames in two steps, so that a video's frames are encoded once.

    `DisFlow`, `RaftFlow` and `ShrunkFlow` are such methods.
    """

    def encode(self, frame: np.ndarray) -> Any:
        """What ``flow_both_ways`` needs of ``frame``, uint8 RGB [height, width, 3]."""

    def flow_both_ways(self, first: Any, second: Any) -> tuple[np.ndarray, np.ndarray]:
        """The flow from ``first`` to ``second``, and from ``second`` to ``first``.

        Args:
            first, second: what ``encode`` has returned for two frames of one size.

        Returns:
            Two float32 arrays [height, width, 2], (u, v) in pixels of the frames' own size.
        """
