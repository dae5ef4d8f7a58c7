"""DIS optical flow (Kroeger et al., 2016) from OpenCV: no weights, no GPU."""

from __future__ import annotations

import cv2
import numpy as np

# Pixels. OpenCV refuses frames that are smaller still, and reads outside its memory for some that
# are under 16 pixels high: there it picks a pyramid level that is lower than its 8-pixel patch.
MIN_SIDE = 16


class DisFlow:
    """OpenCV's DIS with its medium preset, on grey frames at their full size."""

    def __init__(self) -> None:
        self._dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        self._finest_scale = self._dis.getFinestScale()

    def encode(self, frame: np.ndarray) -> np.ndarray:
        """The grey image of ``frame``, uint8 RGB [height, width, 3]: uint8 [height, width]."""
        return cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)

    def flow_both_ways(
        self, first: np.ndarray, second: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Flow from ``first`` to ``second``, and from ``second`` to ``first``.

        Returns:
            Two float32 arrays [height, width, 2], (u, v) in pixels.
        """
        return self._flow(first, second), self._flow(second, first)

    def _flow(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        height, width = first.shape
        # OpenCV changes it for good on small frames: the second flow would not be like the first.
        self._dis.setFinestScale(self._finest_scale)
        # A flow in place of None would be taken as a first guess.
        flow = self._dis.calc(_pad(first), _pad(second), None)  # type: ignore[call-overload]
        return flow[:height, :width]


def _pad(grey: np.ndarray) -> np.ndarray:
    # Below and to the right, so that the frame keeps its place.
    below, right = (max(MIN_SIDE - side, 0) for side in grey.shape)
    return cv2.copyMakeBorder(grey, 0, below, 0, right, cv2.BORDER_REPLICATE)
