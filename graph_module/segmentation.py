"""From the files of a video to the soft masks of its primary object."""

from __future__ import annotations

import functools
import math
import re
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from tqdm import tqdm

from graph_module.compiled import AVAILABLE
from graph_module.memory_plan import GraphSize, MemoryPlan, choose_plan
from graph_module.motion_matrix import propagate
from graph_module.motion_saliency import are_opposite, motion_saliency
from graph_module.outside import room_outside
from graph_module.power_iteration import power_iteration
from graph_module.refinement import explained, refined
from graph_module.seeds import seed_mask
from graph_module.space_time_graph import SpaceTimeGraph, build_graph, count_features
from graph_module.temporal_weights import exact_weights, fast_weights
from graph_module.working_flow import read_working_flow
from ike_data.config import GraphModule
from ike_data.flow_files import check_flow_folders
from ike_data.frames import Frames
from ike_data.memory_statement import GB
from ike_data.out_of_memory import memory_is_full
from ike_data.saved_config import warn_of_other_frames
from ike_data.soft_masks import read_feature_maps, write_mask_images, write_soft_masks
from ike_data.step_log import step_log
from ike_data.working_frames import read_working_frames

SEED_ITERATION = -1
# What is still to come changes the masks by less than 0.004 on average; see docs/performance.md.
FAST_TOLERANCE = 0.001
# Enough for what appearance is learnt from.
DRAFT_TOLERANCE = 0.001
DRAFT_SHRINK = 2
_ITERATION = re.compile(r"iter_-?\d+(_images)?")


@dataclass(frozen=True)
class _Inputs:
    """What a graph is made of besides the flow."""

    maps: torch.Tensor | None  # of ike_features_paths, side by side, [n, C, H, W]
    has_masks: bool  # a network's are among them
    uses_saliency: bool  # see `motion_saliency`
    n_drafts: int  # passes before the last
    video: torch.Tensor | None  # uint8 RGB [n, 3, H, W]; None where no colour is looked at
    weights: Mapping[int, float]  # of the links, see `temporal_weights`
    use_compiled: bool


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
    frame_size = frames.height, frames.width
    check_flow_folders(fwd_folder, bwd_folder, frames.count, *frame_size)
    for folder in (fwd_folder, *settings.ike_features_paths):
        warn_of_other_frames(folder, frames)
    inputs = _read_inputs(frames, working_size, settings, device)
    size = _graph_size(inputs, frames.count, working_size, settings, device)
    plan_for = functools.partial(choose_plan, size, device=device, use_compiled=inputs.use_compiled)

    def read_flows() -> list[torch.Tensor]:
        flows = [
            read_working_flow(folder, frames.count, frame_size, working_size).to(device)
            for folder in (fwd_folder, bwd_folder)
        ]
        record([path for path in out_path.iterdir() if _ITERATION.fullmatch(path.name)])
        return flows

    def run(plan: MemoryPlan) -> None:
        masks = seed_mask(settings.seed_type, settings.seed_type_sigma_percent, *working_size)
        masks = masks.to(device).expand(frames.count, *working_size)
        last_pass = _last_pass(read_flows, masks, inputs, plan, out_path, settings)
        _save_iterations(last_pass, masks, inputs, out_path, frame_size, settings, start)

    plan = plan_for(settings.links_memory * GB)
    try:
        run(plan)
        return
    except Exception as error:
        if not (memory_is_full(error) and plan.keep_links):
            raise
    # Here, where the traceback does not hold the tensors any more.
    print(
        "warning: the memory did not suffice in spite of the plan: once more, with links "
        "followed anew in each iteration (links_memory = 0)",
        file=sys.stderr,
    )
    run(plan_for(0))


def _read_inputs(
    frames: Frames, working_size: tuple[int, int], settings: GraphModule, device: torch.device
) -> _Inputs:
    """Read frames and feature maps, as far as they are used."""
    maps = [
        read_feature_maps(folder, frames.count, *working_size).permute(0, 3, 1, 2)  # [n, C, H, W]
        for folder in settings.ike_features_paths
    ]
    uses_maps = settings.features_half_chain_size >= 0
    # A network's masks say already how the object looks.
    has_masks = any(folder_maps.shape[1] == 1 for folder_maps in maps)
    n_drafts = settings.appearance_passes if uses_maps and not has_masks else 0
    if maps and not uses_maps:
        print("features_half_chain_size = -1: the maps of ike_features_paths are not used")
    elif has_masks and settings.appearance_passes:
        print("ike_features_paths has maps of one channel: appearance_passes are left out")
    weights_for = {"exact": exact_weights, "fast": fast_weights}[settings.propagation]
    return _Inputs(
        maps=torch.cat(maps, dim=1).contiguous() if maps else None,
        has_masks=has_masks,
        uses_saliency=settings.motion_saliency and uses_maps,
        n_drafts=n_drafts,
        video=(
            read_working_frames(frames, *working_size)
            if n_drafts > 0 or settings.refinement
            else None
        ),
        weights=weights_for(settings.half_window, settings.sigma),
        use_compiled=settings.engine == "auto" and device.type == "cpu" and AVAILABLE,
    )


