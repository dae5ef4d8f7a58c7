"""The measures of DAVIS-2016, as its official Python toolbox defines them.

J is Perazzi et al., "A Benchmark Dataset and Evaluation Methodology for Video Object
Segmentation" (CVPR 2016), section 4.1, F section 4.2; docs/method.md section 7. Masks are
arrays [height, width]; any non-zero pixel is object.

Void pixels, which DAVIS-2016 has none of, are background in mask and annotation before either
measure, as in the toolbox of DAVIS-2017 (davis2017-evaluation, metrics.py: ``void_pixels``; data:
Caelles et al., "The 2019 DAVIS Challenge on VOS: Unsupervised Multi-Object Segmentation").
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

N_BINS = 4  # of the decay


class Statistics(NamedTuple):
    """How a measure behaves over the frames of a sequence."""

    mean: float
    recall: float  # share of frames above 0.5
    decay: float  # mean of the first of four bins minus the last; NaN where it has no meaning


def region_similarity(
    mask: np.ndarray, annotation: np.ndarray, void: np.ndarray | None = None
) -> float:
    """J of one frame: intersection over union, in [0, 1]; 1 where both masks are empty.

    Pixels that are ``void``, if given, do not count.

    Raises:
        ValueError: the arrays are not [height, width] of one shape.
    """
    mask, annotation = _as_object(mask, annotation, void)
    union = np.count_nonzero(mask | annotation)
    return np.count_nonzero(mask & annotation) / union if union else 1.0


def boundary_measure(
    mask: np.ndarray,
    annotation: np.ndarray,
    bound_th: float = 0.008,
    void: np.ndarray | None = None,
) -> float:
    """F of one frame: harmonic mean of the precision and recall of the mask's boundary, in [0, 1].

    A boundary pixel is right where the other boundary is within ``bound_th`` of it: pixels if it
    is at least 1, otherwise a share of the image's diagonal, rounded up. Precision is taken over
    the mask's boundary pixels, recall over the annotation's. A mask without boundary has
    precision 1 and recall 0 (F = 0) where the annotation has one, and F = 1 where neither has;
    a boundary where the annotation has none has precision 0 and recall 1 (F = 0). Pixels that are
    ``void``, if given, are background in both: where an object meets them is its boundary.

    Raises:
        ValueError: the arrays are not [height, width] of one shape.
    """
    mask, annotation = _as_object(mask, annotation, void)
    radius = bound_th if bound_th >= 1 else np.ceil(bound_th * np.linalg.norm(mask.shape))
    mask_boundary, annotation_boundary = boundary(mask), boundary(annotation)
    n_mask, n_annotation = int(mask_boundary.sum()), int(annotation_boundary.sum())
    if n_mask == 0 or n_annotation == 0:
        return float(n_mask == n_annotation)
    element = disk(int(radius))
    precision = (mask_boundary & dilate(annotation_boundary, element)).sum() / n_mask
    recall = (annotation_boundary & dilate(mask_boundary, element)).sum() / n_annotation
    if precision + recall == 0:
        return 0.0
    return float(2 * precision * recall / (precision + recall))


def boundary(mask: np.ndarray) -> np.ndarray:
    """The 1-pixel boundary (``seg2bmap``) of a bool mask: bool, of the same shape.

    A pixel is boundary where it differs from its neighbour to the east, south or south-east. In
    the last row only the east counts, in the last column only the south; the last pixel never.
    So the border of the image is not a boundary of an object that runs out of it.
    """
    east, south, south_east = (np.zeros_like(mask) for _ in range(3))
    east[:, :-1] = mask[:, 1:]
    south[:-1, :] = mask[1:, :]
    south_east[:-1, :-1] = mask[1:, 1:]
    edge = (mask ^ east) | (mask ^ south) | (mask ^ south_east)
    edge[-1, :] = mask[-1, :] ^ east[-1, :]
    edge[:, -1] = mask[:, -1] ^ south[:, -1]
    edge[-1, -1] = False
    return edge


def disk(radius: int) -> np.ndarray:
    """All offsets with x^2 + y^2 <= radius^2, as a uint8 square of 2 radius + 1 pixels."""
    x = np.arange(-radius, radius + 1)
    return (x[None, :] ** 2 + x[:, None] ** 2 <= radius**2).astype(np.uint8)


def dilate(mask: np.ndarray, element: np.ndarray) -> np.ndarray:
    """Binary dilation of a bool mask; nothing comes in from outside the image."""
    return cv2.dilate(mask.astype(np.uint8), element).astype(bool)


def statistics(values: Sequence[float]) -> Statistics:
    """Mean, recall and decay (``db_statistics``) of a measure over the scored frames, in order.

    The four bins of the decay share their end frames: with round half up, and counting from 1,
    they end at frames round(1 + i (n - 1) / 4). The toolbox holds these indices as uint8, which
    wraps at 256 frames; here they do not.

    Raises:
        ValueError: there is no frame.
    """
    scores = np.asarray(values, dtype=np.float64)
    if scores.ndim != 1 or scores.size == 0:
        raise ValueError(f"values should be a number for each frame, got shape {scores.shape}")
    ends = np.round(np.linspace(1, scores.size, N_BINS + 1) + 1e-10).astype(np.int64) - 1
    first = scores[ends[0] : ends[1] + 1]
    last = scores[ends[-2] : ends[-1] + 1]
    return Statistics(
        mean=float(scores.mean()),
        recall=float((scores > 0.5).mean()),
        decay=float(first.mean() - last.mean()),
    )


def _as_object(
    mask: np.ndarray, annotation: np.ndarray, void: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    if mask.ndim != 2 or mask.shape != annotation.shape:
        raise ValueError(
            "mask and annotation should both have shape [height, width], "
            f"got {list(mask.shape)} and {list(annotation.shape)}"
        )
    mask, annotation = mask.astype(bool), annotation.astype(bool)
    if void is None:
        return mask, annotation
    if void.shape != mask.shape:
        raise ValueError(f"void should have shape {list(mask.shape)}, got {list(void.shape)}")
    counted = ~void.astype(bool)
    return mask & counted, annotation & counted
