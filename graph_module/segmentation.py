"""From the files of a video to the soft masks of its primary object."""

from __future__ import annotations

import functools
import math
import os
import re
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from tqdm import tqdm

from graph_module.appearance import appearance_masks
from graph_module.compiled import AVAILABLE
from graph_module.memory_plan import GraphSize, MemoryPlan, plan_memory
from graph_module.motion_matrix import propagate
from graph_module.motion_saliency import motion_evidence, motion_saliency
from graph_module.power_iteration import power_iteration
from graph_module.seeds import seed_mask
from graph_module.space_time_graph import SpaceTimeGraph, build_graph, count_features
from graph_module.temporal_weights import exact_weights, fast_weights
from ike_data.config import GraphModule
from ike_data.cores import map_on_cores, n_workers
from ike_data.flow_files import check_flow_folders, flow_name, read_flow
from ike_data.frames import Frames
from ike_data.free_memory import free_memory
from ike_data.guided_filter import follow_edges
from ike_data.memory_statement import GB, state_memory
from ike_data.out_of_memory import GRAPH_REMEDY
from ike_data.soft_masks import (
    HARD_THRESHOLD,
    read_feature_maps,
    write_mask_images,
    write_soft_masks,
)
from ike_data.step_log import step_log
from ike_data.working_frames import read_working_frames

SEED_ITERATION = -1
# What is still to come changes the masks by less than 0.004 on average; see docs/performance.md.
FAST_TOLERANCE = 0.001
# Enough for what appearance is learnt from.
DRAFT_TOLERANCE = 0.001
DRAFT_SHRINK = 2
_ITERATION = re.compile(r"iter_-?\d+(_images)?")


