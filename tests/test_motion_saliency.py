"""The dominant motion and what departs from it, on flows that are known in closed form."""

from __future__ import annotations

import pytest
import torch

from graph_module.extensions.appearance import Appearance
from graph_module.extensions.dominant_motion import dominant_motion
from graph_module.extensions.frame_reliability import frame_reliability
from graph_module.extensions.motion_saliency import motion_saliency

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


def salient_parts(residuals, sizes):
    """Saliency of parts of a frame, and its scale, where scale = 0.8 of the salient mean."""
    scale = residuals.max()
    for _ in range(200):
        salient = residuals**2 / (residuals**2 + scale**2)
        scale = 0.8 * (sizes * salient * residuals).sum() / (sizes * salient).sum()
    return residuals**2 / (residuals**2 + scale**2), scale


def test_what_is_left_is_the_objects_own_motion():
    flow = with_object(camera_flow(1), 3.0, 4.0)[0]
    residual = (flow - dominant_motion(flow)).norm(dim=0)
    expected = torch.zeros(HEIGHT, WIDTH)
    expected[(..., *OBJECT)] = 5
    # Robust weights fall with the residual but are never 0: the object pulls a little.
    torch.testing.assert_close(residual, expected, atol=0.02, rtol=0)


def test_an_object_larger_than_the_background_is_still_the_object():
    """It fills two thirds of the frame, but its border belongs to the background."""
    flow = camera_flow(1)[0]
    flow[:, 10:55, 12:88] += torch.tensor([8.0, 0.0]).view(2, 1, 1)
    residual = (flow - dominant_motion(flow)).norm(dim=0)
    assert residual[20:50, 20:80].min() > 4
    assert residual[:8].max() < 1


@pytest.mark.parametrize("speed", [2.0, 30.0])
def test_slow_and_fast_objects_count_alike(speed):
    saliency = motion_saliency(
        with_object(camera_flow(3), -speed, 0), with_object(-camera_flow(3), speed, 0)
    )
    assert saliency.shape == (4, HEIGHT, WIDTH)
    # r^2 / (r^2 + (0.8 r)^2), where the noise is far below that.
    inside = saliency[(..., *OBJECT)]
    torch.testing.assert_close(inside, torch.full_like(inside, 1 / 1.64), atol=0.02, rtol=0)
    assert saliency[:, :15].max() < 0.01


@pytest.mark.parametrize(("pan", "counted"), [(4.0, 1 - 0.5 * 16 / 16.09), (0.0, 1.0)])
def test_what_goes_with_the_rest_but_faster_may_be_parallax(pan, counted):
    """It counts as so much of its residual, 3 pixels; the same the other way counts in full."""
    flow = torch.zeros(1, 2, HEIGHT, WIDTH)
    flow[:, 0] = pan
    flow[..., 0, 15:45, 20:40] -= 3
    flow[..., 0, 15:45, 60:80] += 3
    saliency = motion_saliency(flow, -flow)[0]
    residuals = torch.tensor([3.0, 3 * counted])  # of as many pixels each
    expected, scale = salient_parts(residuals, torch.tensor([1.0, 1.0]))
    assert scale > 1  # above the noise
    found = torch.stack([saliency[30, 30], saliency[30, 70]])
    torch.testing.assert_close(found, expected, atol=0.02, rtol=0)


def test_a_body_that_is_slower_than_its_limbs_is_salient():
    flow = torch.zeros(1, 2, HEIGHT, WIDTH)
    flow[:, 1, 15:35, 30:70] = 3  # the body
    flow[:, 1, 35:45, 30:40] = 10  # a leg of an eighth of its size
    saliency = motion_saliency(flow, -flow)[0]
    expected, _ = salient_parts(torch.tensor([3.0, 10.0]), torch.tensor([8.0, 1.0]))
    found = torch.stack([saliency[25, 50], saliency[40, 35]])
    torch.testing.assert_close(found, expected, atol=0.02, rtol=0)
    assert saliency[25, 50] > 0.3


