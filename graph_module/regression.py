"""Projection onto the node features: ridge regression of each frame's soft mask.

METHOD section 3, "One iteration", step 2.
"""

from __future__ import annotations

import torch


def factor_gram(features: torch.Tensor, ridge: float) -> torch.Tensor:
    """Cholesky factor of F_p^T F_p + lambda I; it does not change over the iterations.

    Args:
        features: F^T of m frames, float32 [m, d + 1, N], the last of the d + 1 rows all ones.
        ridge: lambda, > 0.

    Returns:
        Lower triangular factors, float64 [m, d + 1, d + 1].
    """
    gram = torch.bmm(features, features.transpose(1, 2)).to(torch.float64)
    gram.diagonal(dim1=1, dim2=2).add_(ridge)  # the bias is regularised as well
    return torch.linalg.cholesky(gram)


def project(
    features: torch.Tensor, gram_factors: torch.Tensor, masks: torch.Tensor
) -> torch.Tensor:
    """max(F_p w, 0) with w = (F_p^T F_p + lambda I)^-1 F_p^T x_p, for each of m frames p.

    Args:
        features: [m, d + 1, N] and ``gram_factors``: as in `factor_gram`.
        masks: x, [m, N].

    Returns:
        [m, N], at least 0.
    """
    moments = torch.bmm(features, masks.unsqueeze(-1)).to(torch.float64)  # [m, d+1, 1]
    weights = torch.cholesky_solve(moments, gram_factors).to(features.dtype)  # [m, d+1, 1]
    return torch.bmm(weights.transpose(1, 2), features).squeeze(1).clamp_(min=0)
