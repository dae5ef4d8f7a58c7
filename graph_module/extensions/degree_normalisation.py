"""Degree normalisation: what a node receives is divided by its degree.

The degree of a node is the sum of the weights of its links, M 1. Where flow converges links gather,
and where it fails, mostly on the object, they go astray. So the background has the larger degrees,
and would receive more.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from graph_module.motion_matrix import MotionMatrix
from graph_module.propagation import propagate
from ike_data.parameters import Parameters, parameter


@dataclass(frozen=True)
class DegreeNormalisation(Parameters):
    """How degrees are smoothed."""

    # Multiple of the mean degree that is added to each degree. Nodes of small degree, as at the
    # frame's edges, would be amplified on little evidence. With 1 and less one video was lost.
    smoothing: float = parameter(2.0)


def degree_divisor(
    matrix: MotionMatrix, like: torch.Tensor, normalisation: DegreeNormalisation
) -> torch.Tensor:
    """M 1 + smoothing * mean(M 1), by which M x is divided; of the shape [n, H, W] of ``like``."""
    degree = propagate(matrix, torch.ones_like(like))
    return degree + normalisation.smoothing * degree.mean()
