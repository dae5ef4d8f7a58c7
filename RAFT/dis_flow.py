"""DIS optical flow (Kroeger et al., 2016) from OpenCV: no weights, no GPU."""

from __future__ import annotations

import cv2
import numpy as np

# Pixels. OpenCV refuses very small frames. In some that are less than 16 pixels high it takes a
# pyramid level that is lower than its patches of 8 pixels, and reads outside its memory.
MIN_SIDE = 16


class DisFlow:
    """OpenCV's DIS as a `FlowMethod`: its medium preset, on grey frames, on the CPU."""

    def __init__(self) -> None:
        self._dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        self._finest_scale = self._dis.getFinestScale()

    def encode(self, frame: np.ndarray) -> np.ndarray:
        """See `FlowMethod.encode`; gives the grey image, uint8 [height, width]."""
        return cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)

    def flow_both_ways(
        self, first: np.ndarray, second: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """See `FlowMethod.flow_both_ways`."""
        return self._flow(first, second), self._flow(second, first)

    def _flow(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        height, width = first.shape
        # On small frames OpenCV lowers it and leaves it so, which would change the next flow.
        self._dis.setFinestScale(self._finest_scale)
        # None: there is no first guess.
        flow = self._dis.calc(_pad(first), _pad(second), None)  # type: ignore[call-overload]
        return flow[:height, :width]


def _pad(grey: np.ndarray) -> np.ndarray:
    # Below and to the right, so that the frame keeps its place.
    below, right = (max(MIN_SIDE - side, 0) for side in grey.shape)
    return cv2.copyMakeBorder(grey, 0, below, 0, right, cv2.BORDER_REPLICATE)
