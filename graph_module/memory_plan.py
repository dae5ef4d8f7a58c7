"""How much memory the graph of a video takes, and the smaller ways where that is not there."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from graph_module.chains import CHAIN_BYTES
from graph_module.extensions.appearance import FRAMES_AT_ONCE, PIXELS_AT_ONCE, Appearance
from graph_module.features import count_features
from graph_module.motion_matrix import FRAMES_PER_BLOCK
from graph_module.propagation import LINK_BYTES
from graph_module.settings import GraphSettings
from ike_data.runtime.cores import BLOCK_BYTES, n_workers
from ike_data.runtime.free_memory import free_memory
from ike_data.runtime.memory_statement import state_memory
from ike_data.runtime.out_of_memory import GRAPH_REMEDY

_FLOAT, _INT32, _INT16, _DOUBLE = 4, 4, 2, 8
# Floats of a node in a GPU's propagation: of its four cells what is read (4), sent as int64 (8) and
# then as float (4); and the sums of their rows (4).
_PLANES = 4 + 8 + 4 + 4


@dataclass(frozen=True)
class MemoryPlan:
    """How the graph of a video is computed."""

    store_links: bool  # else they are recomputed in each iteration
    offload: bool  # the features: to the disk, or for a GPU to the CPU's memory
    n_bytes: int  # at its peak, beside what the process held before


@dataclass(frozen=True)
class GraphSize:
    """What the memory of a graph depends on."""

    n_frames: int
    height: int  # of a frame, pixels
    width: int
    settings: GraphSettings
    # Of the feature maps that are read; on a CPU they are there already, at the working size.
    n_channels: int = 0
    on_gpu: bool = False

    @property
    def n_pixels(self) -> int:
        """Of a frame."""
        return self.height * self.width

    @property
    def n_nodes(self) -> int:
        """Nodes of a frame."""
        return math.prod(self.settings.graph_size(self.height, self.width))


def plan_memory(size: GraphSize, links_limit: float, n_free: int, n_cores: int) -> MemoryPlan:
    """The fastest way that fits, or the smallest where none does.

    Args:
        links_limit: the most that the links may take, bytes.
        n_free: bytes that are free on the device.
        n_cores: that propagate at a time.
    """
    ways = [(True, False), (False, False), (False, True)]
    plans = [MemoryPlan(*way, _peak(size, *way, n_cores)) for way in ways]
    if _link_bytes(size) > links_limit:
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
        f"links are {'stored' if plan.store_links else 'recomputed in each iteration'}"
        f"{', features offloaded' if plan.offload else ''}",
        f"engine: {'numba' if use_compiled else 'PyTorch'}",
    )
    return plan


def _peak(size: GraphSize, store_links: bool, offload: bool, n_cores: int) -> int:
    """The larger of both flows as they are read, and of all that a pass holds and works with."""
    nodes, settings = size.n_frames * size.n_nodes, size.settings
    n_made = settings.looks_at_motion + (settings.bootstrap is not None)
    is_coarse = size.n_nodes < size.n_pixels
    n_maps = n_made + (size.n_channels if size.on_gpu or is_coarse else 0)
    # x, M x and x before it, the mean change, the degree and its divisor, and what appearance makes
    # of x.
    n_masks = 4 + 2 * (settings.degree_normalisation is not None) + settings.uses_video
    n_features = 1 + sum(
        count_features(
            size.n_channels + n_made,
            settings.dir_features_half_chain_size,
            settings.features_half_chain_size,
        )
    )
    held = _FLOAT * nodes * (4 + n_maps + n_masks)  # 4: both flows
    held += _link_bytes(size) if store_links else 0
    held += 0 if offload else _INT16 * nodes * n_features
    held += 2 * _DOUBLE * size.n_frames * n_features**2  # Gram matrices, and their factors
    if settings.uses_video:
        held += size.n_frames * (_FLOAT * size.n_pixels + 3 * size.n_nodes)  # result, small frames
    working = _propagation_bytes(size, store_links, n_features, n_cores)
    working = max(working, _appearance_bytes(size, n_cores))
    read = 4 * _FLOAT * size.n_frames * (size.n_pixels + size.n_nodes)
    return max(read, held + working)


def _link_bytes(size: GraphSize) -> int:
    """An int32 for each link of each node, on a GPU also for those that would leave the video."""
    n, distances = size.n_frames, [k for k in size.settings.weights() if k < size.n_frames]
    n_linked = sum(n if size.on_gpu else n - k for k in distances)  # pairs of frames
    return _INT32 * size.n_nodes * 2 * n_linked


def _propagation_bytes(size: GraphSize, store_links: bool, n_features: int, n_cores: int) -> int:
    """Sums of each core's block of frames, with the frames that their links reach.

    Where links are recomputed also the four planes of cells that are read and the four that are
    written.
    """
    if size.on_gpu:
        return _gpu_propagation_bytes(size, store_links, n_features)
    touched = min(size.n_frames, FRAMES_PER_BLOCK + 2 * max(size.settings.weights(), default=0))
    planes = 8 * (0 if store_links else touched)
    return _FLOAT * size.n_nodes * n_cores * (touched + planes)


def _gpu_propagation_bytes(size: GraphSize, store_links: bool, n_features: int) -> int:
    """Planes of a block of frames, and what is made of links; or of features, as float32."""
    n_frames, n_nodes, weights = size.n_frames, size.n_nodes, size.settings.weights()
    block = max(BLOCK_BYTES // (CHAIN_BYTES * n_nodes), 1)
    touched = min(n_frames, block + 2 * max(weights, default=0))
    block = min(n_frames, block)
    of_distance = LINK_BYTES * n_nodes * block
    links = min(of_distance * 2 * len(weights), max(BLOCK_BYTES, of_distance))
    chains = 0 if store_links else CHAIN_BYTES * n_nodes * block
    projected = min(BLOCK_BYTES, _FLOAT * n_frames * n_nodes * n_features)
    return max(_FLOAT * n_nodes * touched * (1 + _PLANES) + links + chains, projected)


def _appearance_bytes(size: GraphSize, n_cores: int) -> int:
    """Moments of windows; of each core descriptors or planes of a filter, and features."""
    settings = size.settings
    learning = settings.motion_prior, settings.bootstrap, settings.refinement
    used: list[Appearance] = [some.appearance for some in learning if some is not None]
    return max(
        (
            _FLOAT * min(FRAMES_AT_ONCE + 2 * a.reach, size.n_frames) * a.n_fourier**2
            + _core_bytes(size, a, n_cores)
            for a in used
        ),
        default=0,
    )


def _core_bytes(size: GraphSize, appearance: Appearance, n_cores: int) -> int:
    """What each core has of a frame, or a GPU of a block of frames."""
    n_fourier = appearance.n_fourier
    planes = 60 * size.n_pixels + 300 * size.n_nodes
    if size.on_gpu:
        of_frame = planes + n_fourier * (_FLOAT * size.n_nodes + 24 * n_fourier)
        return max(of_frame, min(BLOCK_BYTES, size.n_frames * of_frame))
    return n_cores * (planes + n_fourier * (_FLOAT * PIXELS_AT_ONCE + 16 * n_fourier))
