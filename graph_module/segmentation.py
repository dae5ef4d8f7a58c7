"""From the files of a video to the soft masks of its primary object."""

from __future__ import annotations

import math
import os
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from tqdm import tqdm

from graph_module.compiled import AVAILABLE
from graph_module.memory_plan import GB, GraphSize, plan_memory
from graph_module.power_iteration import power_iteration
from graph_module.seeds import seed_mask
from graph_module.space_time_graph import SpaceTimeGraph, build_graph, count_features
from graph_module.temporal_weights import exact_weights, fast_weights
from ike_data.config import GraphModule
from ike_data.cores import map_on_cores, n_workers
from ike_data.flow_files import check_flow_folders, flow_name, read_flow
from ike_data.free_memory import free_memory, held_memory
from ike_data.soft_masks import read_feature_maps, write_mask_images, write_soft_masks
from ike_data.step_log import step_log

SEED_ITERATION = -1
# What is still to come changes the masks by less than 0.004 on average; see docs/performance.md.
FAST_TOLERANCE = 0.001


def segment_video(
    fwd_folder: Path,
    bwd_folder: Path,
    out_path: Path,
    *,
    n_frames: int,
    frame_size: tuple[int, int],
    working_size: tuple[int, int],
    settings: GraphModule,
    device: torch.device,
    record: Callable[[Iterable[Path]], None],
) -> None:
    """Run the graph module on a video and write its soft masks.

    Writes ``out_path/iter_{idx}/%05d.pt`` (float32 [H, W, 1] in [0, 1]) and
    ``out_path/iter_{idx}_images/%05d.png`` for the iterations in ``to_save_iterations``, and
    ``out_path/log.csv`` with the masks' mean change in each iteration.

    Args:
        fwd_folder, bwd_folder: .flo files of the frames' own size.
        frame_size: (height, width) of the frames, pixels.
        working_size: (H, W), pixels.
        record: called with what will be written, when all input has been read.

    Raises:
        InputError: a flow file or a feature map is missing or cannot be used.
    """
    start = time.perf_counter()
    check_flow_folders(fwd_folder, bwd_folder, n_frames, *frame_size)
    feature_maps = _read_all_feature_maps(settings.ike_features_paths, n_frames, working_size)
    graph = _build(
        (fwd_folder, bwd_folder),
        feature_maps,
        out_path,
        n_frames=n_frames,
        frame_size=frame_size,
        working_size=working_size,
        settings=settings,
        device=device,
    )
    del feature_maps
    if graph.features.shape[1] == 1:
        print("no node features in use: the masks are propagated, but not projected")

    def save(idx: int, masks: torch.Tensor) -> None:
        write_soft_masks(out_path / f"iter_{idx}", masks)
        write_mask_images(out_path / f"iter_{idx}_images", masks, *frame_size)

    last = settings.n_iterations - 1
    tolerance = settings.tolerance
    if settings.propagation == "fast":
        tolerance = max(tolerance, FAST_TOLERANCE)
    to_save = settings.to_save_iterations
    if to_save is None:
        to_save = tuple(range(SEED_ITERATION, settings.n_iterations))
    folders = [out_path / f"iter_{idx}" for idx in to_save]
    record([*folders, *(path.with_name(f"{path.name}_images") for path in folders)])
    seed = seed_mask(settings.seed_type, settings.seed_type_sigma_percent, *working_size)
    masks = seed.to(device).expand(n_frames, *working_size)
    if SEED_ITERATION in to_save:
        save(SEED_ITERATION, masks)
    iterations = power_iteration(
        graph, masks, ridge=settings.ridge, n_iterations=settings.n_iterations
    )
    with step_log(out_path, "iteration", "mean_change", start=start) as log:
        bar = tqdm(iterations, "power iteration", settings.n_iterations, unit="iteration")
        for idx, new_masks in enumerate(bar):
            mean_change = (new_masks - masks).abs_().mean().item()
            masks = new_masks
            log(idx, mean_change)
            bar.set_postfix_str(f"mean change {mean_change:.5f}")
            done = mean_change < tolerance and idx < last
            for name in to_save:
                # What is left to be saved when the masks are done is saved under its own name,
                # which the next command expects.
                if name == idx or (done and name > idx):
                    save(name, masks)
            if done:
                bar.close()
                print(
                    f"iteration {idx} changed the masks by {mean_change:.2g} on average, less than "
                    f"{tolerance:g}: they are the result"
                )
                break
    print(f"soft masks written to {out_path}")


