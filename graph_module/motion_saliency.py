"""Where motion departs from the frame's dominant motion; not in the paper.

A moving camera gives flow to the background too. What it gives is smooth: a quadratic polynomial of
the position is the flow of a plane under any motion, up to perspective, and close to that of most
backgrounds. What departs from it moves by itself, or is nearer to a travelling camera than the
rest: parallax, which has still things go the way of the rest, but faster. A camera follows its
object, which so goes slower than the rest, or another way.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from graph_module.flow_consistency import flow_consistency
from ike_data.soft_masks import HARD_THRESHOLD

N_FITS = 15  # of reweighted least squares
BORDER = 0.15  # of the frame's height: fits begin with it, for objects seldom fill it
N_ROWS = 56  # of the grid of pixels that a fit looks at
# Residuals below this count as noise of the flow: multiples of their median, and a share of the
# frame's height.
NOISE_MEDIANS, NOISE_HEIGHT = 3.0, 1 / 448
# This much of a residual that points where the dominant motion goes is taken for parallax; less
# where that is not far above this share of the residual, and so has no certain direction.
PARALLAX, PARALLAX_SHARE = 0.5, 0.1
LEAST_WEIGHT = 0.02  # of a direction; where both are inconsistent they count alike
SCALE_SHARE = 0.8  # of the mean residual of what is salient
N_SCALES = 10  # steps to it
# At the frame's edge, where a pixel's match is often outside and an object seldom ends, saliency
# counts this much, and in full from this share of the frame's shorter side inwards.
EDGE, EDGE_REACH = 0.5, 0.1
# A frame shows its object where the mean saliency of what is salient is above EVIDENCE; DIS flow of
# still things gives 0 to 0.3, of moving ones 0.3 to 0.6. A mask is the opposite of its object where
# its mean saliency, over the sum of the means inside and outside, is below AGREEMENT. The power is
# high, so that both are nearly yes or no: many still frames must not outvote a moving one far off.
EVIDENCE, AGREEMENT, EVIDENCE_POWER = 0.35, 0.05, 8
# The masks of a whole video are the opposite of its object where their agreement is below this: up
# to 0.02 where they were, at least 0.59 where they were not, on 24 videos of two and three frames.
OPPOSITE = 0.25
LEAST_MOTION = 0.5  # of a video in which something moves by itself, see `_moves`
_SAMPLE_STEP = 7  # every 7th pixel tells a frame's scale


def motion_saliency(fwd_flow: torch.Tensor, bwd_flow: torch.Tensor) -> torch.Tensor:
    """r^2 / (r^2 + t^2), the mean of both directions of flow; less at the frame's edges.

    r is the length of the flow less the `dominant_motion`, what may be parallax counted less.

    The direction whose flow is the more consistent (`flow_consistency`) counts for more: what is
    occluded in the next frame is often seen in the last.

    t is a share of the mean residual of what is salient, itself a mean with r^2 / (r^2 + t^2) as
    its weights, as in Ridler and Calvard's threshold ("Picture Thresholding Using an Iterative
    Selection Method", 1978): slow and fast objects count alike, and of one whose limbs are faster
    than its body both do. It is looked for from the noise upwards, and so stays above it: a frame
    in which nothing moves by itself stays dark.

    Args:
        fwd_flow, bwd_flow: [n - 1, 2, H, W], pixels.

    Returns:
        [n, H, W] in [0, 1); 0 for a video of one frame.
    """
    n_pairs, _, height, width = fwd_flow.shape
    if n_pairs == 0:
        return fwd_flow.new_zeros(1, height, width)
    fwd, bwd = (
        torch.stack([_saliency_of(flow) for flow in flows]) for flows in (fwd_flow, bwd_flow)
    )
    fwd_weights = flow_consistency(fwd_flow, bwd_flow) + LEAST_WEIGHT
    bwd_weights = flow_consistency(bwd_flow, fwd_flow) + LEAST_WEIGHT
    after, before = (0, 0, 0, 0, 0, 1), (0, 0, 0, 0, 1, 0)
    # The last frame has no flow forward, the first none backward.
    weighted = F.pad(fwd * fwd_weights, after) + F.pad(bwd * bwd_weights, before)
    weights = F.pad(fwd_weights, after) + F.pad(bwd_weights, before)
    return weighted.div_(weights).mul_(_less_at_edges(height, width).to(weights))


def motion_evidence(saliency: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
    """How far motion speaks for the mask of each frame.

    Near 0 where nothing moves by itself, and where nearly all that does is outside of the mask: of
    a still object the graph makes the opposite of a few errors of the flow.

    Args:
        saliency: [n, H, W] in [0, 1], see `motion_saliency`.
        masks: soft masks, [n, H, W].

    Returns:
        [n] in [0, 1); 0 for a mask of nothing or of everything.
    """
    return torch.stack([_evidence_of(*frame) for frame in zip(saliency, masks, strict=True)])


def are_opposite(saliency: torch.Tensor, masks: torch.Tensor) -> bool:
    """Whether the masks of a video, as a whole, leave out what moves by itself.

    The iteration gives masks or their opposite as features explain both equally; in videos of a few
    frames the background, with more links, can be what decides. Frames in which nothing moves by
    itself do not count.

    Args:
        saliency, masks: see `motion_evidence`.
    """
    moves = torch.stack([_moves(frame) for frame in saliency])
    parts = torch.stack([_parts(*frame) for frame in zip(saliency, masks, strict=True)])
    salient, n_pixels = (moves[:, None, None] * parts).sum(dim=0)  # inside and outside, each
    if moves.max() < LEAST_MOTION or n_pixels.min() < 1:
        return False
    return bool(_agreement(salient, n_pixels) < OPPOSITE)


def _evidence_of(saliency: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Of one frame: [H, W], [H, W] -> []."""
    salient, n_pixels = _parts(saliency, mask)
    agreement = _agreement(salient, n_pixels) * (n_pixels[1] > 0)
    return _moves(saliency) * _saturating(agreement, AGREEMENT, EVIDENCE_POWER)


