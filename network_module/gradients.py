"""Losses and gradients of a batch, its frames shared among the cores of a processor."""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch

from ike_data.runtime.cores import map_on_cores, n_equal_parts
from network_module.precision import logits_of


def set_gradients(
    network: torch.nn.Module,
    frames: torch.Tensor,
    soft_masks: torch.Tensor,
    losses_of: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    *,
    bf16: bool,
) -> torch.Tensor:
    """Set each parameter's ``grad`` to that of the sum of a batch's losses; return the losses.

    On a CPU each thread takes a part of the batch through the network, forwards and backwards.
    Threads that share a convolution would wait for each other.

    Args:
        network: treats each frame by itself, so it has no batch norm.
        frames: RGB [b, 3, H, W] in [0, 1].
        soft_masks: [b, H, W] in [0, 1].
        losses_of: logits [b, 2, H, W] and soft masks -> the terms of the loss, [k], as
            `losses.paper_losses`.

    Returns:
        [k], without a graph behind them.
    """
    device = frames.device
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    n_parts = n_equal_parts(len(frames), device)

    def forward(part: torch.Tensor) -> torch.Tensor:
        return logits_of(network, part, bf16=bf16)

    def backward(pair: tuple[torch.Tensor, torch.Tensor]) -> tuple[torch.Tensor, ...]:
        output, of_output = pair
        return torch.autograd.grad(output, parameters, of_output)

    network.zero_grad()  # frees those of the last batch
    outputs = list(map_on_cores(forward, frames.chunk(n_parts), device, n_calls=n_parts))
    logits = torch.cat([output.detach() for output in outputs]).requires_grad_()
    losses = losses_of(logits, soft_masks)
    (of_logits,) = torch.autograd.grad(losses.sum(), logits)
    pairs = zip(outputs, of_logits.chunk(n_parts), strict=True)
    of_parts = map_on_cores(backward, pairs, device, n_calls=n_parts)
    for parameter, gradients in zip(parameters, zip(*of_parts, strict=True), strict=True):
        gradient = functools.reduce(torch.Tensor.add_, gradients)
        # A fused optimiser expects the values in the order that the parameter has in memory.
        if gradient.stride() != parameter.stride():
            gradient = torch.empty_like(parameter).copy_(gradient)
        parameter.grad = gradient
    return losses.detach()
