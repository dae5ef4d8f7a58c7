"""From soft to hard masks: a fixed threshold, Otsu's, or the best one as an oracle.

A pixel is object where its soft value is at least the threshold.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from tqdm import tqdm

from ike_tools.masks.mask_values import LABEL_THRESHOLD, MaskValues

OTSU, BEST = "otsu", "best"  # rules that choose a threshold
N_LEVELS = 256
GRID = tuple(step / 100 for step in range(101))  # the candidates of the oracle


def choose_threshold(
    rule: float | str, values: MaskValues, soft_masks: Iterable[np.ndarray], n: int, of: str
) -> float:
    """The threshold of a video: ``rule`` itself, or by `OTSU` that of its ``n`` soft masks.

    Labels have `LABEL_THRESHOLD` by any rule. ``of`` is the video's name, for the progress bar.
    """
    if values.hard:
        return LABEL_THRESHOLD
    if rule != OTSU:
        return float(rule)
    bar = tqdm(soft_masks, f"{of}: Otsu's threshold", n, unit="frame", delay=2, leave=False)
    return otsu_threshold(bar)


def harden(soft: np.ndarray, threshold: float) -> np.ndarray:
    """The hard mask, bool, of a float32 soft mask."""
    # In float32, as the mask is: a soft value of 0.7 is then not below a threshold of 0.7.
    return soft >= np.float32(threshold)


def otsu_threshold(soft_masks: Iterable[np.ndarray]) -> float:
    """One threshold for a whole video, from the histogram of its soft masks alone.

    N. Otsu, "A Threshold Selection Method from Gray-Level Histograms" (1979): the split of the
    256 grey levels that maximises the variance between the two classes. Where several levels in
    a row split the pixels in the same way, it is the middle of them: 0.5 for masks of 0 and 1.
    It is 0.5 too where all pixels have one level, so that nothing can be split.
    """
    histogram = np.zeros(N_LEVELS, dtype=np.int64)
    for soft in soft_masks:
        levels = np.rint(soft * (N_LEVELS - 1)).astype(np.uint8)
        histogram += np.bincount(levels.ravel(), minlength=N_LEVELS)
    below = np.cumsum(histogram).astype(np.float64)  # pixels of level <= i
    sum_below = np.cumsum(histogram * np.arange(N_LEVELS)).astype(np.float64)
    above = below[-1] - below
    split = (below > 0) & (above > 0)
    if not split.any():
        return 0.5
    difference = sum_below[split] / below[split] - (sum_below[-1] - sum_below[split]) / above[split]
    variance = np.zeros(N_LEVELS)
    variance[split] = below[split] * above[split] * difference**2
    first = int(variance.argmax())
    last = int(np.searchsorted(below, below[first], side="right")) - 1
    return float(((first + last) / 2 + 0.5) / (N_LEVELS - 1))


def best_threshold(pairs: Iterable[tuple[np.ndarray, np.ndarray]]) -> float:
    """The threshold of `GRID` with the highest mean J over (soft mask, annotation) pairs.

    An oracle: it looks at the annotations. Of equally good thresholds, the nearest to 0.5.
    """
    grid = np.array(GRID, dtype=np.float32)
    total_j = np.zeros(len(GRID))
    for soft, annotation in pairs:
        # How many of the grid's thresholds a pixel passes; then, for each of them, its pixels.
        passed = np.searchsorted(grid, soft, side="right")
        inside = _at_least(passed[annotation])
        outside = _at_least(passed[~annotation])
        union = annotation.sum() + outside
        total_j += np.where(union > 0, inside / np.maximum(union, 1), 1.0)
    best = total_j.max()
    return min(
        (threshold for threshold, j in zip(GRID, total_j, strict=True) if j >= best),
        key=lambda threshold: abs(threshold - 0.5),
    )


def _at_least(passed: np.ndarray) -> np.ndarray:
    """For each threshold of the grid, how many pixels reach it."""
    count = np.bincount(passed, minlength=len(GRID) + 1)  # by number of thresholds passed
    return count[::-1].cumsum()[::-1][1:]
