"""The motion prior, as far as can be told without a video: what moves by itself is found."""

from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from graph_module import GraphSettings, segment
from graph_module.extensions.dominant_motion import dominant_motion
from graph_module.extensions.motion_prior import WEIGHTS, load_network, motion_prior, network_size
from ike_data.runtime.errors import InputError
from make_synthetic_video import SyntheticFrame, synthetic_video

ROWS, COLUMNS = slice(40, 90), slice(60, 130)  # of the block


def block_video(n_frames: int = 3, size: tuple[int, int] = (120, 208)) -> tuple[torch.Tensor, ...]:
    """Flow of a camera that pans, and of a block that it follows: (u, v) = (4, 1) and (0.5, 0)."""
    fwd = torch.tensor([4.0, 1.0])[None, :, None, None].repeat(n_frames - 1, 1, *size)
    fwd[:, :, ROWS, COLUMNS] = torch.tensor([0.5, 0.0])[:, None, None]
    return fwd, -fwd


def test_a_block_that_moves_by_itself_is_found_in_each_frame():
    prior = motion_prior(*block_video(n_frames=4))
    assert prior.shape == (4, 120, 208)
    inside, outside = prior[:, ROWS, COLUMNS], prior.clone()
    outside[:, 30:100, 50:140] = 0  # but for the block's rim
    assert (inside.mean((1, 2)) > 0.8).all()
    assert (outside.mean((1, 2)) < 0.05).all()


def test_a_mirrored_video_has_the_mirrored_prior():
    fwd, bwd = block_video(n_frames=4)
    mirrored = [flow.flip(-1) * torch.tensor([-1.0, 1.0])[:, None, None] for flow in (fwd, bwd)]
    there, back = motion_prior(fwd, bwd), motion_prior(*mirrored).flip(-1)
    # The first and the last frame are seen from one side only, and less surely.
    assert (there - back)[1:-1].abs().mean() < 0.02


def test_a_video_of_twice_the_size_has_the_same_prior():
    small = block_video()
    large = [2 * flow.repeat_interleave(2, -1).repeat_interleave(2, -2) for flow in small]
    enlarged = motion_prior(*small).repeat_interleave(2, -1).repeat_interleave(2, -2)
    assert (motion_prior(*large) - enlarged).abs().mean() < 0.01


def test_a_frame_is_seen_with_its_two_neighbours_alone():
    fwd, bwd = block_video(n_frames=10)  # more than are looked at together
    whole = motion_prior(fwd, bwd)
    for idx in range(1, 9):
        alone = motion_prior(fwd[idx - 1 : idx + 1], bwd[idx - 1 : idx + 1])[1]
        torch.testing.assert_close(alone, whole[idx], atol=1e-5, rtol=0)


@pytest.mark.parametrize("size", [(3, 7), (200, 20), (17, 300)])
def test_any_size(size):
    flow = torch.randn(1, 2, *size)
    prior = motion_prior(flow, -flow)
    assert prior.shape == (2, *size)
    assert ((prior >= 0) & (prior <= 1)).all()


def test_one_frame_has_no_motion():
    flow = torch.empty(0, 2, 6, 8)
    assert torch.equal(motion_prior(flow, flow), torch.zeros(1, 6, 8))


def test_the_network_sees_a_frame_in_its_own_proportions():
    assert network_size(120, 208) == (120, 208)
    assert network_size(480, 832) == (120, 208)
    assert network_size(832, 480) == (208, 120)


def test_the_network_and_its_file_are_small():
    network = load_network(torch.device("cpu"))
    assert sum(weight.numel() for weight in network.parameters()) <= 2.5e6
    assert WEIGHTS.stat().st_size <= 5e6


