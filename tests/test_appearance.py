"""Masks that colour and position explain."""

from __future__ import annotations

import math

import pytest
import torch

from graph_module.extensions.appearance import (
    Appearance,
    appearance_masks,
    descriptors,
    fourier_features,
)

N_FRAMES, HEIGHT, WIDTH = 7, 48, 80
N_FOURIER, RIDGE = Appearance.n_fourier, Appearance.ridge


def red_square_on_green() -> tuple[torch.Tensor, torch.Tensor]:
    """uint8 [n, 3, H, W] and its masks [n, H, W]; the square moves by 3 pixels a frame."""
    noise = torch.randint(
        0, 40, (N_FRAMES, 3, HEIGHT, WIDTH), generator=torch.Generator().manual_seed(0)
    )
    video = noise + torch.tensor([30, 140, 40]).view(1, 3, 1, 1)
    masks = torch.zeros(N_FRAMES, HEIGHT, WIDTH)
    for idx in range(N_FRAMES):
        masks[idx, 12:32, 15 + 3 * idx : 39 + 3 * idx] = 1
    square = masks.bool()[:, None].expand_as(video)
    red = noise + torch.tensor([190, 40, 40]).view(1, 3, 1, 1)
    return torch.where(square, red, video).to(torch.uint8), masks


def overlap(mask: torch.Tensor, other: torch.Tensor) -> float:
    a, b = mask >= 0.5, other >= 0.5
    return ((a & b).sum() / (a | b).sum()).item()


def test_a_frame_without_mask_is_filled_in_by_the_others():
    video, masks = red_square_on_green()
    given = masks.clone()
    given[3] = 0
    found = appearance_masks(video, given)
    assert found.shape == masks.shape
    assert found.min() >= 0 and found.max() <= 1
    assert all(overlap(f, m) > 0.9 for f, m in zip(found, masks, strict=True))


def test_a_mask_that_spills_over_is_cut_at_the_colours_edge():
    video, masks = red_square_on_green()
    given = masks.clone()
    given[2, 5:40, 10:60] = 1
    assert overlap(given[2], masks[2]) < 0.3
    assert overlap(appearance_masks(video, given)[2], masks[2]) > 0.9


def test_reliability_counts_by_its_ratio_alone():
    video, masks = red_square_on_green()
    expected = appearance_masks(video, masks)
    for reliability in (torch.ones(N_FRAMES), torch.full((N_FRAMES,), 2.0**-20)):
        torch.testing.assert_close(
            appearance_masks(video, masks, reliability=reliability), expected, atol=1e-4, rtol=0
        )
    reliability = torch.tensor([1.0, 1.0, 0.5, 1.0, 0.25, 0.0, 1.0])
    found, other = (
        appearance_masks(video, masks, reliability=t) for t in (reliability, reliability * 2.0**-20)
    )
    torch.testing.assert_close(found, other, atol=1e-4, rtol=0)


def test_where_no_frame_is_reliable_all_count_alike():
    video, masks = red_square_on_green()
    found = appearance_masks(video, masks, reliability=torch.zeros(N_FRAMES))
    assert torch.equal(found, appearance_masks(video, masks))


def test_unreliable_frames_are_as_if_they_were_left_out():
    video, masks = red_square_on_green()
    reliability = torch.tensor([1.0, 0.5, 0.0, 0.0, 0.0, 1.0, 0.9])
    kept = reliability > 0
    found = appearance_masks(video, masks, Appearance(reach=2), reliability=reliability)[kept]
    expected = appearance_masks(
        video[kept], masks[kept], Appearance(reach=2), reliability=reliability[kept]
    )
    assert torch.equal(found, expected)


def test_a_pause_longer_than_the_window_learns_from_before_and_after_it():
    """A frame in it learns from the nearest reliable ones, however far they are."""
    video, masks = red_square_on_green()
    still = 20 * [3]
    order = [0, 1, 2, *still, 4, 5, 6]
    given = masks[order]
    given[3:23] = torch.rand(given[3:23].shape, generator=torch.Generator().manual_seed(1))
    reliability = torch.ones(len(order))
    reliability[3:23] = 1e-9
    found = appearance_masks(video[order], given, Appearance(reach=2), reliability=reliability)
    assert all(overlap(f, m) > 0.9 for f, m in zip(found, masks[order], strict=True))


def test_only_frames_in_the_window_count():
    video, masks = red_square_on_green()
    changed = masks.clone()
    changed[6] = 0
    before, after = (appearance_masks(video, m, Appearance(reach=2)) for m in (masks, changed))
    torch.testing.assert_close(before[:4], after[:4])
    assert not torch.equal(before[4], after[4])


def test_a_frame_is_judged_as_if_the_video_were_the_frames_around_it(monkeypatch):
    monkeypatch.setattr("graph_module.extensions.appearance.FRAMES_AT_ONCE", 2)
    video, masks = red_square_on_green()
    found = appearance_masks(video, masks, Appearance(reach=1))
    for idx in range(N_FRAMES):
        around = slice(max(idx - 1, 0), idx + 2)
        alone = appearance_masks(video[around], masks[around], Appearance(reach=1))[min(idx, 1)]
        torch.testing.assert_close(found[idx], alone, atol=2e-3, rtol=0)


def test_few_of_the_pixels_are_enough_to_learn_from():
    video, masks = red_square_on_green()
    found = appearance_masks(video, masks, Appearance(n_sampled=200))
    assert not torch.equal(found, appearance_masks(video, masks))
    assert all(overlap(f, m) > 0.9 for f, m in zip(found, masks, strict=True))