def _build(
    flow_folders: tuple[Path, Path],
    feature_maps: torch.Tensor | None,
    out_path: Path,
    *,
    n_frames: int,
    frame_size: tuple[int, int],
    working_size: tuple[int, int],
    settings: GraphModule,
    device: torch.device,
) -> SpaceTimeGraph:
    """Read the flows and build the graph in the way that fits into the memory, and say which."""
    use_compiled = settings.engine == "auto" and device.type == "cpu" and AVAILABLE
    weights_for = {"exact": exact_weights, "fast": fast_weights}[settings.propagation]
    weights = weights_for(settings.half_window, settings.sigma)
    n_channels = 0 if feature_maps is None else feature_maps.shape[1]
    n_features = 1 + sum(
        count_features(
            n_channels, settings.dir_features_half_chain_size, settings.features_half_chain_size
        )
    )
    size = GraphSize(
        n_frames=n_frames,
        n_nodes=working_size[0] * working_size[1],
        n_links=2 * len(weights),
        n_features=n_features,
        n_channels=n_channels,
    )
    n_free = free_memory(device)
    plan = plan_memory(size, settings.links_memory * GB, n_free, n_workers(device))
    held = held_memory() if device.type == "cpu" else 0
    print(
        f"memory on the {device.type}: {(held + plan.n_bytes) / GB:.1f} GB needed, "
        f"{n_free / GB:.1f} GB free; "
        f"links are {'kept' if plan.keep_links else 'followed anew in each iteration'}"
        f"{'' if plan.keep_features else ', features kept outside'}; "
        f"engine: {'numba' if use_compiled else 'PyTorch'}"
    )
    fwd_flow, bwd_flow = (
        read_flows(folder, n_frames, frame_size, working_size).to(device) for folder in flow_folders
    )
    return build_graph(
        fwd_flow,
        bwd_flow,
        None if feature_maps is None else feature_maps.to(device),
        weights=weights,
        dir_features_half_chain_size=settings.dir_features_half_chain_size,
        features_half_chain_size=settings.features_half_chain_size,
        keep_links=plan.keep_links,
        features_out=None if plan.keep_features else _outside(size, out_path, device),
        use_compiled=use_compiled,
    )


def _outside(size: GraphSize, out_path: Path, device: torch.device) -> torch.Tensor:
    """Room for features that do not fit: the CPU's memory for a GPU, the disk for a CPU.

    Raises:
        OSError: the disk has no room for them.
    """
    shape = size.n_frames, size.n_features, size.n_nodes
    if device.type == "cuda":
        return torch.empty(shape, dtype=torch.int16)
    # A file without a name: it is gone when the process ends, however it ends.
    with tempfile.TemporaryFile(dir=out_path) as file:
        # Taken now: a disk that fills up later would kill the process without a word.
        os.posix_fallocate(file.fileno(), 0, 2 * math.prod(shape))
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


def _read_all_feature_maps(
    folders: tuple[Path, ...], n_frames: int, working_size: tuple[int, int]
) -> torch.Tensor | None:
    if not folders:
        return None
    maps = [read_feature_maps(folder, n_frames, *working_size) for folder in folders]
    return torch.cat(maps, dim=-1).permute(0, 3, 1, 2).contiguous()  # [n, C, H, W]