def _moves(saliency: torch.Tensor) -> torch.Tensor:
    """Near 1 where something moves by itself, else near 0; [H, W] -> []."""
    mean_salient = (saliency**2).sum() / saliency.sum().clamp(min=1e-6)
    return _saturating(mean_salient, EVIDENCE, EVIDENCE_POWER)


def _parts(saliency: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """[[salient inside, salient outside], [pixels inside, pixels outside]] of a mask, [2, 2]."""
    inside = mask >= HARD_THRESHOLD
    salient, n_inside = (saliency * inside).sum(), inside.sum()
    all_parts = [salient, saliency.sum() - salient, n_inside, inside.numel() - n_inside]
    return torch.stack([part.to(saliency) for part in all_parts]).view(2, 2)


def _agreement(salient: torch.Tensor, n_pixels: torch.Tensor) -> torch.Tensor:
    """Mean saliency inside, over the sum of the means inside and outside; see `_parts`. [] >= 0."""
    means = salient / n_pixels.clamp(min=1)
    return means[0] / means.sum().clamp(min=1e-6)


def _saturating(values: torch.Tensor, middle: torch.Tensor | float, power: int = 2) -> torch.Tensor:
    """v^p / (v^p + middle^p), in [0, 1)."""
    return values**power / (values**power + middle**power)


def _less_at_edges(height: int, width: int) -> torch.Tensor:
    """From EDGE at the frame's edge to 1, [H, W]."""
    to_edge = [
        torch.minimum(torch.arange(n) + 0.5, n - 0.5 - torch.arange(n)) for n in (height, width)
    ]
    distance = torch.minimum(to_edge[0][:, None], to_edge[1]) / (EDGE_REACH * min(height, width))
    return torch.lerp(torch.tensor(EDGE), torch.tensor(1.0), distance.clamp_(max=1))


def _saliency_of(flow: torch.Tensor) -> torch.Tensor:
    """r^2 / (r^2 + t^2) of one flow field; [2, H, W] -> [H, W]."""
    dominant = dominant_motion(flow)
    residual = flow - dominant
    length = residual.norm(dim=0)  # [H, W]
    dominant_length = torch.hypot(dominant.norm(dim=0), PARALLAX_SHARE * length)
    along = (residual * dominant).sum(dim=0).clamp_(min=0)
    cosine = along / (length * dominant_length).clamp_(min=1e-6)
    own = length * (1 - PARALLAX * cosine**2)
    median = length.flatten()[::_SAMPLE_STEP].median()
    noise = NOISE_MEDIANS * median + NOISE_HEIGHT * len(length)
    sampled, scale = own.flatten()[::_SAMPLE_STEP], noise
    for _ in range(N_SCALES):
        salient = _saturating(sampled, scale)
        mean = (salient * sampled).sum() / salient.sum().clamp(min=1e-6)
        scale = torch.maximum(noise, SCALE_SHARE * mean)
    return _saturating(own, scale)


def dominant_motion(flow: torch.Tensor) -> torch.Tensor:
    """The dominant motion of a flow field: a robust quadratic fit of u and v.

    Weights of the least squares are Geman and McClure's, 1 / (1 + (r / s)^2)^2, with s from the
    median residual on the frame's border; the first half of the fits sees the border only.

    Args:
        flow: [2, H, W], pixels.

    Returns:
        [2, H, W], channels (u, v) in pixels.
    """
    height, width = flow.shape[1:]
    grid_y = torch.linspace(-1, 1, height, dtype=torch.float64, device=flow.device)
    grid_x = torch.linspace(-1, 1, width, dtype=torch.float64, device=flow.device)
    y, x = torch.meshgrid(grid_y, grid_x, indexing="ij")
    basis = torch.stack([torch.ones_like(x), x, y, x * x, x * y, y * y], dim=-1)  # [H, W, 6]

    step = max(min(height // N_ROWS, width), 1)  # a frame may be narrower than the grid is coarse
    sample = slice(step // 2, None, step)
    design = basis[sample, sample].flatten(0, 1)  # [K, 6]
    target = flow[:, sample, sample].flatten(1).T.double()  # [K, 2]
    reach = max(round(BORDER * height), 1)
    border = torch.ones(height, width, dtype=torch.bool, device=flow.device)
    border[reach:-reach, reach:-reach] = False
    on_border = border[sample, sample].flatten()  # [K]
    on_border_indices = on_border.nonzero()[:, 0]  # once, for a GPU would be waited for

    weights = on_border.double()  # [K]
    tiny = 1e-6 * torch.eye(6).to(design)
    for fit in range(N_FITS):
        weighted = design * weights[:, None]  # [K, 6]
        motion = torch.linalg.solve(weighted.T @ design + tiny, weighted.T @ target)  # [6, 2]
        residual = (target - design @ motion).norm(dim=1)  # [K]
        scale = 1.5 * residual[on_border_indices].median().clamp(min=0.02)
        weights = 1 / (1 + (residual / scale) ** 2) ** 2
        if fit < N_FITS // 2:
            weights *= on_border
    return (basis.float() @ motion.float()).permute(2, 0, 1)  # [2, H, W]