def segment_video(
    frames: Frames,
    fwd_folder: Path,
    bwd_folder: Path,
    out_path: Path,
    *,
    working_size: tuple[int, int],
    settings: GraphModule,
    device: torch.device,
    record: Callable[[Iterable[Path]], None],
) -> None:
    """Run the graph module on a video and write its soft masks.

    Writes ``out_path/iter_{idx}/%05d.pt`` (float32 [H, W, 1] in [0, 1]) and
    ``out_path/iter_{idx}_images/%05d.png`` for the iterations in ``to_save_iterations``, and
    ``out_path/log.csv`` with the masks' mean change in each iteration; all of them of the last
    pass, where there are several (``appearance_passes``).

    Args:
        fwd_folder, bwd_folder: .flo files of the frames' own size.
        working_size: (H, W), pixels.
        record: called when all input has been read, with what an earlier run has left.

    Raises:
        InputError: a frame, flow file or feature map is missing or cannot be used.
    """
    start = time.perf_counter()
    n_frames, frame_size = frames.count, (frames.height, frames.width)
    check_flow_folders(fwd_folder, bwd_folder, n_frames, *frame_size)
    feature_maps = [
        read_feature_maps(folder, n_frames, *working_size).permute(0, 3, 1, 2)  # [n, C, H, W]
        for folder in settings.ike_features_paths
    ]
    uses_maps = settings.features_half_chain_size >= 0
    # A network's masks say already how the object looks.
    has_masks = any(maps.shape[1] == 1 for maps in feature_maps)
    n_drafts = settings.appearance_passes if uses_maps and not has_masks else 0
    uses_video = n_drafts > 0 or settings.refinement
    video = read_working_frames(frames, *working_size) if uses_video else None
    weights_for = {"exact": exact_weights, "fast": fast_weights}[settings.propagation]
    weights = weights_for(settings.half_window, settings.sigma)
    use_compiled = settings.engine == "auto" and device.type == "cpu" and AVAILABLE
    n_channels = sum(maps.shape[1] for maps in feature_maps)
    n_channels += (settings.motion_saliency and uses_maps) + (n_drafts > 0)
    n_features = 1 + sum(
        count_features(
            n_channels, settings.dir_features_half_chain_size, settings.features_half_chain_size
        )
    )
    size = GraphSize(
        n_frames=n_frames,
        n_nodes=working_size[0] * working_size[1],
        n_links=math.ceil(2 * sum(max(n_frames - k, 0) for k in weights) / n_frames),
        reach=2 * max(weights, default=0),
        n_features=n_features,
        n_channels=n_channels,
        uses_video=uses_video,
        even_links=settings.even_links,
        on_gpu=device.type == "cuda",
    )
    plan = _choose_plan(size, settings.links_memory * GB, device, use_compiled)
    fwd_flow, bwd_flow = (
        read_flows(folder, n_frames, frame_size, working_size).to(device)
        for folder in (fwd_folder, bwd_folder)
    )
    to_save = settings.to_save_iterations
    if to_save is None:
        to_save = tuple(range(SEED_ITERATION, settings.n_iterations))
    record([path for path in out_path.iterdir() if _ITERATION.fullmatch(path.name)])
    if feature_maps and not uses_maps:
        print("features_half_chain_size = -1: the maps of ike_features_paths are not used")
    elif has_masks and settings.appearance_passes:
        print("ike_features_paths has maps of one channel: appearance_passes are left out")
    if n_features == 1:
        print("no node features in use: the masks are propagated, but not projected")

    def save(idx: int, masks: torch.Tensor) -> None:
        write_soft_masks(out_path / f"iter_{idx}", masks)
        write_mask_images(out_path / f"iter_{idx}_images", masks, *frame_size)

    seed = seed_mask(settings.seed_type, settings.seed_type_sigma_percent, *working_size)
    masks = seed.to(device).expand(n_frames, *working_size)
    if SEED_ITERATION in to_save:
        save(SEED_ITERATION, masks)

    # One group: the channels of all folders side by side.
    known_maps = [torch.cat(feature_maps, dim=1).contiguous().to(device)] if feature_maps else []
    saliency = None
    if settings.motion_saliency and uses_maps:
        saliency = motion_saliency(fwd_flow, bwd_flow)
        known_maps.append(saliency[:, None])  # [n, 1, H, W]
    learnt_maps: list[torch.Tensor] = []
    motion = link_sums = None
    for n_left in reversed(range(n_drafts + 1)):
        graph = build_graph(
            fwd_flow,
            bwd_flow,
            [*known_maps, *learnt_maps],
            weights=weights,
            dir_features_half_chain_size=settings.dir_features_half_chain_size,
            features_half_chain_size=settings.features_half_chain_size,
            keep_links=plan.keep_links,
            motion=motion,
            outside=None if plan.keep_features else functools.partial(_outside, out_path, device),
            use_compiled=use_compiled,
        )
        motion = graph.motion
        if settings.even_links and link_sums is None:
            link_sums = propagate(motion, torch.ones_like(masks))
        if n_left and video is not None:
            # All but the last are let go at once.
            drafts = deque(_iterate(graph, masks, link_sums, settings, DRAFT_TOLERANCE), maxlen=1)
            masks = drafts.pop()[-1]
            del graph
            learnt_maps = [_explained(video, masks, saliency, DRAFT_SHRINK)[:, None]]
    del fwd_flow, bwd_flow, feature_maps, known_maps, learnt_maps

    if not settings.refinement:
        video = saliency = None  # the drafts have used them
    elif has_masks:
        saliency = None  # a network's masks do not need motion in their frame

    def finish(masks: torch.Tensor) -> torch.Tensor:
        return masks if video is None else _refined(video, masks, saliency)

    tolerance = settings.tolerance
    if settings.propagation == "fast":
        tolerance = max(tolerance, FAST_TOLERANCE)
    with step_log(out_path, "iteration", "mean_change", start=start) as log:
        for idx, mean_change, result in _iterate(graph, masks, link_sums, settings, tolerance):
            if idx in to_save:
                save(idx, finish(result))
            log(idx, mean_change)
    # What is left to be saved when the masks are done is saved under its own name, which the next
    # command expects.
    left = [name for name in to_save if name > idx]
    if settings.to_save_iterations is None:
        left = left[-1:]
    finished = finish(result) if left else result
    for name in left:
        save(name, finished)
    if idx < settings.n_iterations - 1:
        print(
            f"iteration {idx} changed the masks by {mean_change:.2g} on average, less than "
            f"{tolerance:g}: they are the result"
        )
    if not result.any():
        print(
            "warning: no object was found, all masks are 0 everywhere; does anything in the video "
            "move by itself?",
            file=sys.stderr,
        )
    print(f"soft masks written to {out_path}")


