"""J, F and their statistics against values worked out by hand and against slow definitions."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from ike_tools.scores.davis_metrics import (
    boundary,
    boundary_measure,
    region_similarity,
    statistics,
)


def block(height: int, width: int, rows: slice, columns: slice) -> np.ndarray:
    mask = np.zeros((height, width), dtype=bool)
    mask[rows, columns] = True
    return mask


EMPTY = np.zeros((8, 12), dtype=bool)
FULL = np.ones((8, 12), dtype=bool)


def test_region_similarity_by_hand():
    # 3 x 3 pixels each; they share 3 rows x 1 column = 3; the union is 9 + 9 - 3 = 15.
    mask = block(8, 12, slice(2, 5), slice(2, 5))
    annotation = block(8, 12, slice(2, 5), slice(4, 7))
    assert region_similarity(mask, annotation) == 3 / 15
    assert region_similarity(mask, mask) == 1
    assert region_similarity(mask, EMPTY) == 0
    assert region_similarity(EMPTY, mask) == 0
    assert region_similarity(EMPTY, EMPTY) == 1


def test_any_non_zero_value_is_object():
    mask = block(8, 12, slice(2, 5), slice(2, 5))
    assert region_similarity(mask.astype(np.uint8) * 255, mask.astype(np.uint8)) == 1
    assert boundary_measure(mask.astype(np.uint8) * 255, mask.astype(np.uint8)) == 1


def test_boundary_of_a_block_is_a_ring_one_pixel_larger_to_the_north_west():
    # The 3 x 3 block at rows 2-4, columns 2-4. Its right column and bottom row differ from a
    # neighbour to the east or south; the pixels north and west of it differ from the block. So
    # the ring around rows 1-4, columns 1-4: 4 x 4 - 2 x 2 = 12 pixels.
    expected = block(8, 12, slice(1, 5), slice(1, 5)) & ~block(8, 12, slice(2, 4), slice(2, 4))
    found = boundary(block(8, 12, slice(2, 5), slice(2, 5)))
    assert found.sum() == 12
    np.testing.assert_array_equal(found, expected)


def test_boundary_measure_by_hand():
    # Rings of 12 pixels: the annotation's on columns 1-4, the mask's on columns 4-7, rows 1-4.
    # Within 1 pixel of the annotation's ring are, of the mask's: column 4 (4 pixels, shared) and
    # the two pixels of column 5 in rows 1 and 4. So P = 6/12; by symmetry R = 6/12; F = 1/2.
    annotation = block(8, 12, slice(2, 5), slice(2, 5))
    mask = block(8, 12, slice(2, 5), slice(5, 8))
    assert boundary_measure(mask, annotation, bound_th=1) == 0.5
    # The block and a second one of the same size far away: P = 12/24, R = 12/12, F = 2/3.
    two = annotation | block(8, 12, slice(2, 5), slice(8, 11))
    assert boundary_measure(two, annotation, bound_th=1) == pytest.approx(2 / 3, abs=1e-12)
    assert boundary_measure(annotation, two, bound_th=1) == pytest.approx(2 / 3, abs=1e-12)


def test_boundary_measure_of_masks_without_boundary():
    mask = block(8, 12, slice(2, 5), slice(2, 5))
    assert boundary_measure(EMPTY, EMPTY) == 1
    assert boundary_measure(EMPTY, mask) == 0  # P = 1, R = 0
    assert boundary_measure(mask, EMPTY) == 0  # P = 0, R = 1
    assert boundary_measure(FULL, EMPTY) == 1  # neither has a boundary, although J = 0
    far_away = block(8, 12, slice(2, 5), slice(8, 11))
    assert boundary_measure(mask, far_away) == 0  # P = R = 0


def test_void_does_not_count():
    # Columns 2-4 and 8-10 of the annotation, 2-6 of the mask. Where 6-11 is void, 2-4 and 2-5 are
    # left: J = 3/4. Their east boundaries are columns 4 and 5: within 1 pixel, but not within 0.
    rows = slice(2, 5)
    annotation = block(8, 12, rows, slice(2, 5)) | block(8, 12, rows, slice(8, 11))
    mask = block(8, 12, rows, slice(2, 7))
    void = block(8, 12, slice(None), slice(6, None))
    assert region_similarity(mask, annotation, void) == 3 / 4
    assert boundary_measure(mask, annotation, bound_th=1, void=void) == 1
    assert boundary_measure(mask, annotation, bound_th=1) < 0.9
    # The mask cut at the void is the mask as far as it counts; so is one that fills the void.
    for same in (mask & ~void, mask | void):
        assert region_similarity(same, annotation, void) == 3 / 4
        assert boundary_measure(same, annotation, bound_th=1, void=void) == 1
    assert region_similarity(mask, annotation, FULL) == 1  # nothing counts
    with pytest.raises(ValueError, match=r"void should have shape \[8, 12\], got \[12, 8\]"):
        region_similarity(mask, annotation, void.T)


def test_radius_at_480p_is_8_pixels():
    # The diagonal of 480 x 854 is 979.7 pixels; 0.008 of it is 7.84, rounded up 8. The boundary
    # of "columns below c" is the line of column c - 1.
    left = block(480, 854, slice(None), slice(0, 400))
    assert boundary_measure(left, block(480, 854, slice(None), slice(0, 408))) == 1
    assert boundary_measure(left, block(480, 854, slice(None), slice(0, 409))) == 0


def slow_boundary(mask: np.ndarray) -> set[tuple[int, int]]:
    """The official rule, pixel by pixel."""
    height, width = mask.shape
    pixels = set()
    for y in range(height):
        for x in range(width):
            east = (y, x + 1) if x + 1 < width else None
            south = (y + 1, x) if y + 1 < height else None
            south_east = (y + 1, x + 1) if east and south else None
            # In the last row and column the neighbours outside do not count.
            neighbours = [pixel for pixel in (east, south, south_east) if pixel]
            if any(mask[y, x] != mask[pixel] for pixel in neighbours):
                pixels.add((y, x))
    return pixels


def slow_boundary_measure(mask: np.ndarray, annotation: np.ndarray, radius: int) -> float:
    def share_near(of: set[tuple[int, int]], to: set[tuple[int, int]]) -> float:
        near = [
            any((y - v) ** 2 + (x - u) ** 2 <= radius**2 for v, u in to) for y, x in of
        ]  # exact distances
        return sum(near) / len(near)

    ours, theirs = slow_boundary(mask), slow_boundary(annotation)
    precision, recall = share_near(ours, theirs), share_near(theirs, ours)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


@pytest.mark.parametrize("radius", [1, 2, 3, 5])
def test_boundary_measure_against_exact_distances(radius: int):
    rng = np.random.default_rng(radius)
    for _ in range(5):
        noise = cv2.GaussianBlur(rng.standard_normal((43, 61, 2)), (0, 0), 5)
        mask, annotation = noise[..., 0] > 0, noise[..., 1] > 0
        found = boundary_measure(mask, annotation, bound_th=radius)
        assert 0 < found < 1
        assert found == pytest.approx(slow_boundary_measure(mask, annotation, radius), abs=1e-12)


def test_statistics_by_hand():
    # n = 7: linspace(1, 7, 5) = 1, 2.5, 4, 5.5, 7, rounded half up 1, 3, 4, 6, 7. So the first bin
    # is frames 1-3 (mean 0.8), the last frames 6-7 (mean 0.2); 0.5 itself is not recalled.
    found = statistics([0.9, 0.8, 0.7, 0.5, 0.4, 0.3, 0.1])
    assert found.mean == pytest.approx(3.7 / 7)
    assert found.recall == pytest.approx(3 / 7)
    assert found.decay == pytest.approx(0.8 - 0.2)


def test_decay_does_not_wrap_at_256_frames():
    # n = 300: linspace(1, 300, 5) = 1, 75.75, 150.5, 225.25, 300, rounded 1, 76, 151, 225, 300.
    # Frame i (from 1) scores (i - 1) / 1000: the first bin's mean is (0 + 75) / 2 = 37.5, the
    # last's (224 + 299) / 2 = 261.5 thousandths. As uint8 the last index, 299, would become 43.
    found = statistics([i / 1000 for i in range(300)])
    assert found.decay == pytest.approx(0.0375 - 0.2615)


def test_statistics_of_few_frames():
    assert statistics([0.7]) == (0.7, 1.0, 0.0)
    assert statistics([1.0, 0.0]) == (0.5, 0.5, 1.0)
    with pytest.raises(ValueError, match="a number for each frame"):
        statistics([])


@pytest.mark.parametrize("measure", [region_similarity, boundary_measure])
def test_shapes_are_checked(measure):
    with pytest.raises(ValueError, match=r"got \[8, 12\] and \[12, 8\]"):
        measure(EMPTY, EMPTY.T)
    with pytest.raises(ValueError, match="height, width"):
        measure(EMPTY[..., None], EMPTY[..., None])
