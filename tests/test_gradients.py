"""network_module.gradients: a batch whose frames are shared among cores."""

from __future__ import annotations

import pytest
import torch

from network_module.extensions.confidence_weights import confident_losses
from network_module.gradients import set_gradients
from network_module.losses import paper_losses
from network_module.unet import seeded_unet


@pytest.fixture(params=[1, 2, 3])
def n_cores(request, n_threads_restored):
    torch.set_num_threads(request.param)
    return request.param


def batch(n_frames: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The channels of a pixel lie beside each other, so those of a gradient may, too."""
    generator = torch.Generator().manual_seed(0)
    frames = torch.rand(n_frames, 32, 48, 3, generator=generator).permute(0, 3, 1, 2)
    return frames, torch.rand(n_frames, 32, 48, generator=generator)


@pytest.mark.parametrize("losses_of", [paper_losses, confident_losses])
def test_parts_of_a_batch_give_the_gradients_of_the_whole(losses_of, n_cores):
    """3 frames on 2 cores are not split."""
    network = seeded_unet(2, seed=0).double()
    frames, masks = (values.double() for values in batch(3))
    losses = losses_of(network(frames), masks)
    losses.sum().backward()
    expected = [parameter.grad for parameter in network.parameters()]

    found = set_gradients(network, frames, masks, losses_of, bf16=False)
    torch.testing.assert_close(found, losses.detach(), rtol=1e-6, atol=0)
    for parameter, gradient in zip(network.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-3, atol=1e-7)
        assert parameter.grad.stride() == parameter.stride()


def test_in_bf16_the_same_gradients_each_time(n_cores):
    network, data = seeded_unet(2, seed=0), batch(6)
    runs = []
    for bf16 in (True, True, False):
        set_gradients(network, *data, paper_losses, bf16=bf16)
        runs.append([parameter.grad for parameter in network.parameters()])
    assert all(map(torch.equal, runs[0], runs[1]))
    assert not any(map(torch.equal, runs[0][:-1], runs[2][:-1]))
    in_bf16, in_float32 = runs[0][-2].flatten(), runs[2][-2].flatten()  # of the last weights
    assert torch.cosine_similarity(in_bf16, in_float32, dim=0) > 0.99


def test_frozen_parameters_have_no_gradient(n_cores):
    network = seeded_unet(1, seed=0)
    network.stem.requires_grad_(False)
    set_gradients(network, *batch(2), paper_losses, bf16=False)
    without = {name for name, value in network.named_parameters() if value.grad is None}
    assert without == {f"stem.{name}" for name, _ in network.stem.named_parameters()}