def _explained(
    video: torch.Tensor, masks: torch.Tensor, saliency: torch.Tensor | None, shrink: int = 1
) -> torch.Tensor:
    """What colour and position explain of masks, along the edges; without saliency all frames count
    alike in it."""
    trust = None if saliency is None else motion_evidence(saliency, masks)
    return follow_edges(video, appearance_masks(video, masks, shrink=shrink, trust=trust))


def _refined(
    video: torch.Tensor, masks: torch.Tensor, saliency: torch.Tensor | None
) -> torch.Tensor:
    """What `_explained` gives; the masks if that is nothing."""
    refined = _explained(video, masks, saliency)
    if refined.max() < HARD_THRESHOLD <= masks.max():
        print(
            "warning: refinement leaves no object, perhaps as it is very small; the masks are "
            "saved as they were before",
            file=sys.stderr,
        )
        return masks
    return refined


def _iterate(
    graph: SpaceTimeGraph,
    masks: torch.Tensor,
    link_sums: torch.Tensor | None,
    settings: GraphModule,
    tolerance: float,
) -> Iterator[tuple[int, float, torch.Tensor]]:
    """Iteration, mean change and masks, until the change falls under ``tolerance``."""
    iterations = power_iteration(
        graph,
        masks,
        ridge=settings.ridge,
        n_iterations=settings.n_iterations,
        link_sums=link_sums,
    )
    with tqdm(iterations, "power iteration", settings.n_iterations, unit="iteration") as bar:
        for idx, new_masks in enumerate(bar):
            mean_change = (new_masks - masks).abs_().mean().item()
            masks = new_masks
            bar.set_postfix_str(f"mean change {mean_change:.5f}")
            yield idx, mean_change, masks
            if mean_change < tolerance:
                return


def _choose_plan(
    size: GraphSize, links_limit: float, device: torch.device, use_compiled: bool
) -> MemoryPlan:
    """The way that fits into the memory; says what it will need."""
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


def _outside(out_path: Path, device: torch.device, shape: tuple[int, ...]) -> torch.Tensor:
    """Room for features that do not fit: the CPU's memory for a GPU, the disk for a CPU.

    Raises:
        OSError: the disk has no room for them.
    """
    if device.type == "cuda":
        return torch.empty(shape, dtype=torch.int16)
    # A file without a name: it is gone when the process ends, however it ends.
    with tempfile.TemporaryFile(dir=out_path) as file:
        # Taken now: a disk that fills up later would kill the process without a word.
        if hasattr(os, "posix_fallocate"):  # not on macOS
            os.posix_fallocate(file.fileno(), 0, 2 * math.prod(shape))
        else:
            file.truncate(2 * math.prod(shape))
        return torch.from_numpy(np.memmap(file, np.int16, "r+", shape=shape))


def read_flows(
    folder: Path, n_frames: int, frame_size: tuple[int, int], working_size: tuple[int, int]
) -> torch.Tensor:
    """Read a folder of .flo files at the working size.

    Resized bilinearly (align_corners=False), u and v scaled by W / w and H / h.

    Returns:
        float32 [n_frames - 1, 2, H, W], channels (u, v) in pixels of the working size.
    """
    height, width = working_size
    flows = torch.empty(n_frames - 1, 2, height, width)
    scale = torch.tensor([width / frame_size[1], height / frame_size[0]]).view(2, 1, 1)

    def read(idx: int) -> None:
        flow = torch.from_numpy(read_flow(folder / flow_name(idx), *frame_size))
        flow = F.interpolate(
            flow.permute(2, 0, 1)[None], size=working_size, mode="bilinear", align_corners=False
        )  # [1, 2, H, W]
        torch.mul(flow[0], scale, out=flows[idx])

    done = map_on_cores(read, range(n_frames - 1), flows.device)
    for _ in tqdm(done, f"reading {folder.name}", n_frames - 1, unit="flow"):
        pass
    return flows
