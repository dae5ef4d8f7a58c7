"""How much memory the graph of a video takes, and the smaller ways where that is not there."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from graph_module.appearance import N_FOURIER, PIXELS_AT_ONCE, REACH
from graph_module.motion_matrix import FRAMES_PER_BLOCK
from graph_module.power_iteration import CHUNK_BYTES
from ike_data.cores import n_workers
from ike_data.free_memory import free_memory
from ike_data.memory_statement import state_memory
from ike_data.out_of_memory import GRAPH_REMEDY

_FLOAT, _INT32, _INT16 = 4, 4, 2
# What is learnt of the frames' colours: descriptors of a frame or planes of its guided filter,
# random Fourier features of some pixels, and their moments in a window of frames.
_APPEARANCE_NODE = 400
_APPEARANCE = 4 * N_FOURIER * (PIXELS_AT_ONCE + N_FOURIER * (2 * REACH + 8))
_GRAMS = 3 * 8  # Gram matrices, with lambda, and their factors, in float64
_MASK_COPIES = 4  # x, M x, x before it for the mean change, and what is being written


@dataclass(frozen=True)
class GraphSize:
    """What a graph is made of: n frames of N nodes."""

    n_frames: int
    n_nodes: int
    n_links: int  # of a node, to all frames that its chain reaches; the mean over the video
    reach: int  # frames from the first to the last that a frame is linked with
    n_features: int  # with the bias
    n_channels: int  # of the feature maps that are made, or brought to the device
    uses_video: bool = False  # the masks' appearance is learnt from the frames, which are there
    even_links: bool = False  # the sums of the links, and these as divisors
    on_gpu: bool = False  # many frames are worked on at once


@dataclass(frozen=True)
class MemoryPlan:
    """The way that the graph of a video takes."""

    keep_links: bool  # else they are followed anew in each iteration
    keep_features: bool  # else they lie on the disk, or for a GPU in the CPU's memory
    n_bytes: int  # at its peak, beside what the process held before


def plan_memory(size: GraphSize, links_limit: float, n_free: int, n_cores: int) -> MemoryPlan:
    """The fastest way that fits, or the smallest where none does.

    Args:
        links_limit: the most that the links may take, bytes.
        n_free: bytes that are free on the device.
        n_cores: that propagate at a time.
    """
    n_links = _INT32 * size.n_frames * size.n_nodes * size.n_links
    ways = [(True, True), (False, True), (False, False)]
    plans = [MemoryPlan(*way, _peak(size, n_links, *way, n_cores)) for way in ways]
    if n_links > links_limit:
        del plans[0]
    return next((plan for plan in plans if plan.n_bytes <= n_free), plans[-1])


def choose_plan(
    size: GraphSize, links_limit: float, device: torch.device, *, use_compiled: bool
) -> MemoryPlan:
    """The way that fits into the memory of ``device`` now; says what it will need."""
    plan = plan_memory(size, links_limit, free_memory(device), n_workers(device))
    state_memory(
        device,
        plan.n_bytes,
        GRAPH_REMEDY,
        f"links are {'kept' if plan.keep_links else 'followed anew in each iteration'}"
        f"{'' if plan.keep_features else ', features kept outside'}",
        f"engine: {'numba' if use_compiled else 'PyTorch'}",
    )
    return plan


def _peak(
    size: GraphSize, n_links: int, keep_links: bool, keep_features: bool, n_cores: int
) -> int:
    """Bytes at the larger of two moments: when the graph is built, and when it is iterated."""
    nodes = size.n_frames * size.n_nodes
    graph = n_links if keep_links else 0
    if keep_features:
        graph += _INT16 * nodes * size.n_features
    graph += _GRAMS * size.n_frames * size.n_features**2
    flows, maps = _FLOAT * nodes * 4, _FLOAT * nodes * size.n_channels
    masks = _FLOAT * nodes * (_MASK_COPIES + 2 * size.even_links)
    # A core's block of frames with those that their links reach: sums of masks, and where links
    # are followed anew the planes of cells that are read and written as well.
    touched = min(size.n_frames, FRAMES_PER_BLOCK + size.reach) * size.n_nodes * _FLOAT
    blocks = n_cores * touched * (1 if keep_links else 1 + 2 * 4)
    if size.on_gpu:
        if keep_links:
            blocks += 2 * 4 * min(size.n_frames, FRAMES_PER_BLOCK) * size.n_nodes * _FLOAT
        # The features that masks are projected onto are float32.
        blocks = max(blocks, min(CHUNK_BYTES, _FLOAT * nodes * size.n_features))
    building = flows + maps
    if size.uses_video:
        # Between the passes, masks that are learnt and these along the edges; all is kept for the
        # next pass.
        appearance = _APPEARANCE_NODE * size.n_nodes + _APPEARANCE
        building += masks + appearance
        iterating = flows + maps + masks + max(blocks, appearance + 2 * _FLOAT * nodes)
    else:
        iterating = maps + masks + blocks + (0 if keep_links else flows)
    return graph + max(building, iterating)
