"""RAFT's recurrent unit in less time: what all updates share is computed once.

Each gate is a convolution of the channels [hidden, context, motion], which is the sum of the
convolutions of its parts:

    W * [hidden, context, motion] = W_hm * [hidden, motion] + W_c * context

The context of a pair of frames is the same in all updates, so the second term, a third of the work,
is computed before them. The gates z and r have the same input and become one convolution.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torchvision.models.optical_flow.raft import ConvGRU, RecurrentBlock


@dataclass(frozen=True)
class _Gate:
    """A convolution whose weights are split by the channels that they read."""

    hidden_motion: torch.Tensor  # [C_out, C_hidden + C_motion, k, k']
    context: torch.Tensor  # [C_out, C_context, k, k']
    bias: torch.Tensor  # [C_out]
    padding: tuple[int, ...]

    def of_context(self, context: torch.Tensor) -> torch.Tensor:
        return F.conv2d(context, self.context, self.bias, padding=self.padding)

    def __call__(
        self, hidden: torch.Tensor, motion: torch.Tensor, of_context: torch.Tensor
    ) -> torch.Tensor:
        both = torch.cat([hidden, motion], dim=1)
        return F.conv2d(both, self.hidden_motion, padding=self.padding) + of_context


class ContextGRU:
    """torchvision's RecurrentBlock, one or two ConvGRU in a row; equal to it but for rounding.

    Its weights are of ``dtype``, once and for all: autocast would convert them in each update.
    """

    def __init__(
        self, block: RecurrentBlock, hidden_size: int, context_size: int, dtype: torch.dtype
    ) -> None:
        units = [unit for unit in (block.convgru1, block.convgru2) if isinstance(unit, ConvGRU)]
        self._gates = [
            tuple(
                _gate(convolutions, hidden_size, context_size, dtype)
                for convolutions in ([unit.convz, unit.convr], [unit.convq])
            )
            for unit in units
        ]

    def of_context(self, context: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """The terms of ``context``, [B, C_context, H/8, W/8], for `update`."""
        return [(zr.of_context(context), q.of_context(context)) for zr, q in self._gates]

    def update(
        self,
        hidden: torch.Tensor,
        motion: torch.Tensor,
        of_context: list[tuple[torch.Tensor, torch.Tensor]],
    ) -> torch.Tensor:
        """The next hidden state, [B, C_hidden, H/8, W/8].

        Args:
            hidden: the one before; motion: [B, C_motion, H/8, W/8].
            of_context: what `of_context` has returned.
        """
        for (zr_gate, q_gate), (zr_context, q_context) in zip(self._gates, of_context, strict=True):
            z, r = torch.sigmoid(zr_gate(hidden, motion, zr_context)).chunk(2, dim=1)
            q = torch.tanh(q_gate(r * hidden, motion, q_context))
            hidden = (1 - z) * hidden + z * q
        return hidden


def _gate(
    convolutions: list[torch.nn.Conv2d], hidden_size: int, context_size: int, dtype: torch.dtype
) -> _Gate:
    weight = torch.cat([convolution.weight.detach() for convolution in convolutions]).to(dtype)
    hidden, context, motion = weight.split(
        [hidden_size, context_size, weight.shape[1] - hidden_size - context_size], dim=1
    )
    biases = [c.bias.detach().to(dtype) for c in convolutions if c.bias is not None]
    padding = convolutions[0].padding
    assert isinstance(padding, tuple)
    return _Gate(
        torch.cat([hidden, motion], dim=1), context.contiguous(), torch.cat(biases), padding
    )
