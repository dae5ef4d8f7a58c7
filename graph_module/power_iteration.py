"""Power iteration on the Feature-Motion matrix (METHOD section 3, "One iteration")."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from graph_module.motion_matrix import propagate
from graph_module.normalisation import min_max_each_
from graph_module.regression import factor_gram, project
from graph_module.space_time_graph import SpaceTimeGraph


def power_iteration(
    graph: SpaceTimeGraph,
    masks: torch.Tensor,
    *,
    sigma: float,
    ridge: float,
    n_iterations: int,
) -> Iterator[torch.Tensor]:
    """Iterate x <- P M x, propagation by motion and projection onto the features.

    Without any feature P would be a projection onto the bias alone and wipe the masks out; it is
    left out then, and the result is the principal eigenvector of M.

    Args:
        masks: the seed x, [n, H, W].
        sigma: of the temporal Gaussian, frames.
        ridge: lambda of the ridge regression.

    Yields:
        x after each of ``n_iterations``, [n, H, W], each frame min-max normalised to [0, 1].
    """
    has_features = graph.features.shape[1] > 1
    gram_factors = factor_gram(graph.features, ridge)
    for _ in range(n_iterations):
        masks = min_max_each_(propagate(graph.arrivals, masks, sigma))
        if has_features:
            projected = project(graph.features, gram_factors, masks.flatten(1))  # [n, N]
            masks = min_max_each_(projected).view_as(masks)  # [n, H, W]
        yield masks
