"""graph_module.extensions.motion_evidence: which of two maps of motion is believed."""

from __future__ import annotations

import torch

from graph_module.extensions.appearance import Appearance
from graph_module.extensions.motion_evidence import explained, motion_evidence

HEIGHT, WIDTH, N_FRAMES = 32, 48, 20


def scene():
    """A red square that moves over grey, and its masks; shadows anywhere, and their masks."""
    generator = torch.Generator().manual_seed(0)
    video = torch.randint(100, 130, (N_FRAMES, 3, HEIGHT, WIDTH), generator=generator)
    square, shadows = torch.zeros(2, N_FRAMES, HEIGHT, WIDTH)
    for idx in range(N_FRAMES):
        left = 4 + idx
        video[idx, 0, 8:20, left : left + 12] = 230
        square[idx, 8:20, left : left + 12] = 1
        top, left = (int(torch.randint(0, size, (), generator=generator)) for size in (20, 36))
        shadows[idx, top : top + 12, left : left + 12] = 1
    return video.to(torch.uint8), square, shadows


def test_colour_explains_an_object_and_not_what_is_anywhere():
    video, square, shadows = scene()
    assert explained(video, square, Appearance()).min() > 0.9
    assert explained(video, shadows, Appearance()).mean() < 0.4
    assert (explained(video, torch.zeros_like(square), Appearance()) == 0).all()


def test_the_map_that_colour_explains_is_believed():
    video, square, shadows = scene()
    for maps in ((square, shadows), (shadows, square)):
        evidence = motion_evidence(video, *maps)
        assert evidence[square == 1].min() > 0.9
        assert evidence[square == 0].max() < 0.1


def test_each_frame_has_the_map_that_is_right_there():
    """As where the camera begins to travel, and the saliency finds its parallax."""
    video, square, shadows = scene()
    half = N_FRAMES // 2
    first = torch.cat([square[:half], shadows[half:]])
    second = torch.cat([shadows[:half], square[half:]])
    evidence = motion_evidence(video, first, second)
    for frames in (slice(0, half - 5), slice(half + 5, None)):
        assert evidence[frames][square[frames] == 1].min() > 0.6
        assert evidence[frames][square[frames] == 0].max() < 0.4


def test_maps_of_which_nothing_is_known_count_alike():
    video, square, _ = scene()
    evidence = motion_evidence(video, 0.4 * square, 0.2 * square)
    torch.testing.assert_close(evidence, 0.3 * square)
