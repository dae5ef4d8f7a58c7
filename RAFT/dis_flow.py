"""DIS optical flow (Kroeger et al., 2016) from OpenCV: no weights, no GPU."""

from __future__ import annotations

import cv2
import numpy as np

# Pixels. OpenCV refuses very small frames. In some that are less than 16 pixels high it takes a
# pyramid level that is lower than its patches of 8 pixels, and reads outside its memory.
MIN_SIDE = 16
# Pixels. The preset stops at half the size; masks of 224 x 416 gain from flow that is found at
# 480 x 854 (docs/extensions.md). Half of a larger frame is finer than such masks already, and the
# whole of it takes four times as long.
WHOLE_SIZE_MAX_SIDE = 1280


class DisFlow:
    """OpenCV's DIS as a `FlowMethod`: its medium preset, on grey frames, on the CPU.

    Its flow is found at the frames' whole size, or at half of it, see `finest_scale`.
    """

    def __init__(self, *, whole_size_max_side: int = WHOLE_SIZE_MAX_SIDE) -> None:
        """
        Args:
            whole_size_max_side: see `finest_scale`.
        """
        self._whole_size_max_side = whole_size_max_side
        self._dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)

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
        self._dis.setFinestScale(finest_scale(height, width, self._whole_size_max_side))
        # None: there is no first guess.
        flow = self._dis.calc(_pad(first), _pad(second), None)  # type: ignore[call-overload]
        return flow[:height, :width]


def finest_scale(height: int, width: int, whole_size_max_side: int = WHOLE_SIZE_MAX_SIDE) -> int:
    """DIS's finest pyramid level: 0, the whole size, up to this longer side, pixels.

    Above it 1, half the size; the flow is then enlarged.
    """
    return 0 if max(height, width) <= whole_size_max_side else 1


def _pad(grey: np.ndarray) -> np.ndarray:
    # Below and to the right, so that the frame keeps its place.
    below, right = (max(MIN_SIDE - side, 0) for side in grey.shape)
    return cv2.copyMakeBorder(grey, 0, below, 0, right, cv2.BORDER_REPLICATE)