def test_at_the_edge_of_the_frame_it_counts_half():
    flow = torch.zeros(1, 2, HEIGHT, WIDTH)
    flow[:, 0, 25:35] = 4  # from the left edge to the right
    saliency = motion_saliency(flow, -flow)[0, 30]
    reach = 0.1 * HEIGHT
    share = 0.5 + 0.5 * ((torch.arange(WIDTH // 2) + 0.5) / reach).clamp(max=1)
    torch.testing.assert_close(saliency[: WIDTH // 2], share * saliency[WIDTH // 2])
    torch.testing.assert_close(saliency, saliency.flip(0))


def test_frames_are_reliable_in_which_something_moves_by_itself():
    noise = 0.05 * torch.randn(4, 2, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(0))
    fwd, bwd = camera_flow(4) + noise, noise - camera_flow(4)
    fwd[:2], bwd[:2] = with_object(fwd[:2], -5, 0), with_object(bwd[:2], 5, 0)
    saliency = motion_saliency(fwd, bwd)
    masks = torch.zeros(5, HEIGHT, WIDTH)
    masks[(slice(None), *OBJECT)] = 1
    reliability = frame_reliability(saliency, masks)
    assert reliability.shape == (5,)
    assert reliability[:2].min() > 0.95  # frame 2 has it behind and not ahead
    assert reliability[3:].max() < Appearance.least_reliability / 10
    saliency = motion_saliency(with_object(camera_flow(1), -5, 0), camera_flow(1))
    assert frame_reliability(saliency, 1 - masks[:2])[0] < 0.01  # the opposite of what moves


def test_reliability_is_of_what_is_salient_and_of_its_share_in_the_mask():
    saliency = torch.tensor([[[0.6, 0.4, 0.03], [0.9, 0.03, 0.03]]])
    masks = torch.tensor([[[0.49, 0.0, 0.5], [0.2, 0.8, 1.0]]])  # 0.5 is inside
    own = (0.6**2 + 0.4**2 + 0.9**2 + 3 * 0.03**2) / (0.6 + 0.4 + 0.9 + 3 * 0.03)
    agreement = 0.03 / (0.03 + (0.6 + 0.4 + 0.9) / 3)  # 0.045
    expected = own**8 / (own**8 + 0.35**8) * agreement**8 / (agreement**8 + 0.05**8)
    assert 0.2 < expected < 0.4
    torch.testing.assert_close(frame_reliability(saliency, masks), torch.tensor([expected]))


def test_a_mask_of_nothing_or_of_everything_is_not_reliable():
    saliency = torch.full((2, HEIGHT, WIDTH), 0.6)
    masks = torch.zeros(2, HEIGHT, WIDTH)
    masks[1] = 1
    assert frame_reliability(saliency, masks).tolist() == [0, 0]
    assert frame_reliability(torch.zeros(2, HEIGHT, WIDTH), masks).tolist() == [0, 0]


def test_both_directions_count_half():
    saliency = motion_saliency(with_object(camera_flow(2), -5, 0), -camera_flow(2))
    expected = torch.tensor([1.0, 0.5, 0.0]) / 1.64  # first frame forward, last frame backward
    torch.testing.assert_close(saliency[:, 30, 45], expected, atol=0.02, rtol=0)


def test_a_consistent_direction_counts_for_more():
    """The object is seen to move forward alone; there both flows agree, backward they do not."""
    fwd, bwd = torch.zeros(2, 2, HEIGHT, WIDTH), torch.zeros(2, 2, HEIGHT, WIDTH)
    fwd[(1, 0, *OBJECT)] = 5  # from frame 1 to 2
    bwd[1, 0, 20:45, 35:65] = -5  # and back, from where it then is
    bwd[(0, 1, *OBJECT)] = 40  # from frame 1 to 0 it is wrong
    saliency = motion_saliency(fwd, bwd)
    assert saliency[1, 30, 45] > 0.95 / 1.64
    backward_only = motion_saliency(torch.zeros_like(fwd), bwd)
    # Both are inconsistent: they count alike.
    assert backward_only[1, 30, 45] == pytest.approx(0.5 / 1.64, abs=0.02)


def test_noise_alone_stays_dark():
    noise = 0.05 * torch.randn(3, 2, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(0))
    assert motion_saliency(camera_flow(3) + noise, noise - camera_flow(3)).max() < 0.4


@pytest.mark.parametrize("size", [(8, 8), (8, 31), (61, 9)])
def test_small_and_odd_frames(size):
    still = torch.zeros(2, 2, *size)
    assert (motion_saliency(still, still) == 0).all()
    alone = motion_saliency(torch.zeros(0, 2, *size), torch.zeros(0, 2, *size))
    assert torch.equal(alone, torch.zeros(1, *size))
