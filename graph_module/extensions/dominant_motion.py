"""The dominant motion of a flow field: a robust quadratic fit.

A moving camera gives flow to the background too. That flow is smooth: a quadratic polynomial of the
position is the flow of a plane under any motion, up to perspective, and close to the flow of most
backgrounds.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ike_data.parameters import Parameters, parameter


@dataclass(frozen=True)
class DominantMotion(Parameters):
    """How the fit is made."""

    n_fits: int = parameter(15, low=1)  # of reweighted least squares; enough to converge
    # Width of the frame's border, as a share of its height. The first half of the fits looks at the
    # border only, for objects seldom fill it.
    border: float = parameter(0.15, low=0.1, high=1)
    # Of the grid of pixels that a fit looks at, for speed. From 8 on it has pixels on the border.
    n_rows: int = parameter(56, low=8)
    # Scale of the weights: a multiple of the border's median residual; the least median, pixels.
    scale_medians: float = parameter(1.5, low_excluded=True)
    least_median: float = parameter(0.02, low_excluded=True)


def dominant_motion(flow: torch.Tensor, settings: DominantMotion | None = None) -> torch.Tensor:
    """Fit a quadratic polynomial of the position to u and to v, for each field on its own.

    The weights of the least squares are Geman and McClure's, 1 / (1 + (r / s)^2)^2, with s from the
    median residual on the frame's border. [..., 2, H, W] -> the same, (u, v) in pixels.
    """
    settings = settings or DominantMotion()
    height, width = flow.shape[-2:]
    basis = _quadratic_basis(height, width, flow.device)  # [6, H, W]
    # A frame may be narrower than the grid is coarse.
    step = max(min(height // settings.n_rows, width), 1)
    sample = slice(step // 2, None, step)
    design = basis[:, sample, sample].flatten(1)  # [6, K]
    target = flow[..., sample, sample].flatten(-2).double()  # [..., 2, K]
    reach = max(round(settings.border * height), 1)
    border = torch.ones(height, width, dtype=torch.bool, device=flow.device)
    border[reach:-reach, reach:-reach] = False
    on_border = border[sample, sample].flatten()  # [K]
    on_border_indices = on_border.nonzero()[:, 0]  # once, for a GPU would be waited for

    weights = on_border.double().expand(target.shape[:-2] + on_border.shape)  # [..., K]
    tiny = 1e-6 * torch.eye(6).to(design)  # a frame of few pixels does not determine the fit
    for fit in range(settings.n_fits):
        weighted = design * weights[..., None, :]  # [..., 6, K]
        motion = torch.linalg.solve(weighted @ design.T + tiny, weighted @ target.mT)  # [..., 6, 2]
        # Not norm(dim=-2): of two numbers that takes 20 times as long.
        residual = torch.hypot(*(target - motion.mT @ design).unbind(-2))  # [..., K]
        median = residual[..., on_border_indices].median(dim=-1, keepdim=True).values
        scale = settings.scale_medians * median.clamp(min=settings.least_median)
        weights = 1 / (1 + (residual / scale) ** 2) ** 2
        if fit < settings.n_fits // 2:
            weights = weights * on_border
    return (motion.mT.float() @ basis.float().flatten(1)).view_as(flow)


def _quadratic_basis(height: int, width: int, device: torch.device) -> torch.Tensor:
    """1, x, y, x^2, x y, y^2 of positions in [-1, 1]; float64 [6, H, W]."""
    grid_y = torch.linspace(-1, 1, height, dtype=torch.float64, device=device)
    grid_x = torch.linspace(-1, 1, width, dtype=torch.float64, device=device)
    y, x = torch.meshgrid(grid_y, grid_x, indexing="ij")
    return torch.stack([torch.ones_like(x), x, y, x * x, x * y, y * y])