@pytest.mark.parametrize("damage", ["changed", "missing"])
def test_other_weights_are_refused(tmp_path: Path, damage: str):
    other = tmp_path / "motion_prior.pth"
    if damage == "changed":
        content = bytearray(WEIGHTS.read_bytes())
        content[len(content) // 2] ^= 1
        other.write_bytes(content)
    with pytest.raises(InputError, match=r"motion_prior\.pth: .* motion_prior = no") as caught:
        load_network(torch.device("cpu"), path=other)
    assert "\n" not in str(caught.value)
    assert ("no such file" in str(caught.value)) == (damage == "missing")


def test_dominant_motion_of_many_fields_is_that_of_each():
    fields = torch.randn(2, 3, 2, 40, 60, generator=torch.Generator().manual_seed(1))
    each = torch.stack([dominant_motion(field) for field in fields.flatten(0, 1)])
    torch.testing.assert_close(dominant_motion(fields).flatten(0, 1), each)


@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_frames_without_motion_have_no_prior(noise):
    generator = torch.Generator().manual_seed(0)
    fwd, bwd = 3 + noise * torch.randn(2, 2, 2, 48, 80, generator=generator)  # the camera pans
    assert not motion_prior(fwd, -bwd).any()


def test_the_exact_flow_is_no_worse_than_dis_flow():
    # A good RAFT gives nearly the exact flow. The prior has learnt from blurred and from DIS flow.
    frames = list(synthetic_video(7, 96, 168, seed=2))
    video = torch.from_numpy(np.stack([frame.image for frame in frames])).permute(0, 3, 1, 2)
    truth = torch.from_numpy(np.stack([frame.mask for frame in frames])) > 0
    priors, graphs = [], []
    for fwd, bwd in (exact_flow(frames), dis_flow(frames)):
        masks = segment(fwd, bwd, video=video, settings=GraphSettings.with_extensions())
        priors.append(overlap(motion_prior(fwd, bwd), truth))
        graphs.append(overlap(masks, truth))
    assert priors[0] > max(0.9, priors[1])
    assert graphs[0] > max(0.97, graphs[1] - 0.01)


def overlap(soft_masks: torch.Tensor, truth: torch.Tensor) -> float:
    """Mean J over the frames."""
    masks = soft_masks >= 0.5
    return ((masks & truth).sum((1, 2)) / (masks | truth).sum((1, 2))).mean().item()


def exact_flow(frames: list[SyntheticFrame]) -> tuple[torch.Tensor, torch.Tensor]:
    """The generator's, which is affine on the object and around it; and its inverse."""
    fwd = np.stack([frame.flow for frame in frames[:-1]])
    bwd = np.empty_like(fwd)
    y, x = np.indices(frames[0].mask.shape)
    points = np.stack([x, y, np.ones_like(x)], axis=-1)  # [H, W, 3]
    for idx, (now, after) in enumerate(pairwise(frames)):
        for value in (0, 255):
            inside = now.mask == value
            ends = points[inside][:, :2] + now.flow[inside]
            affine = np.linalg.lstsq(points[inside], ends, rcond=None)[0].T  # [2, 3]
            inverse = np.linalg.inv(np.vstack([affine, (0, 0, 1)]))[:2]
            there = after.mask == value
            bwd[idx][there] = points[there] @ inverse.T - points[there][:, :2]
    return as_flow(fwd), as_flow(bwd)


def dis_flow(frames: list[SyntheticFrame]) -> tuple[torch.Tensor, torch.Tensor]:
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    pairs = list(pairwise(cv2.cvtColor(frame.image, cv2.COLOR_RGB2GRAY) for frame in frames))
    start = np.zeros((*frames[0].mask.shape, 2), np.float32)
    fwd = np.stack([dis.calc(now, after, start.copy()) for now, after in pairs])
    bwd = np.stack([dis.calc(after, now, start.copy()) for now, after in pairs])
    return as_flow(fwd), as_flow(bwd)


def as_flow(flow: np.ndarray) -> torch.Tensor:
    """[n, H, W, 2] -> [n, 2, H, W]"""
    return torch.from_numpy(flow).permute(0, 3, 1, 2).contiguous()
