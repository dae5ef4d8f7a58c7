"""Motion saliency: where motion departs from the frame's dominant motion.

What departs from the dominant motion moves by itself, or shows parallax: it stands nearer to a
travelling camera than the rest. Parallax goes the way of the rest, but faster. An object that the
camera follows goes slower than the rest, or another way.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F

from graph_module.extensions.dominant_motion import DominantMotion, dominant_motion
from graph_module.extensions.flow_consistency import FlowConsistency, flow_consistency
from ike_data.parameters import Parameters, parameter
from ike_data.runtime.cores import fill_in_blocks

# Bytes per pixel of a flow field, about.
FLOW_BYTES = 60


@dataclass(frozen=True)
class MotionSaliency(Parameters):
    """What counts as noise, as parallax and as salient."""

    dominant: DominantMotion = field(default_factory=DominantMotion)
    consistency: FlowConsistency = field(default_factory=FlowConsistency)
    # Added to the consistency of a direction of flow, so that both count alike where neither is
    # consistent.
    least_weight: float = parameter(0.02, low_excluded=True)
    # Residuals below this count as noise of the flow: a multiple of their median plus a share of
    # the frame's height.
    noise_medians: float = parameter(3.0)
    noise_height: float = parameter(1 / 448, low_excluded=True)
    # Share of a residual that is taken for parallax where it points along the dominant motion; less
    # where the dominant motion is not far above `parallax_share` of the residual, for then it has
    # no certain direction.
    parallax: float = parameter(0.5, high=1)
    parallax_share: float = parameter(0.1)
    # The scale t as a share of the mean residual of what is salient, the steps of the search for
    # it, and which pixels it looks at: every 7th.
    scale_share: float = parameter(0.8)
    n_scale_steps: int = parameter(10)
    sample_step: int = parameter(7, low=1)
    # What saliency is multiplied by at the frame's edge, where a pixel's match is often outside and
    # an object seldom ends; it rises to 1 within this share of the frame's shorter side.
    edge: float = parameter(0.5, high=1)
    edge_reach: float = parameter(0.1, low_excluded=True)


def motion_saliency(
    fwd_flow: torch.Tensor, bwd_flow: torch.Tensor, settings: MotionSaliency | None = None
) -> torch.Tensor:
    """r^2 / (r^2 + t^2), the mean of both directions of flow; less at the frame's edges.

    r is the length of the flow less the `dominant_motion`, where parallax counts less.

    The direction whose flow is more consistent counts for more: what is occluded in the next frame
    is often seen in the one before.

    t is a share of the mean residual of what is salient, see `salient_scale`, and above the noise:
    a frame in which nothing moves by itself stays dark.

    Args:
        fwd_flow, bwd_flow: [n - 1, 2, H, W], pixels.

    Returns:
        [n, H, W] in [0, 1); 0 for a video of one frame.
    """
    settings = settings or MotionSaliency()
    n_pairs, _, height, width = fwd_flow.shape
    if n_pairs == 0:
        return fwd_flow.new_zeros(1, height, width)
    fwd, bwd = (
        fill_in_blocks(
            torch.empty_like(flow[:, 0]),
            lambda some: _saliency_of(some, settings),
            flow,
            frame_bytes=FLOW_BYTES * height * width,
        )
        for flow in (fwd_flow, bwd_flow)
    )
    least = settings.least_weight
    fwd_weights = flow_consistency(fwd_flow, bwd_flow, settings.consistency) + least
    bwd_weights = flow_consistency(bwd_flow, fwd_flow, settings.consistency) + least
    after, before = (0, 0, 0, 0, 0, 1), (0, 0, 0, 0, 1, 0)
    # The last frame has no flow forward, the first none backward.
    weighted = F.pad(fwd * fwd_weights, after) + F.pad(bwd * bwd_weights, before)
    weights = F.pad(fwd_weights, after) + F.pad(bwd_weights, before)
    edges = less_at_edges(height, width, settings.edge, settings.edge_reach)
    return weighted.div_(weights).mul_(edges.to(weights))


def _saliency_of(flow: torch.Tensor, settings: MotionSaliency) -> torch.Tensor:
    """r^2 / (r^2 + t^2) of m flow fields; [m, 2, H, W] -> [m, H, W]."""
    dominant = dominant_motion(flow, settings.dominant)
    residual = flow - dominant
    step = settings.sample_step
    lengths = torch.hypot(*residual.unbind(1)).flatten(1)[:, ::step]  # [m, K]
    median = lengths.median(dim=1).values  # [m]
    noise = settings.noise_medians * median + settings.noise_height * flow.shape[2]
    own = without_parallax(residual, dominant, settings.parallax, settings.parallax_share)
    scale = salient_scale(
        own.flatten(1)[:, ::step], noise, settings.scale_share, settings.n_scale_steps
    )
    return saturating(own, scale[:, None, None])


def without_parallax(
    residual: torch.Tensor, dominant: torch.Tensor, parallax: float, parallax_share: float
) -> torch.Tensor:
    """|r| (1 - parallax cos^2), cos of the angle to the dominant motion.

    Residuals against the dominant motion count in full. [m, 2, H, W] twice -> [m, H, W].
    """
    length = torch.hypot(*residual.unbind(1))  # [m, H, W]
    dominant_length = torch.hypot(torch.hypot(*dominant.unbind(1)), parallax_share * length)
    along = (residual * dominant).sum(dim=1).clamp_(min=0)
    cosine = along / (length * dominant_length).clamp_(min=1e-6)
    return length * (1 - parallax * cosine**2)


def salient_scale(
    residuals: torch.Tensor, noise: torch.Tensor, share: float, n_steps: int
) -> torch.Tensor:
    """t = share * the mean of the residuals, weighed by r^2 / (r^2 + t^2); at least the noise.

    As in Ridler and Calvard's threshold ("Picture Thresholding Using an Iterative Selection
    Method", 1978): slow and fast objects count alike, and of an object whose limbs are faster than
    its body both are found. The search begins at the noise, and goes upwards.
    Residuals [m, K] and noise [m] of m frames -> [m].
    """
    scale = noise
    for _ in range(n_steps):
        salient = saturating(residuals, scale[:, None])
        mean = (salient * residuals).sum(dim=1) / salient.sum(dim=1).clamp(min=1e-6)
        scale = torch.maximum(noise, share * mean)
    return scale


def less_at_edges(height: int, width: int, edge: float, edge_reach: float) -> torch.Tensor:
    """From ``edge`` at the frame's edge to 1, [height, width]."""
    to_edge = [
        torch.minimum(torch.arange(n) + 0.5, n - 0.5 - torch.arange(n)) for n in (height, width)
    ]
    distance = torch.minimum(to_edge[0][:, None], to_edge[1]) / (edge_reach * min(height, width))
    return torch.lerp(torch.tensor(edge), torch.tensor(1.0), distance.clamp_(max=1))


def saturating(values: torch.Tensor, middle: torch.Tensor | float, power: int = 2) -> torch.Tensor:
    """v^p / (v^p + middle^p), in [0, 1)."""
    return values**power / (values**power + middle**power)
