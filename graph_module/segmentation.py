"""The whole method: power iteration on the Feature-Motion matrix of a video.

`iterations` is the algorithm, `finish` what is made of its masks, and `segment` both. Tensors in,
tensors out: nothing is read, written or printed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch

from graph_module.compiled import AVAILABLE
from graph_module.extensions.appearance import appearance_masks
from graph_module.extensions.coarse_graph import (
    coarse_flow,
    coarse_maps,
    coarse_video,
    enlarge_masks,
)
from graph_module.extensions.degree_normalisation import degree_divisor
from graph_module.extensions.frame_reliability import frame_reliability
from graph_module.extensions.motion_evidence import motion_evidence
from graph_module.extensions.motion_prior import motion_prior
from graph_module.extensions.motion_saliency import motion_saliency
from graph_module.extensions.polarity import inverted_frames
from graph_module.extensions.refinement import refine
from graph_module.features import Room, node_features
from graph_module.motion_matrix import motion_matrix
from graph_module.normalisation import min_max_each_
from graph_module.progress import Progress, silent
from graph_module.projection import project_, projection
from graph_module.propagation import propagate
from graph_module.seeds import seed_mask
from graph_module.settings import GraphSettings
from ike_data.parameters import check_kind
from ike_data.runtime.cores import frames_together
from ike_data.soft_masks import HARD_THRESHOLD


@dataclass(frozen=True)
class Execution:
    """How the masks are computed: this moves time and memory, not the result."""

    store_links: bool = True  # else they are recomputed in each iteration
    room: Room | None = None  # for features that do not fit on the device, see `node_features`
    compiled: bool = True  # compiled loops (numba) where the flows are on a CPU; else PyTorch
    progress: Progress = silent  # shows how far the loops are; may be tqdm

    def compiled_on(self, device: torch.device) -> bool:
        """Whether compiled loops are used for tensors on ``device``."""
        return self.compiled and AVAILABLE and not frames_together(device)


@dataclass(frozen=True)
class Iteration:
    """The masks after an iteration."""

    n_passes_left: int  # 0 in the last pass, or where there are no bootstrap passes
    index: int  # from 0 in each pass
    mean_change: float  # of the masks, against those before this iteration
    # [n, h, w], min-max normalised in each frame, of the size of the graph; `finish` makes the
    # result.
    masks: torch.Tensor
    moving: torch.Tensor | None  # where something moves by itself, [n, h, w] in [0, 1]
    evidence: list[torch.Tensor]  # maps of where the object may be, [n, h, w] each, for polarity
    inverted: torch.Tensor  # bool [n], masks of the pass before that were of the background


class Result(NamedTuple):
    """The masks of a video, and what was done to the masks of an iteration."""

    masks: torch.Tensor  # [n, H, W] in [0, 1]
    inverted: torch.Tensor  # bool [n], which of them were of the background, see `polarity`
    refinement_failed: bool  # it would have left no object, so the masks are as before it


def segment(
    fwd_flow: torch.Tensor,
    bwd_flow: torch.Tensor,
    *,
    video: torch.Tensor | None = None,
    feature_maps: torch.Tensor | None = None,
    settings: GraphSettings | None = None,
    execution: Execution | None = None,
) -> torch.Tensor:
    """Soft masks of the primary object of a video, from its optical flow.

    >>> import torch
    >>> from graph_module import GraphSettings, segment
    >>> frames = torch.zeros(6, 3, 24, 32, dtype=torch.uint8)
    >>> for idx in range(6):  # a block that moves to the right, 2 pixels a frame
    ...     frames[idx, 0, 8:16, 4 + 2 * idx : 14 + 2 * idx] = 200
    >>> block = frames[:, 0] > 0
    >>> fwd_flow, bwd_flow = torch.zeros(2, 5, 2, 24, 32)
    >>> fwd_flow[:, 0][block[:-1]] = 2
    >>> bwd_flow[:, 0][block[1:]] = -2
    >>> masks = segment(fwd_flow, bwd_flow)  # the paper's setting
    >>> masks.shape
    torch.Size([6, 24, 32])
    >>> settings = GraphSettings.with_extensions()
    >>> masks = segment(fwd_flow, bwd_flow, video=frames, settings=settings)
    >>> ((masks >= 0.5) == block).float().mean() > 0.99
    tensor(True)

    Args:
        fwd_flow: [n - 1, 2, H, W], float32, channels (u, v) in pixels; idx leads from frame idx to
            frame idx + 1. Of a video of one frame [0, 2, H, W].
        bwd_flow: the same shape; idx leads from frame idx + 1 to frame idx.
        video: uint8 RGB [n, 3, H, W]; needed where `GraphSettings.uses_video`.
        feature_maps: [n, C, H, W], any finite values; all of them are min-max normalised together.
            Where channels are an object's masks, see `GraphSettings.for_known_masks`.
        settings: default: the paper's.
        execution: default: links are stored, loops are compiled where they can be, no progress bar.

    Returns:
        float32 [n, H, W] in [0, 1], on the device of the flows.

    Raises:
        ValueError: a tensor is missing, of another shape or type, or not finite; or ``settings``
            are not of this module.
    """
    settings, execution = settings or GraphSettings(), execution or Execution()
    check_kind("settings", settings, GraphSettings, "graph_module's GraphSettings")
    for last in iterations(  # noqa: B007
        fwd_flow,
        bwd_flow,
        video=video,
        feature_maps=feature_maps,
        settings=settings,
        execution=execution,
    ):
        pass
    return finish(last, video, settings, execution.progress).masks


def iterations(
    fwd_flow: torch.Tensor,
    bwd_flow: torch.Tensor,
    *,
    video: torch.Tensor | None = None,
    feature_maps: torch.Tensor | None = None,
    settings: GraphSettings,
    execution: Execution,
) -> Iterator[Iteration]:
    """The masks after each iteration of each pass; see `segment` for the arguments.

    A pass ends after n_iterations, or when the masks change by less than its tolerance.
    """
    _check(fwd_flow, bwd_flow, video, feature_maps, settings)
    frame_size, device, progress = fwd_flow.shape[2:], fwd_flow.device, execution.progress
    compiled, bootstrap = execution.compiled_on(device), settings.bootstrap

    # All at the size of the graph.
    size = settings.graph_size(*frame_size)
    fwd_flow, bwd_flow = coarse_flow(fwd_flow, size), coarse_flow(bwd_flow, size)
    video = coarse_video(video.cpu(), size) if video is not None and settings.uses_video else None

    # The seed, the same in each frame.
    seed = seed_mask(settings.seed_type, settings.seed_sigma, *frame_size).to(device)
    x = coarse_maps(seed[None, None], size)[0].expand(len(fwd_flow) + 1, *size).contiguous()
    maps = [] if feature_maps is None else [coarse_maps(feature_maps.to(x), size)]
    evidence = [maps[0][:, channel] for channel in settings.known_masks] if maps else []
    moving = _moving(fwd_flow, bwd_flow, video, settings, progress)
    if moving is not None:
        maps.append(moving[:, None])  # [n, 1, h, w]
        evidence.append(moving)

    # Chains -> links.
    M = motion_matrix(
        fwd_flow,
        bwd_flow,
        settings.weights(),
        store_links=execution.store_links,
        use_compiled=compiled,
        progress=progress,
    )
    normalisation = settings.degree_normalisation
    divisor = degree_divisor(M, x, normalisation) if normalisation else None

    learnt_maps: list[torch.Tensor] = []
    inverted = torch.zeros(len(x), dtype=torch.bool)
    for n_left in reversed(range(1 + (bootstrap.n_passes if bootstrap else 0))):
        # Chains -> features.
        features = node_features(
            fwd_flow,
            bwd_flow,
            maps + learnt_maps,
            dir_features_half_chain_size=settings.dir_features_half_chain_size,
            features_half_chain_size=settings.features_half_chain_size,
            room=execution.room,
            use_compiled=compiled,
            progress=progress,
        )
        P = projection(features, settings.ridge, device, use_compiled=compiled)
        tolerance = bootstrap.tolerance if bootstrap and n_left else settings.last_tolerance
        count = settings.n_iterations
        for index in progress(range(count), desc="power iteration", total=count, unit="iteration"):
            before, x = x, propagate(M, x)  # x <- M x
            if divisor is not None:
                x /= divisor
            min_max_each_(x)
            project_(P, x)  # x <- max(F w, 0)
            min_max_each_(x)
            mean_change = (x - before).abs_().mean().item()
            yield Iteration(n_left, index, mean_change, x, moving, evidence, inverted)
            if mean_change < tolerance:
                break
        if bootstrap and n_left and video is not None:
            del features, P  # before those of the next pass are made
            x, inverted = _of_object(x, evidence, settings)
            reliability = _reliability(x, moving, settings)
            learnt = appearance_masks(
                video, x, bootstrap.appearance, reliability=reliability, progress=progress
            )
            learnt_maps = [learnt[:, None]]  # [n, 1, h, w]


def finish(
    iteration: Iteration,
    video: torch.Tensor | None,
    settings: GraphSettings,
    progress: Progress = silent,
) -> Result:
    """What is saved: the soft masks made from those of an iteration of the last pass.

    Raises:
        ValueError: there is no video, and ``settings`` have refinement.
    """
    masks, inverted = _of_object(iteration.masks, iteration.evidence, settings)
    if settings.refinement is None:
        return Result(masks, inverted, False)
    if video is None:
        raise ValueError("refinement looks at the frames; give video, or set it None")
    has_object = bool(masks.max() >= HARD_THRESHOLD)  # else there is nothing to learn
    if has_object:
        reliability = _reliability(masks, iteration.moving, settings)
        refined = refine(
            video.cpu(), masks, settings.refinement, reliability=reliability, progress=progress
        )
        if refined.max() >= HARD_THRESHOLD:
            return Result(refined, inverted, False)
    return Result(enlarge_masks(masks, video.shape[2:]), inverted, has_object)


def _moving(
    fwd_flow: torch.Tensor,
    bwd_flow: torch.Tensor,
    video: torch.Tensor | None,
    settings: GraphSettings,
    progress: Progress,
) -> torch.Tensor | None:
    """Where something moves by itself, [n, H, W] in [0, 1]; None where nothing looks for that."""
    saliency = prior = None
    if settings.motion_saliency is not None:
        saliency = motion_saliency(fwd_flow, bwd_flow, settings.motion_saliency)
    if settings.motion_prior is not None:
        prior = motion_prior(fwd_flow, bwd_flow)
    if saliency is None or prior is None or video is None:
        return prior if saliency is None else saliency
    return motion_evidence(video, saliency, prior, settings.motion_prior, progress=progress)


def _of_object(
    masks: torch.Tensor, evidence: list[torch.Tensor], settings: GraphSettings
) -> tuple[torch.Tensor, torch.Tensor]:
    """The masks, 1 - masks in frames where these are of the background; and which these are."""
    if settings.polarity is None:
        return masks, torch.zeros(len(masks), dtype=torch.bool)
    inverted = inverted_frames(evidence, masks, settings.polarity)
    if inverted.any():
        masks = torch.where(inverted[:, None, None].to(masks.device), 1 - masks, masks)
    return masks, inverted


def _reliability(
    masks: torch.Tensor, moving: torch.Tensor | None, settings: GraphSettings
) -> torch.Tensor | None:
    if settings.frame_reliability is None or moving is None:
        return None
    return frame_reliability(moving, masks, settings.frame_reliability)


def _check(
    fwd_flow: torch.Tensor,
    bwd_flow: torch.Tensor,
    video: torch.Tensor | None,
    feature_maps: torch.Tensor | None,
    settings: GraphSettings,
) -> None:
    """Raise ValueError where `segment` was given something else than it expects."""
    _check_tensor("fwd_flow", fwd_flow, ("n - 1", 2, "H", "W"), torch.float32)
    n_pairs, _, *size = fwd_flow.shape
    _check_tensor("bwd_flow", bwd_flow, tuple(fwd_flow.shape), torch.float32)
    if bwd_flow.device != fwd_flow.device:
        raise ValueError(f"bwd_flow should be on {fwd_flow.device} as fwd_flow is")
    if feature_maps is None:
        if settings.known_masks:
            raise ValueError(
                f"known_masks {settings.known_masks} are channels of feature_maps; give these, or "
                "set it ()"
            )
    else:
        _check_tensor("feature_maps", feature_maps, (n_pairs + 1, "C", *size), torch.float32)
        if settings.features_half_chain_size < 0:
            raise ValueError(
                "feature_maps need a features_half_chain_size of at least 0, "
                f"got {settings.features_half_chain_size}"
            )
        n_channels = feature_maps.shape[1]
        if any(not 0 <= channel < n_channels for channel in settings.known_masks):
            raise ValueError(
                f"known_masks should be channels of feature_maps, 0 to {n_channels - 1}, got "
                f"{settings.known_masks}"
            )
    if video is not None:
        _check_tensor("video", video, (n_pairs + 1, 3, *size), torch.uint8)
    elif settings.uses_video:
        raise ValueError(
            "video should be the frames, uint8 RGB, as bootstrap, refinement and motion_prior "
            "beside motion_saliency look at it; give it, or set these None"
        )


def _check_tensor(
    name: str, tensor: torch.Tensor, shape: tuple[int | str, ...], dtype: torch.dtype
) -> None:
    """A letter in ``shape`` stands for any size."""
    expected = f"{name} should be a {dtype} tensor of shape [{', '.join(map(str, shape))}]"
    if not isinstance(tensor, torch.Tensor):
        raise ValueError(f"{expected}, got {type(tensor).__name__}")
    right = tensor.ndim == len(shape) and all(
        isinstance(size, str) or size == given
        for size, given in zip(shape, tensor.shape, strict=True)
    )
    if not right or tensor.dtype != dtype:
        raise ValueError(f"{expected}, got {tensor.dtype} of shape {list(tensor.shape)}")
    if (
        dtype.is_floating_point
        and tensor.numel()
        and not torch.isfinite(torch.stack(tensor.aminmax())).all()
    ):
        raise ValueError(f"{name} should be finite, got NaN or infinite values")
