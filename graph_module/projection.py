"""Projection onto the node features: ridge regression of each frame's soft mask.

docs/method.md section 3, "One iteration", step 2: with F_p = [features, 1] of frame p,

    w = (F_p^T F_p + lambda I)^-1 F_p^T x_p;  x_p <- max(F_p w, 0)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from graph_module.compiled import compiled
from graph_module.features import LEVELS, features_as_float
from ike_data.runtime.cores import do_on_cores, frame_blocks


@dataclass(frozen=True)
class Projection:
    """What the projection of n frames needs; it does not change over the iterations."""

    features: torch.Tensor  # F^T, int16 [n, d + 1, N], see `node_features`
    # Lower triangular Cholesky factors of F_p^T F_p + lambda I, float64 [n, d + 1, d + 1]; None:
    # there are no features.
    gram_factors: torch.Tensor | None
    blocks: list[range]  # of frames that are worked on together
    use_compiled: bool  # compiled loops instead of PyTorch, on the CPU only


def projection(
    features: torch.Tensor, ridge: float, device: torch.device, *, use_compiled: bool = False
) -> Projection:
    """Factor the Gram matrix of each frame.

    Args:
        features: int16 [n, d + 1, N], see `node_features`, on any device.
        ridge: lambda, > 0; the bias is regularised as well.
        device: where the masks are.
    """
    n_frames, n_features, n_nodes = features.shape
    blocks = frame_blocks(n_frames, 4 * n_features * n_nodes, device)
    if n_features == 1:
        return Projection(features, None, blocks, use_compiled)
    # One tensor for all: small ones, allocated between the float64 copies of the features, would
    # leave the allocator with holes as large as these.
    gram = features.new_empty(n_frames, n_features, n_features, dtype=torch.float64, device=device)

    def write_gram(block: range) -> None:
        some = slice(block.start, block.stop)
        # float64: rounding in float32 can make the Gram matrix of equal features lose more than a
        # small lambda.
        rows = features_as_float(features[some], device, torch.float64)
        torch.bmm(rows, rows.transpose(1, 2), out=gram[some])

    do_on_cores(write_gram, frame_blocks(n_frames, 8 * n_features * n_nodes, device), device)
    gram.diagonal(dim1=1, dim2=2).add_(ridge)
    return Projection(features, torch.linalg.cholesky(gram), blocks, use_compiled)


def project_(projection: Projection, masks: torch.Tensor) -> torch.Tensor:
    """x_p <- max(F_p w, 0) for each frame p, in place; masks x, [n, H, W].

    Without any feature this would be a projection onto the bias alone, and wipe the masks out.
    They are then left as they are, and what is iterated is M alone.
    """
    factors = projection.gram_factors
    if factors is None:
        return masks

    def project_block(block: range) -> None:
        frames = slice(block.start, block.stop)
        some, features = masks[frames].view(len(block), -1), projection.features[frames]
        if projection.use_compiled:
            for mask, levels, factor in zip(some, features, factors[frames], strict=True):
                mask.copy_(project_levels(levels, factor, mask))
        else:
            rows = features_as_float(features, masks.device)  # [m, d + 1, N]
            some.copy_(project_frames(rows, factors[frames], some))

    do_on_cores(project_block, projection.blocks, masks.device)
    return masks


def project_frames(
    features: torch.Tensor, gram_factors: torch.Tensor, masks: torch.Tensor
) -> torch.Tensor:
    """max(F_p w, 0) for each of m frames p.

    Args:
        features: F^T, floating point [m, d + 1, N].
        gram_factors: see `Projection`, [m, d + 1, d + 1].
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
    """`project_frames` of one frame by compiled loops, on the CPU, from stored features.

    Args:
        levels: int16 [d + 1, N], the features in steps of 1 / LEVELS.
        gram_factor: [d + 1, d + 1]; mask: [N], as is the result.
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
