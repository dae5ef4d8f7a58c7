"""The guided filter against a least-squares fit in each window, and what it does to a mask."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from ike_data.guided_filter import follow_edges, guided_filter


def naive_coefficients(
    guide: np.ndarray, mask: np.ndarray, radius: int, epsilon: float
) -> np.ndarray:
    """Fit a . I + b to the mask in each window by ridge regression; the mean of a and b over the
    windows around each pixel, [H, W, 4]. guide [H, W, 3], mask [H, W], float64."""
    height, width = mask.shape
    fits = {}
    for y in range(height):
        for x in range(width):
            window = np.s_[max(y - radius, 0) : y + radius + 1, max(x - radius, 0) : x + radius + 1]
            colours, values = guide[window].reshape(-1, 3), mask[window].ravel()
            design = np.hstack([colours, np.ones((len(values), 1))])
            # The penalty on a, of |window| epsilon; none on b.
            rows = np.sqrt(len(values) * epsilon) * np.eye(3, 4)
            target = np.concatenate([values, np.zeros(3)])
            fits[y, x] = np.linalg.lstsq(np.vstack([design, rows]), target, rcond=None)[0]
    means = np.empty((height, width, 4))
    for y in range(height):
        for x in range(width):
            around = [
                fits[i, j]
                for i in range(max(y - radius, 0), min(y + radius + 1, height))
                for j in range(max(x - radius, 0), min(x + radius + 1, width))
            ]
            means[y, x] = np.mean(around, axis=0)
    return means


def filtered(guide: torch.Tensor, mask: torch.Tensor, **settings: float) -> torch.Tensor:
    """The filter of one frame and one mask."""
    return guided_filter(guide[None], mask[None], **settings)[0]


def applied(coefficients: np.ndarray, guide: np.ndarray) -> np.ndarray:
    return (coefficients[..., :3] * guide).sum(-1) + coefficients[..., 3]


GUIDES = {
    "colours": lambda frame: frame,
    "grey": lambda frame: frame[:1].expand(3, -1, -1),  # only epsilon keeps the fits apart
    "plain": lambda frame: torch.full_like(frame, 0.5),
}


@pytest.mark.parametrize(
    ("guide_of", "epsilon", "atol"),
    [("colours", 0.01, 2e-4), ("grey", 1e-4, 2e-3), ("plain", 1e-3, 2e-4)],
)
@pytest.mark.parametrize(
    ("height", "width", "radius"), [(9, 13, 2), (8, 6, 1), (3, 5, 4), (1, 1, 4), (1, 30, 4)]
)
def test_it_is_the_mean_of_ridge_regressions_in_windows(
    height, width, radius, guide_of, epsilon, atol
):
    generator = torch.Generator().manual_seed(0)
    guide = GUIDES[guide_of](torch.rand(3, height, width, generator=generator))
    mask = torch.rand(height, width, generator=generator)
    found = filtered(guide, mask, radius=radius, epsilon=epsilon)
    colours = guide.permute(1, 2, 0).double().numpy()
    expected = naive_coefficients(colours, mask.double().numpy(), radius, epsilon)
    np.testing.assert_allclose(found.numpy(), applied(expected, colours), atol=atol)


@pytest.mark.parametrize(("height", "width", "radius"), [(10, 14, 2), (12, 8, 1)])
def test_coefficients_of_a_smaller_mask_are_interpolated(height, width, radius):
    generator = torch.Generator().manual_seed(0)
    guide = torch.rand(3, height, width, generator=generator)
    mask = torch.rand(height // 2, width // 2, generator=generator)
    found = filtered(guide, mask, radius=radius, epsilon=0.01)
    colours = guide.permute(1, 2, 0).double().numpy()
    small = cv2.resize(colours, mask.shape[::-1], interpolation=cv2.INTER_AREA)
    coefficients = naive_coefficients(small, mask.double().numpy(), radius, 0.01)
    coefficients = cv2.resize(coefficients, (width, height), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_allclose(found.numpy(), applied(coefficients, colours), atol=2e-4)


@pytest.mark.parametrize("shrink", [1, 2])
def test_a_mask_that_misses_an_edge_is_moved_to_it(shrink):
    video = torch.zeros(2, 3, 40, 60, dtype=torch.uint8)
    video[:, :, :, 30:] = 200
    masks = torch.zeros(2, 40, 60)
    masks[0, :, 31:] = 1  # too small
    masks[1, :, 29:] = 1  # too large
    masks = masks[:, ::shrink, ::shrink]
    found = follow_edges(video, masks) >= 0.5
    assert torch.equal(found, video[:, 0] > 0)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_constant_masks_stay(value):
    generator = torch.Generator().manual_seed(0)
    video = torch.randint(0, 256, (2, 3, 20, 30), generator=generator, dtype=torch.uint8)
    masks = torch.full((2, 20, 30), value)
    torch.testing.assert_close(follow_edges(video, masks), masks, atol=1e-3, rtol=0)