def _graph_size(
    inputs: _Inputs,
    n_frames: int,
    working_size: tuple[int, int],
    settings: GraphModule,
    device: torch.device,
) -> GraphSize:
    n_read = 0 if inputs.maps is None else inputs.maps.shape[1]
    n_made = inputs.uses_saliency + (inputs.n_drafts > 0)
    n_features = 1 + sum(
        count_features(
            n_read + n_made,
            settings.dir_features_half_chain_size,
            settings.features_half_chain_size,
        )
    )
    if n_features == 1:
        print("no node features in use: the masks are propagated, but not projected")
    n_linked = 2 * sum(max(n_frames - k, 0) for k in inputs.weights)
    return GraphSize(
        n_frames=n_frames,
        n_nodes=working_size[0] * working_size[1],
        n_links=math.ceil(n_linked / n_frames),
        reach=2 * max(inputs.weights, default=0),
        n_features=n_features,
        n_channels=n_made + (n_read if device.type == "cuda" else 0),  # on a CPU they are there
        uses_video=inputs.video is not None,
        even_links=settings.even_links,
        on_gpu=device.type == "cuda",
    )


@dataclass(frozen=True)
class _Pass:
    """A pass of the power iteration over the video, before it begins."""

    graph: SpaceTimeGraph
    masks: torch.Tensor  # that it begins with
    link_sums: torch.Tensor | None  # see `power_iteration`
    saliency: torch.Tensor | None  # see `motion_saliency`


def _last_pass(
    read_flows: Callable[[], list[torch.Tensor]],
    masks: torch.Tensor,
    inputs: _Inputs,
    plan: MemoryPlan,
    out_path: Path,
    settings: GraphModule,
) -> _Pass:
    """Build the graph from the flow, and make the passes before the last."""
    fwd_flow, bwd_flow = read_flows()
    known_maps = [] if inputs.maps is None else [inputs.maps.to(masks)]
    saliency = None
    if inputs.uses_saliency:
        saliency = motion_saliency(fwd_flow, bwd_flow)
        known_maps.append(saliency[:, None])  # [n, 1, H, W]
    outside = functools.partial(room_outside, out_path, masks.device)
    learnt_maps: list[torch.Tensor] = []
    motion = link_sums = None
    for n_left in reversed(range(inputs.n_drafts + 1)):
        graph = build_graph(
            fwd_flow,
            bwd_flow,
            [*known_maps, *learnt_maps],
            weights=inputs.weights,
            dir_features_half_chain_size=settings.dir_features_half_chain_size,
            features_half_chain_size=settings.features_half_chain_size,
            keep_links=plan.keep_links,
            motion=motion,
            outside=None if plan.keep_features else outside,
            use_compiled=inputs.use_compiled,
        )
        motion = graph.motion
        if settings.even_links and link_sums is None:
            link_sums = propagate(motion, torch.ones_like(masks))
        if n_left and inputs.video is not None:
            # All but the last are let go at once.
            drafts = deque(_iterate(graph, masks, link_sums, settings, DRAFT_TOLERANCE), maxlen=1)
            masks = _of_what_moves(drafts.pop()[-1], saliency)
            del graph
            learnt = explained(inputs.video, masks, saliency, shrink=DRAFT_SHRINK)
            learnt_maps = [learnt[:, None]]  # [n, 1, H, W]
    return _Pass(graph, masks, link_sums, saliency)


def _save_iterations(
    last_pass: _Pass,
    seed: torch.Tensor,
    inputs: _Inputs,
    out_path: Path,
    frame_size: tuple[int, int],
    settings: GraphModule,
    start: float,
) -> None:
    """Iterate the last pass, and save what ``to_save_iterations`` names, refined."""
    to_save = settings.to_save_iterations
    if to_save is None:
        to_save = tuple(range(SEED_ITERATION, settings.n_iterations))
    # A network's masks do not need motion in their frame.
    saliency = None if inputs.has_masks else last_pass.saliency
    video = inputs.video if settings.refinement else None  # else the drafts have used it

    def finish(masks: torch.Tensor) -> torch.Tensor:
        masks = _of_what_moves(masks, last_pass.saliency)
        return masks if video is None else refined(video, masks, saliency)

    def save(idx: int, masks: torch.Tensor) -> None:
        write_soft_masks(out_path / f"iter_{idx}", masks)
        write_mask_images(out_path / f"iter_{idx}_images", masks, *frame_size)

    tolerance = settings.tolerance
    if settings.propagation == "fast":
        tolerance = max(tolerance, FAST_TOLERANCE)
    if SEED_ITERATION in to_save:
        save(SEED_ITERATION, seed)
    with step_log(out_path, "iteration", "mean_change", start=start) as log:
        for idx, mean_change, masks in _iterate(
            last_pass.graph, last_pass.masks, last_pass.link_sums, settings, tolerance
        ):
            if idx in to_save:
                finished = finish(masks)
                save(idx, finished)
            log(idx, mean_change)
    # What is left to be saved when the masks are done is saved under its own name, which the next
    # command expects.
    left = [name for name in to_save if name > idx]
    if settings.to_save_iterations is None:
        left = left[-1:]
    if left and idx not in to_save:
        finished = finish(masks)
    for name in left:
        save(name, finished)
    if idx < settings.n_iterations - 1:
        print(
            f"iteration {idx} changed the masks by {mean_change:.2g} on average, less than "
            f"{tolerance:g}: they are the result"
        )
    if not masks.any():
        print(
            "warning: no object was found, all masks are 0 everywhere; does anything in the video "
            "move by itself?",
            file=sys.stderr,
        )
    print(f"soft masks written to {out_path}")


def _of_what_moves(masks: torch.Tensor, saliency: torch.Tensor | None) -> torch.Tensor:
    """The masks, or 1 - masks where these are of the background."""
    if saliency is None or not are_opposite(saliency, masks):
        return masks
    print("the masks leave out what moves by itself: their opposite is taken")
    return 1 - masks


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
