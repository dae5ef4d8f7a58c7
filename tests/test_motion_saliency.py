"""The dominant motion and what departs from it, on flows that are known in closed form."""

from __future__ import annotations

import pytest
import torch

from graph_module.motion_saliency import dominant_motion, motion_saliency

HEIGHT, WIDTH = 60, 100
OBJECT = (slice(20, 45), slice(30, 60))


def camera_flow(n_pairs: int) -> torch.Tensor:
    """Pan, zoom, turn and a quadratic part; [n_pairs, 2, HEIGHT, WIDTH]."""
    y, x = torch.meshgrid(
        torch.linspace(-1, 1, HEIGHT), torch.linspace(-1, 1, WIDTH), indexing="ij"
    )
    u = 6 + 2 * x - 1.5 * y + 0.7 * x * x - 0.4 * x * y
    v = -3 + 1.5 * x + 2 * y + 0.7 * x * y - 0.4 * y * y
    return torch.stack([u, v]).repeat(n_pairs, 1, 1, 1)


def with_object(flow: torch.Tensor, u: float, v: float) -> torch.Tensor:
    flow = flow.clone()
    flow[(..., *OBJECT)] += torch.tensor([u, v]).view(2, 1, 1)
    return flow


def test_what_is_left_is_the_objects_own_motion():
    flow = with_object(camera_flow(2), 3.0, 4.0)
    residual = (flow - dominant_motion(flow)).norm(dim=1)
    expected = torch.zeros(2, HEIGHT, WIDTH)
    expected[(..., *OBJECT)] = 5
    # Robust weights fall with the residual but are never 0: the object pulls a little.
    torch.testing.assert_close(residual, expected, atol=0.02, rtol=0)


def test_an_object_larger_than_the_background_is_still_the_object():
    """It fills two thirds of the frame, but its border belongs to the background."""
    flow = camera_flow(1)
    flow[..., 10:55, 12:88] += torch.tensor([8.0, 0.0]).view(2, 1, 1)
    residual = (flow - dominant_motion(flow))[0].norm(dim=0)
    assert residual[20:50, 20:80].min() > 4
    assert residual[:8].max() < 1


@pytest.mark.parametrize("speed", [2.0, 30.0])
def test_slow_and_fast_objects_count_alike(speed):
    saliency = motion_saliency(
        with_object(camera_flow(3), -speed, 0), with_object(-camera_flow(3), speed, 0)
    )
    assert saliency.shape == (4, HEIGHT, WIDTH)
    # r^2 / (r^2 + (0.6 r)^2), where the noise is far below that.
    inside = saliency[(..., *OBJECT)]
    torch.testing.assert_close(inside, torch.full_like(inside, 1 / 1.36), atol=0.02, rtol=0)
    assert saliency[:, :15].max() < 0.01


@pytest.mark.parametrize(("pan", "counted"), [(4.0, 1 - 0.5 * 16 / 16.09), (0.0, 1.0)])
def test_what_goes_with_the_rest_but_faster_may_be_parallax(pan, counted):
    """It counts as so much of its residual, 3 pixels; the same the other way counts in full."""
    flow = torch.zeros(1, 2, HEIGHT, WIDTH)
    flow[:, 0] = pan
    flow[..., 0, 15:45, 20:40] -= 3
    flow[..., 0, 15:45, 60:80] += 3
    saliency = motion_saliency(flow, -flow)[0]
    r, scale = 3 * counted, 0.6 * 3
    assert saliency[30, 30] == pytest.approx(1 / 1.36, abs=0.02)
    assert saliency[30, 70] == pytest.approx(r**2 / (r**2 + scale**2), abs=0.02)


def test_both_directions_count_half():
    saliency = motion_saliency(with_object(camera_flow(2), -5, 0), -camera_flow(2))
    expected = torch.tensor([1.0, 0.5, 0.0]) / 1.36  # first frame forward, last frame backward
    torch.testing.assert_close(saliency[:, 30, 45], expected, atol=0.02, rtol=0)


def test_a_consistent_direction_counts_for_more():
    """The object is seen to move forward alone; there both flows agree, backward they do not."""
    fwd, bwd = torch.zeros(2, 2, HEIGHT, WIDTH), torch.zeros(2, 2, HEIGHT, WIDTH)
    fwd[(1, 0, *OBJECT)] = 5  # from frame 1 to 2
    bwd[1, 0, 20:45, 35:65] = -5  # and back, from where it then is
    bwd[(0, 1, *OBJECT)] = 40  # from frame 1 to 0 it is wrong
    saliency = motion_saliency(fwd, bwd)
    assert saliency[1, 30, 45] > 0.95 / 1.36
    backward_only = motion_saliency(torch.zeros_like(fwd), bwd)
    # Both are inconsistent: they count alike.
    assert backward_only[1, 30, 45] == pytest.approx(0.5 / 1.36, abs=0.02)


def test_noise_alone_stays_dark():
    noise = 0.05 * torch.randn(3, 2, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(0))
    assert motion_saliency(camera_flow(3) + noise, noise - camera_flow(3)).max() < 0.4


@pytest.mark.parametrize("size", [(8, 8), (8, 31), (61, 9)])
def test_small_and_odd_frames(size):
    still = torch.zeros(2, 2, *size)
    assert (motion_saliency(still, still) == 0).all()
    alone = motion_saliency(torch.zeros(0, 2, *size), torch.zeros(0, 2, *size))
    assert torch.equal(alone, torch.zeros(1, *size))
