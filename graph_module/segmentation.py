"""From the files of a video to the soft masks of its primary object."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from tqdm import tqdm

from graph_module.power_iteration import power_iteration
from graph_module.seeds import seed_mask
from graph_module.space_time_graph import build_graph
from ike_data.config import GraphModule
from ike_data.flow_files import check_flow_folders, flow_name, read_flow
from ike_data.soft_masks import read_feature_maps, write_mask_images, write_soft_masks
from ike_data.step_log import step_log

SEED_ITERATION = -1


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
) -> None:
    """Run the graph module on a video and write its soft masks.

    Writes ``out_path/iter_{idx}/%05d.pt`` (float32 [H, W, 1] in [0, 1]) and
    ``out_path/iter_{idx}_images/%05d.png`` for the iterations in ``to_save_iterations``, and
    ``out_path/log.csv`` with the masks' mean change in each iteration.

    Args:
        fwd_folder, bwd_folder: .flo files of the frames' own size.
        frame_size: (height, width) of the frames, pixels.
        working_size: (H, W), pixels.

    Raises:
        InputError: a flow file or a feature map is missing or cannot be used.
    """
    with step_log(out_path, "iteration", "mean_change") as log:
        check_flow_folders(fwd_folder, bwd_folder, n_frames, *frame_size)
        feature_maps = _read_all_feature_maps(settings.ike_features_paths, n_frames, working_size)
        graph = build_graph(
            read_flows(fwd_folder, n_frames, frame_size, working_size).to(device),
            read_flows(bwd_folder, n_frames, frame_size, working_size).to(device),
            None if feature_maps is None else feature_maps.to(device),
            half_window=settings.half_window,
            dir_features_half_chain_size=settings.dir_features_half_chain_size,
            features_half_chain_size=settings.features_half_chain_size,
        )
        if graph.features.shape[1] == 1:
            print("no node features in use: the masks are propagated, but not projected")

        def save(idx: int, masks: torch.Tensor) -> None:
            if settings.to_save_iterations is None or idx in settings.to_save_iterations:
                write_soft_masks(out_path / f"iter_{idx}", masks)
                write_mask_images(out_path / f"iter_{idx}_images", masks, *frame_size)

        seed = seed_mask(settings.seed_type, settings.seed_type_sigma_percent, *working_size)
        masks = seed.to(device).expand(n_frames, *working_size)
        save(SEED_ITERATION, masks)
        iterations = power_iteration(
            graph,
            masks,
            sigma=settings.sigma,
            ridge=settings.ridge,
            n_iterations=settings.n_iterations,
        )
        bar = tqdm(iterations, "power iteration", settings.n_iterations, unit="iteration")
        for idx, new_masks in enumerate(bar):
            mean_change = (new_masks - masks).abs().mean().item()
            masks = new_masks
            save(idx, masks)
            log(idx, mean_change)
            bar.set_postfix_str(f"mean change {mean_change:.5f}")
    print(f"soft masks written to {out_path}")


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
    for idx in tqdm(range(n_frames - 1), desc=f"reading {folder.name}", unit="flow"):
        flow = torch.from_numpy(read_flow(folder / flow_name(idx), *frame_size))
        flow = F.interpolate(
            flow.permute(2, 0, 1)[None], size=working_size, mode="bilinear", align_corners=False
        )  # [1, 2, H, W]
        flows[idx] = flow[0] * scale
    return flows


def _read_all_feature_maps(
    folders: tuple[Path, ...], n_frames: int, working_size: tuple[int, int]
) -> torch.Tensor | None:
    if not folders:
        return None
    maps = [read_feature_maps(folder, n_frames, *working_size) for folder in folders]
    return torch.cat(maps, dim=-1).permute(0, 3, 1, 2).contiguous()  # [n, C, H, W]
