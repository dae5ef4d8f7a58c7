"""The motion prior, as far as can be told without a video: what moves by itself is found."""

from pathlib import Path

import pytest
import torch

from graph_module.extensions.dominant_motion import dominant_motion
from graph_module.extensions.motion_prior import WEIGHTS, load_network, motion_prior, network_size
from ike_data.runtime.errors import InputError

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
    fwd, bwd = block_video()
    mirrored = [flow.flip(-1) * torch.tensor([-1.0, 1.0])[:, None, None] for flow in (fwd, bwd)]
    there, back = motion_prior(fwd, bwd), motion_prior(*mirrored).flip(-1)
    assert (there - back).abs().mean() < 0.02


def test_a_video_of_twice_the_size_has_the_same_prior():
    small = block_video()
    large = [2 * flow.repeat_interleave(2, -1).repeat_interleave(2, -2) for flow in small]
    enlarged = motion_prior(*small).repeat_interleave(2, -1).repeat_interleave(2, -2)
    assert (motion_prior(*large) - enlarged).abs().mean() < 0.01


def test_frames_are_looked_at_one_by_one():
    fwd, bwd = block_video(n_frames=5)
    torch.testing.assert_close(
        motion_prior(fwd, bwd, n_at_once=2), motion_prior(fwd, bwd), atol=1e-5, rtol=0
    )


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
    network = load_network()
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
        load_network(other)
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
