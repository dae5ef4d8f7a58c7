"""The forward-backward check on flows that are known."""

from __future__ import annotations

import math

import pytest
import torch

from graph_module.extensions.flow_consistency import flow_consistency

HEIGHT, WIDTH = 12, 20


def constant(u: float, v: float) -> torch.Tensor:
    return torch.tensor([float(u), float(v)]).view(1, 2, 1, 1).expand(1, 2, HEIGHT, WIDTH).clone()


def test_the_formula_by_hand():
    found = flow_consistency(constant(3, 4), constant(-3, -5))
    expected = math.exp(-1 / (0.01 * (9 + 16 + 9 + 25) + 0.5))
    torch.testing.assert_close(found, torch.full_like(found, expected))


def test_the_flow_back_is_read_where_the_flow_leads():
    """A zoom by 1.25: the flow back is linear, so bilinear reading is exact."""
    x, y = torch.arange(WIDTH).float(), torch.arange(HEIGHT).float()
    flow = torch.stack(torch.broadcast_tensors(x / 4, y[:, None] / 4))[None]
    back = torch.stack(torch.broadcast_tensors(-x / 5, -y[:, None] / 5))[None]
    found = flow_consistency(flow, back)[0]
    inside = found[: int(HEIGHT / 1.25), : int(WIDTH / 1.25)]
    torch.testing.assert_close(inside, torch.ones_like(inside))
    assert found[-1, -1] < 0.9  # outside, that of the border is read


def test_what_is_covered_in_the_other_frame_fails():
    """A square moves by 6 pixels over a still background."""
    flow, back = torch.zeros(1, 2, HEIGHT, WIDTH), torch.zeros(1, 2, HEIGHT, WIDTH)
    flow[0, 0, 4:8, 2:6] = 6
    back[0, 0, 4:8, 8:12] = -6
    found = flow_consistency(flow, back)[0]
    expected = torch.ones(HEIGHT, WIDTH)
    expected[4:8, 8:12] = 0  # there the square is in the other frame
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("size", [(1, 1), (8, 300)])
def test_odd_sizes_and_wild_flows_stay_finite(size):
    flow = 1e8 * torch.randn(2, 2, *size, generator=torch.Generator().manual_seed(0))
    found = flow_consistency(flow, -flow)
    assert torch.isfinite(found).all()
    assert found.min() >= 0 and found.max() <= 1
    assert flow_consistency(flow[:0], flow[:0]).shape == (0, *size)
