"""Projection onto the node features: ridge regression of each frame's soft mask.

METHOD section 3, "One iteration", step 2.
"""

from __future__ import annotations

import numpy as np
import torch

from graph_module.compiled import compiled
from graph_module.features import LEVELS


def gram_matrix(features: torch.Tensor) -> torch.Tensor:
    """F_p^T F_p of m frames.

    Args:
        features: F^T, [m, d + 1, N], the last of the d + 1 rows all ones; in float64, for rounding
            in float32 can make the Gram matrix of equal features lose more than a small lambda.

    Returns:
        [m, d + 1, d + 1]
    """
    return torch.bmm(features, features.transpose(1, 2))


def factor_gram(gram: torch.Tensor, ridge: float) -> torch.Tensor:
    """Cholesky factors of F_p^T F_p + lambda I; they do not change over the iterations.

    Args:
        gram: float64 [m, d + 1, d + 1], see `gram_matrix`.
        ridge: lambda, > 0; the bias is regularised as well.

    Returns:
        Lower triangular factors, float64 [m, d + 1, d + 1].
    """
    return torch.linalg.cholesky(gram + ridge * torch.eye(gram.shape[-1]).to(gram))


def project(
    features: torch.Tensor, gram_factors: torch.Tensor, masks: torch.Tensor
) -> torch.Tensor:
    """max(F_p w, 0) with w = (F_p^T F_p + lambda I)^-1 F_p^T x_p, for each of m frames p.

    Args:
        features: [m, d + 1, N], see `gram_matrix`; ``gram_factors``: see `factor_gram`.
        masks: x, [m, N].

    Returns:
        [m, N], at least 0.
    """
    moments = torch.bmm(features, masks.unsqueeze(-1)).to(torch.float64)  # [m, d+1, 1]
    weights = torch.cholesky_solve(moments, gram_factors).to(features.dtype)  # [m, d+1, 1]
    return torch.bmm(weights.transpose(1, 2), features).squeeze(1).clamp_(min=0)


def project_levels(
    levels: torch.Tensor, gram_factor: torch.Tensor, mask: torch.Tensor
) -> torch.Tensor:
    """`project` of one frame by compiled loops, on the CPU, from features as they are kept.

    Args:
        levels: int16 [d + 1, N], the features in steps of 1 / LEVELS.
        gram_factor: [d + 1, d + 1]; mask: [N].

    Returns:
        [N]
    """
    moments = torch.zeros(len(levels), 1, dtype=torch.float64)
    _moments_loop(levels, mask, moments[:, 0])
    weights = torch.cholesky_solve(moments / LEVELS, gram_factor)[:, 0]
    projected = torch.zeros_like(mask)
    _project_loop(levels, (weights / LEVELS).to(torch.float32), projected)
    return projected


# Pieces of a frame that stay in the innermost cache while the features pass.
_PIECE = 4096


@compiled(sums_in_any_order=True)
def _moments_loop(levels, mask, moments):  # type: ignore[no-untyped-def]
    for start in range(0, mask.size, _PIECE):
        values = mask[start : start + _PIECE]
        for row in range(len(levels)):
            feature, total = levels[row, start : start + _PIECE], np.float32(0)
            for i in range(values.size):
                total += np.float32(feature[i]) * values[i]
            moments[row] += total


@compiled()
def _project_loop(levels, weights, projected):  # type: ignore[no-untyped-def]
    for start in range(0, projected.size, _PIECE):
        out = projected[start : start + _PIECE]
        for row in range(len(levels)):
            feature, weight = levels[row, start : start + _PIECE], weights[row]
            for i in range(out.size):
                out[i] += np.float32(feature[i]) * weight
        for i in range(out.size):
            out[i] = max(out[i], np.float32(0))
