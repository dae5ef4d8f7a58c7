"""The stages of the software as a GPU runs them, on a made-up video: to be timed, or counted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from torchvision.models.optical_flow import raft_large, raft_small

from graph_module import GraphSettings, segment
from graph_module.extensions.appearance import appearance_masks
from graph_module.extensions.frame_reliability import frame_reliability
from graph_module.extensions.motion_evidence import motion_evidence
from graph_module.extensions.motion_prior import load_network, motion_prior
from graph_module.extensions.motion_saliency import motion_saliency
from graph_module.extensions.polarity import inverted_frames
from graph_module.features import node_features
from graph_module.link_weights import link_weights
from graph_module.motion_matrix import motion_matrix
from graph_module.normalisation import min_max_each_
from graph_module.projection import project_, projection
from graph_module.propagation import propagate
from ike_data.guided_filter import follow_edges
from network_module.learning import start_training
from network_module.settings import Settings
from network_module.training import train
from network_module.unet import seeded_unet
from RAFT import RaftFlow

Stage = tuple[str, Callable[[], object]]


class Video(NamedTuple):
    """A bright block that moves over a still background."""

    frames: torch.Tensor  # uint8 RGB [n, 3, H, W]
    fwd_flow: torch.Tensor  # [n - 1, 2, H, W], pixels
    bwd_flow: torch.Tensor
    masks: torch.Tensor  # of the block, [n, H, W]

    def to(self, device: torch.device) -> Video:
        return Video(*(tensor.to(device) for tensor in self))


def moving_block(n_frames: int, height: int, width: int) -> Video:
    """A third of the frame high and wide; it moves over half of it, by the same step each frame."""
    rng = np.random.default_rng(0)
    fwd, bwd = rng.normal(scale=0.05, size=(2, n_frames - 1, 2, height, width)).astype(np.float32)
    frames = rng.integers(0, 60, size=(n_frames, 3, height, width), dtype=np.uint8)
    masks = np.zeros((n_frames, height, width), np.float32)
    step = width / (2 * n_frames)
    for idx in range(n_frames):
        left = round(width / 12 + idx * step)
        block = np.s_[height // 3 : 2 * height // 3, left : left + width // 3]
        masks[idx][block], frames[idx, 0][block] = 1, 220
        if idx < n_frames - 1:
            fwd[idx, 0][block] += step
        if idx > 0:
            bwd[idx - 1, 0][block] -= step
    return Video(*(torch.from_numpy(array) for array in (frames, fwd, bwd, masks)))


def graph_stages(video: Video, settings: GraphSettings) -> Iterator[Stage]:
    """Those of the graph module: its parts in the paper's setting, then all of it.

    Some extensions of the ``settings``, those of config.ini say, are timed on their own.
    """
    frames, fwd, bwd, masks = video
    device, paper, colours = fwd.device, GraphSettings(), frames.cpu()
    assert settings.bootstrap is not None
    appearance = settings.bootstrap.appearance
    saliency = motion_saliency(fwd, bwd, settings.motion_saliency)
    load_network(device)  # the first time it is read
    weights = link_weights(paper.half_window, paper.sigma)

    def features() -> torch.Tensor:
        return node_features(
            fwd,
            bwd,
            [saliency[:, None]],
            dir_features_half_chain_size=paper.dir_features_half_chain_size,
            features_half_chain_size=paper.features_half_chain_size,
        )

    matrix = motion_matrix(fwd, bwd, weights)
    onto_features = projection(features(), paper.ridge, device)

    def iteration() -> float:
        x = min_max_each_(propagate(matrix, masks))
        min_max_each_(project_(onto_features, x))
        return float((x - masks).abs_().mean())

    yield "links", lambda: motion_matrix(fwd, bwd, weights)
    yield "features", features
    yield "projection, set up", lambda: projection(features(), paper.ridge, device)
    yield "an iteration", iteration
    yield "motion saliency", lambda: motion_saliency(fwd, bwd, settings.motion_saliency)
    yield "motion prior", lambda: motion_prior(fwd, bwd)
    yield (
        "motion evidence",
        lambda: motion_evidence(colours, saliency, masks, settings.motion_prior),
    )
    yield "polarity", lambda: inverted_frames([saliency, saliency], masks, settings.polarity)
    yield (
        "frame reliability",
        lambda: frame_reliability(saliency, masks, settings.frame_reliability),
    )
    yield "appearance", lambda: appearance_masks(colours, masks, appearance)
    yield "guided filter", lambda: follow_edges(frames, masks)
    yield "graph, paper.ini", lambda: segment(fwd, bwd)
    yield "graph, config.ini", lambda: segment(fwd, bwd, video=colours, settings=settings)


def training_stage(video: Video, settings: Settings) -> Stage:
    """An epoch of a training that has begun."""
    device = video.fwd_flow.device
    network = seeded_unet(settings.base_channels, settings.seed).to(device)
    frames, masks = video.frames.cpu(), video.masks.cpu()
    epochs = train(start_training(network, masks, settings), frames, masks, settings)
    next(epochs)
    return "training, an epoch", lambda: next(epochs)


def raft_stages(device: torch.device, height: int, width: int) -> Iterator[Stage]:
    """A pair of frames both ways, by networks of random weights."""
    frames = moving_block(2, height, width).frames.permute(0, 2, 3, 1).numpy()
    for size, network in (("large", raft_large), ("small", raft_small)):
        model = network().eval()
        for mixed in (False, True):
            method = RaftFlow(model, mixed_precision=mixed, device=device)

            def pair(method: RaftFlow = method) -> object:
                return method.flow_both_ways(*(method.encode(frame) for frame in frames))

            yield f"RAFT {size}, {'bfloat16 or float16' if mixed else 'float32'}", pair
