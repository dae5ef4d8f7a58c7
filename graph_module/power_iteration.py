"""Power iteration on the Feature-Motion matrix (METHOD section 3, "One iteration")."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from graph_module.features import features_as_float
from graph_module.motion_matrix import propagate
from graph_module.normalisation import min_max_, min_max_each_
from graph_module.regression import factor_gram, gram_matrix, project, project_levels
from graph_module.space_time_graph import SpaceTimeGraph
from ike_data.cores import at_once, map_on_cores

# The most that the features of the frames which are projected together may take as float32.
CHUNK_BYTES = 1 << 29
# Added to each node's links, as a multiple of their mean: what a node of few links receives, as at
# the frame's edges, is of little evidence, and would be amplified.
_EVEN_OUT = 2.0


def power_iteration(
    graph: SpaceTimeGraph,
    masks: torch.Tensor,
    *,
    ridge: float,
    n_iterations: int,
    link_sums: torch.Tensor | None = None,
) -> Iterator[torch.Tensor]:
    """Iterate x <- P M x, propagation by motion and projection onto the features.

    With ``link_sums``, not in the paper, M x is divided by M 1 + 2 mean(M 1): where flow converges
    links gather, and where it fails, mostly on what moves, they go astray, so that the background
    has more of them.

    Without any feature P would be a projection onto the bias alone and wipe the masks out; it is
    left out then, and the result is the principal eigenvector of M, or of M so divided.

    Args:
        masks: the seed x, [n, H, W].
        ridge: lambda of the ridge regression.
        link_sums: M 1, [n, H, W]; None: M x is left as it is.

    Yields:
        x after each of ``n_iterations``, [n, H, W], each frame min-max normalised to [0, 1].
    """
    features, device = graph.features, masks.device
    n_frames, n_features, n_nodes = features.shape
    together = at_once(max(CHUNK_BYTES // (4 * n_features * n_nodes), 1), device)
    chunks = [slice(start, start + together) for start in range(0, n_frames, together)]

    has_features = n_features > 1
    # One tensor for all: a small one for each frame, among the features as float32 that come and
    # go, would leave the allocator with holes as large as these.
    gram = features.new_empty(n_frames, n_features, n_features, dtype=torch.float64, device=device)

    def write_gram(chunk: slice) -> None:
        for idx in range(chunk.start, min(chunk.stop, n_frames)):
            rows = features_as_float(features[idx : idx + 1], device, torch.float64)
            gram[idx] = gram_matrix(rows)[0]

    if has_features:
        for _done in map_on_cores(write_gram, chunks, device):
            pass
        gram_factors = factor_gram(gram, ridge)

    masks = masks.contiguous()  # the seed is one mask, expanded; compiled loops want it written out
    divisor = None if link_sums is None else link_sums + _EVEN_OUT * link_sums.mean()
    for _ in range(n_iterations):
        propagated = propagate(graph.motion, masks)
        if divisor is not None:
            propagated /= divisor

        def finish(chunk: slice, propagated: torch.Tensor = propagated) -> None:
            """Normalise and project a chunk of frames, in place."""
            some = min_max_each_(propagated[chunk]).flatten(1)  # [m, N]
            if has_features and graph.motion.use_compiled:
                for mask, levels, factor in zip(
                    some, features[chunk], gram_factors[chunk], strict=True
                ):
                    mask.copy_(min_max_(project_levels(levels, factor, mask)))
            elif has_features:
                rows = features_as_float(features[chunk], device)  # [m, d + 1, N]
                some.copy_(min_max_each_(project(rows, gram_factors[chunk], some)))

        for _done in map_on_cores(finish, chunks, device):
            pass
        masks = propagated
        yield masks
