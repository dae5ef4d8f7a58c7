"""How the values of 16-bit frames (thermal, infrared, microscopy) become 8 bits."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

_N_VALUES = 1 << 16
_TO_16_BITS = 257  # 65535 / 255
_N_COUNTED_AT_ONCE = 1 << 22


@dataclass(frozen=True)
class ValueRange:
    """The values that become 0 and 255. Those between are spread evenly, those outside clipped."""

    low: int
    high: int

    @property
    def note(self) -> str:
        """What becomes of the values, in words; empty for the full range."""
        return "" if self == FULL_RANGE else f"values {self.low} to {self.high} become 0 to 255"

    def to_8_bits(self, values: np.ndarray) -> np.ndarray:
        """Bring uint16 values of any shape to uint8."""
        scaled = (np.arange(_N_VALUES) - self.low) * (255 / (self.high - self.low))
        return scaled.clip(0, 255).round().astype(np.uint8)[values]


FULL_RANGE = ValueRange(0, _N_VALUES - 1)


def find_value_range(images: Iterable[np.ndarray]) -> ValueRange:
    """The range of the values of all ``images``, uint16 of any shape, together.

    Cameras fill 10 to 14 of 16 bits, and radiometric values have an offset as well: scaled from all
    16 bits, few of the 256 grey levels would be used. The range goes from the 0.1st to the 99.9th
    percentile, as single pixels may be dead. It is the full one where

    - that is at least half of it;
    - all values are multiples of 257: these are 8-bit images that were saved as 16-bit ones;
    - there is one value alone.
    """
    counts = np.zeros(_N_VALUES, dtype=np.int64)
    for image in images:
        # In parts, as bincount makes 8 bytes of each value.
        for part in np.array_split(image.ravel(), image.size // _N_COUNTED_AT_ONCE + 1):
            counts += np.bincount(part, minlength=_N_VALUES)
    present = np.flatnonzero(counts)
    if len(present) == 1 or not (present % _TO_16_BITS).any():
        return FULL_RANGE
    up_to = counts.cumsum()
    low, high = np.searchsorted(up_to, [up_to[-1] * 0.001, up_to[-1] * 0.999]).tolist()
    if low == high:  # what differs from the rest is smaller than a dead pixel's share
        low, high = present[[0, -1]].tolist()
    return FULL_RANGE if high - low >= _N_VALUES // 2 else ValueRange(low, high)