def test_the_kernel_is_gaussian_in_widths_of_lab_and_position():
    """Of pairs of pixels up to 2 widths apart in each coordinate, within the error of D features.

    z z' is a mean of D numbers of at most 2, whose variance is below 1.
    """
    rgb = torch.tensor([[255, 0, 0], [128, 128, 128]], dtype=torch.uint8)  # red, grey
    frame = rgb.T[:, :, None].repeat(1, 1, 20)  # [3, 2, 20]
    found = descriptors(frame[None], Appearance())[0]
    lab = torch.tensor([[53.24, 80.09, 67.20], [53.59, 0.0, 0.0]])  # of CIE, D65
    expected = torch.cat([lab / torch.tensor([20.0, 10, 10]), torch.zeros(2, 2)], dim=1)
    expected[1, 4] = 1 / (0.3 * 2)
    torch.testing.assert_close(found[:, 0], expected, atol=0.03, rtol=0)
    assert found[0, 13, 3].item() == pytest.approx(13 / (0.3 * 2))

    pixels = 2 * torch.rand(200, 5, generator=torch.Generator().manual_seed(1))
    z = _fourier(pixels)
    error = z @ z.T - torch.exp(-(torch.cdist(pixels, pixels) ** 2) / 2)
    assert error.std() < 1 / math.sqrt(N_FOURIER)
    assert error.abs().max() < 5 / math.sqrt(N_FOURIER)


def test_it_is_cut_half_way_to_fishers_discriminant():
    """By least squares on the features themselves, all pixels of all frames being one window."""
    video, masks = red_square_on_green()
    video, masks = video[:2], masks[:2].clone()
    masks[:, 20:] = 0  # half of the square is taken for background, so that nothing separates them
    found = appearance_masks(video, masks, Appearance(sigma=1e9))
    z = torch.stack([_fourier_of(frame) for frame in video]).unflatten(1, (HEIGHT, WIDTH))
    sampled, labels = (t.flatten(0, 2) for t in (z, masks))
    labels = labels.double()
    weights = torch.linalg.lstsq(
        torch.cat([sampled, math.sqrt(RIDGE) * torch.eye(N_FOURIER).double()]),
        torch.cat([labels - 0.5, torch.zeros(N_FOURIER)]),
    ).solution
    middle = sum((sampled @ weights + 0.5)[labels == label].mean() for label in (0, 1)) / 2
    assert 0.1 < middle < 0.49
    expected = (z @ weights + 0.5 + (0.5 - middle) / 2).clamp(0, 1)
    torch.testing.assert_close(found, expected.float(), atol=2e-3, rtol=0)


@pytest.mark.parametrize(
    ("reliability", "idx", "distances"),
    [
        ((1, 1, 1, 1), 0, (0, 1, 2, 3)),
        ((1, 0.25, 0.5, 1), 0, (0, 1, 2, 3)),
        ((1, 1, 0, 1, 1), 2, (-1.5, -0.5, 0.5, 1.5)),
        ((0, 0, 1, 1, 1, 1), 0, (0.5, 1.5, 2.5, 3.5)),
    ],
)
def test_near_frames_count_for_more(reliability, idx, distances):
    """The same frame with contradictory labels; weights are e^(-k^2 / 2) times reliability.

    A frame whose own labels are unreliable stands half way between those beside it.
    """
    n_frames, reliability = len(reliability), torch.tensor(reliability).float()
    frame = red_square_on_green()[0][:1].expand(n_frames, -1, -1, -1)
    masks = torch.zeros(n_frames, HEIGHT, WIDTH)
    masks[: int(reliability.nonzero()[0]) + 1, 12:32, 15:39] = 1  # up to the first that counts
    found = appearance_masks(frame, masks, Appearance(sigma=1.0), reliability=reliability)[idx]
    z = _fourier_of(frame[0])  # [H W, N_FOURIER]
    gaussian = torch.tensor([math.exp(-k * k / 2) for k in distances]).double()
    weights = gaussian * reliability[reliability > 0]
    weights *= gaussian.sum() / weights.sum()
    label = masks[0].flatten().double()
    gram = weights.sum() * z.T @ z + RIDGE * torch.eye(N_FOURIER)
    moments = weights[0] * z.T @ label - 0.5 * weights.sum() * z.sum(0)
    value = z @ torch.linalg.solve(gram, moments) + 0.5
    share = weights[0] / weights.sum()  # of the windows' labels that are object there
    object_mean = value[label == 1].mean()
    n_object, n_all = share * label.sum(), len(label)
    background_mean = (value.sum() - share * value[label == 1].sum()) / (n_all - n_object)
    cut = 0.25 + (object_mean + background_mean) / 4
    expected = (value + 0.5 - cut).clamp(0, 1).view(HEIGHT, WIDTH)
    torch.testing.assert_close(found, expected.float(), atol=2e-3, rtol=0)


def _fourier(pixels: torch.Tensor) -> torch.Tensor:
    """z of descriptors, [K, 5] -> [K, N_FOURIER]."""
    frequencies, phases = fourier_features(N_FOURIER, pixels)
    return math.sqrt(2 / N_FOURIER) * (pixels @ frequencies + phases).cos().double()


def _fourier_of(frame: torch.Tensor) -> torch.Tensor:
    return _fourier(descriptors(frame[None], Appearance()).flatten(0, 2))


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_constant_masks_stay(value):
    video = red_square_on_green()[0][:2]
    found = appearance_masks(video, torch.full((2, HEIGHT, WIDTH), value))
    torch.testing.assert_close(found, torch.full_like(found, value), atol=0.1, rtol=0)
