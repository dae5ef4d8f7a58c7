"""The graph module as a command runs it: from the files of a video to files of its soft masks.

Reads, plans the memory, calls `segmentation.iterations`, saves and reports. The method is not here.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from graph_module import compiled
from graph_module.extensions.bootstrap import Bootstrap
from graph_module.extensions.coarse_graph import CoarseGraph
from graph_module.extensions.degree_normalisation import DegreeNormalisation
from graph_module.extensions.fast_propagation import FastPropagation
from graph_module.extensions.frame_reliability import FrameReliability
from graph_module.extensions.motion_evidence import MotionPrior
from graph_module.extensions.motion_prior import load_network
from graph_module.extensions.motion_saliency import MotionSaliency
from graph_module.extensions.polarity import Polarity, likeness
from graph_module.extensions.refinement import Refinement
from graph_module.memory_plan import GraphSize, MemoryPlan, choose_plan
from graph_module.offload import offloaded
from graph_module.seeds import seed_mask
from graph_module.segmentation import Execution, Iteration, finish, iterations
from graph_module.settings import GraphSettings
from graph_module.working_flow import read_working_flow
from ike_data.config import GraphModule
from ike_data.flow_files import check_flow_folders, flow_name
from ike_data.frames import Frames
from ike_data.layout import SEED_ITERATION, iteration_images, iteration_masks, saved_iterations
from ike_data.runtime.errors import warn
from ike_data.runtime.memory_statement import GB
from ike_data.runtime.out_of_memory import memory_is_full
from ike_data.saved_config import warn_of_other_frames
from ike_data.soft_masks import read_feature_maps, write_mask_images, write_soft_masks
from ike_data.step_log import step_log
from ike_data.working_frames import read_working_frames


def settings_of(config: GraphModule) -> GraphSettings:
    """The settings of [Graph Module] of a config.ini."""
    uses_maps = config.features_half_chain_size >= 0
    saliency = MotionSaliency() if config.motion_saliency and uses_maps else None
    prior = MotionPrior() if config.motion_prior and uses_maps else None
    looks_at_motion = saliency is not None or prior is not None
    n_passes = config.bootstrap_passes if uses_maps else 0
    return GraphSettings(
        seed_type=config.seed_type,
        seed_sigma=config.seed_type_sigma_percent,
        sigma=config.sigma,
        half_window=config.half_window,
        n_iterations=config.n_iterations,
        dir_features_half_chain_size=config.dir_features_half_chain_size,
        features_half_chain_size=config.features_half_chain_size,
        ridge=config.ridge,
        tolerance=config.tolerance,
        motion_saliency=saliency,
        motion_prior=prior,
        polarity=Polarity() if looks_at_motion else None,
        frame_reliability=FrameReliability() if looks_at_motion else None,
        degree_normalisation=DegreeNormalisation() if config.degree_normalisation else None,
        bootstrap=Bootstrap(n_passes) if n_passes else None,
        refinement=Refinement() if config.refinement else None,
        coarse_graph=CoarseGraph() if config.coarse_graph else None,
        fast_propagation=FastPropagation() if config.propagation == "fast" else None,
    )


def segment_video(
    frames: Frames,
    fwd_folder: Path,
    bwd_folder: Path,
    out_path: Path,
    *,
    working_size: tuple[int, int],
    config: GraphModule,
    device: torch.device,
    record: Callable[[Iterable[Path]], None],
) -> None:
    """Run the graph module on a video and write its soft masks.

    Writes ``out_path/iter_{idx}/%05d.pt`` (float32 [H, W, 1] in [0, 1]) and
    ``out_path/iter_{idx}_images/%05d.png`` for the iterations in ``to_save_iterations``, and
    ``out_path/log.csv`` with the masks' mean change in each iteration; all of them of the last
    pass, where there are several (``bootstrap_passes``).

    Args:
        fwd_folder, bwd_folder: .flo files of the frames' own size.
        working_size: (H, W), pixels.
        record: called when all input has been read, with what an earlier run has left.

    Raises:
        InputError: a frame, flow file or feature map is missing or cannot be used.
    """
    start = time.perf_counter()
    if config.engine == "auto" and compiled.PROBLEM and device.type == "cpu":
        warn(f"numba cannot be used ({compiled.PROBLEM}); PyTorch does its work")
    frame_size = frames.height, frames.width
    check_flow_folders(fwd_folder, bwd_folder, frames.count, *frame_size)
    if (fwd_folder / flow_name(frames.count - 1)).exists():
        warn(f"{fwd_folder}: holds flow of a longer video; does it begin with these frames?")
    for folder in (fwd_folder, *config.ike_features_paths):
        warn_of_other_frames(folder, frames)
    settings, maps = _read_maps(config, frames.count, working_size)
    if settings.motion_prior is not None:
        # It may refuse: before anything that an earlier run has left is removed.
        load_network(device)
    video = read_working_frames(frames, *working_size) if settings.uses_video else None
    n_read = 0 if maps is None else maps.shape[1]
    size = GraphSize(frames.count, *working_size, settings, n_read, device.type == "cuda")
    execution = Execution(compiled=config.engine == "auto")
    plan_for = functools.partial(
        choose_plan, size, device=device, use_compiled=execution.compiled_on(device)
    )

    def read_flows() -> list[torch.Tensor]:
        flows = [
            read_working_flow(folder, frames.count, frame_size, working_size).to(device)
            for folder in (fwd_folder, bwd_folder)
        ]
        record(saved_iterations(out_path))
        return flows

    def run(plan: MemoryPlan) -> None:
        bars = _Bars()
        ways = dataclasses.replace(
            execution,
            store_links=plan.store_links,
            room=functools.partial(offloaded, out_path) if plan.offload else None,
            progress=bars,
        )
        steps = iterations(
            *read_flows(), video=video, feature_maps=maps, settings=settings, execution=ways
        )
        last_pass = _show_passes(steps, bars)
        _save_iterations(last_pass, video, settings, config, out_path, frames, start)

    _run_planned(run, plan_for, config.links_memory * GB)


class _Bars:
    """tqdm, and the bar that it has made last."""

    last: tqdm[Any]

    def __call__(self, iterable: Iterable[Any], /, **labels: Any) -> tqdm[Any]:
        self.last = tqdm(iterable, **labels)
        return self.last


def _run_planned(
    run: Callable[[MemoryPlan], None], plan_for: Callable[[float], MemoryPlan], links_limit: float
) -> None:
    """Call ``run``; once more, with recomputed links, where stored ones did not fit after all."""
    plan = plan_for(links_limit)
    try:
        run(plan)
        return
    except Exception as error:
        if not (memory_is_full(error) and plan.store_links):
            raise
    # Here, where the traceback does not hold the tensors any more.
    warn(
        "the memory did not suffice in spite of the plan: once more, with links recomputed in each "
        "iteration (links_memory = 0)"
    )
    run(plan_for(0))


def _read_maps(
    config: GraphModule, n_frames: int, working_size: tuple[int, int]
) -> tuple[GraphSettings, torch.Tensor | None]:
    """Read the maps of ike_features_paths, [n, C, H, W]; and the settings that go with them."""
    settings = settings_of(config)
    maps = [
        read_feature_maps(folder, n_frames, *working_size).permute(0, 3, 1, 2)  # [n, C, H, W]
        for folder in config.ike_features_paths
    ]
    if maps and settings.features_half_chain_size < 0:
        print("features_half_chain_size = -1: the maps of ike_features_paths are not used")
        maps = []
    starts = itertools.accumulate((folder_maps.shape[1] for folder_maps in maps), initial=0)
    known = tuple(
        start for start, folder_maps in zip(starts, maps, strict=False) if folder_maps.shape[1] == 1
    )
    if known:  # a network's masks, say
        if settings.bootstrap is not None:
            print("ike_features_paths has maps of one channel: bootstrap_passes are left out")
        settings = settings.for_known_masks(known)
    if not maps:
        uses_maps = settings.looks_at_motion or settings.bootstrap is not None
        if settings.dir_features_half_chain_size <= 0 and not uses_maps:
            print("no node features in use: the masks are propagated, but not projected")
        return settings, None
    return settings, torch.cat(maps, dim=1).contiguous()


def _show_passes(steps: Iterator[Iteration], bars: _Bars) -> Iterator[Iteration]:
    """The iterations of the last pass; of all passes the mean change and the polarity are shown."""
    for step in steps:
        bars.last.set_postfix_str(f"mean change {step.mean_change:.5f}")
        if step.index == 0:
            _tell_inverted(step.inverted)
        if not step.n_passes_left:
            yield step


def _save_iterations(
    steps: Iterator[Iteration],
    video: torch.Tensor | None,
    settings: GraphSettings,
    config: GraphModule,
    out_path: Path,
    frames: Frames,
    start: float,
) -> None:
    """Save what ``to_save_iterations`` names, and log all iterations."""
    n_iterations, tolerance = settings.n_iterations, settings.last_tolerance
    to_save = config.to_save_iterations
    if to_save is None:
        to_save = tuple(range(SEED_ITERATION, n_iterations))

    def save(idx: int, masks: torch.Tensor) -> None:
        write_soft_masks(iteration_masks(out_path, idx), masks)
        images = iteration_images(out_path, idx)
        write_mask_images(images, masks, frames.height, frames.width)

    with step_log(out_path, "iteration", "mean_change", start=start) as log:
        for step in steps:
            if step.index == 0 and SEED_ITERATION in to_save:
                size = step.masks.shape[1:] if video is None else video.shape[2:]
                seed = seed_mask(settings.seed_type, settings.seed_sigma, *size)
                save(SEED_ITERATION, seed.expand(frames.count, *size))
            if step.index in to_save:
                finished = _finished(step, video, settings)
                save(step.index, finished)
            log(step.index, step.mean_change)
    # What is left to be saved when the masks are done is saved under its own name, which the next
    # command expects.
    left = [idx for idx in to_save if idx > step.index]
    if config.to_save_iterations is None:
        left = left[-1:]
    if left and step.index not in to_save:
        finished = _finished(step, video, settings)
    for idx in left:
        save(idx, finished)
    if step.index < n_iterations - 1:
        print(
            f"iteration {step.index} changed the masks by {step.mean_change:.2g} on average, less "
            f"than {tolerance:g}: they are the result"
        )
    if not step.masks.any():
        warn(
            "no object was found, all masks are 0 everywhere; does anything in the video move by "
            "itself?"
        )
    print(f"soft masks written to {out_path}")


def _finished(step: Iteration, video: torch.Tensor | None, settings: GraphSettings) -> torch.Tensor:
    """The masks of an iteration as they are saved."""
    result = finish(step, video, settings, tqdm)
    _tell_inverted(result.inverted)
    if result.refinement_failed:
        warn(
            "refinement leaves no object, perhaps as it is very small; the masks are saved as they "
            "were before"
        )
    if settings.polarity is not None:
        turns = (likeness(result.masks) < 0).tolist()
        pairs = [f"{idx} to {idx + 1}" for idx, turn in enumerate(turns) if turn]
        if pairs:
            warn(
                f"from frame {', '.join(pairs)} the masks become something else; look whether the "
                "video is cut there, or some of them are of the background"
            )
    return result.masks


def _tell_inverted(inverted: torch.Tensor) -> None:
    """Print which frames' masks were of the background, where there are any; bool [n]."""
    frames = set(inverted.nonzero()[:, 0].tolist())
    starts = sorted(idx for idx in frames if idx - 1 not in frames)
    ends = sorted(idx for idx in frames if idx + 1 not in frames)
    runs = [f"{a} to {b}" if a < b else f"{a}" for a, b in zip(starts, ends, strict=True)]
    if runs:
        print(f"frames {', '.join(runs)}: the masks are of the background, and are inverted")
