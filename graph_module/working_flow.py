"""The optical flow of a video at the working size, held in memory."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from tqdm import tqdm

from ike_data.flow_files import flow_name, read_flow
from ike_data.runtime.cores import map_on_cores


def read_working_flow(
    folder: Path, n_frames: int, frame_size: tuple[int, int], working_size: tuple[int, int]
) -> torch.Tensor:
    """Read a folder of .flo files at the working size.

    Resized bilinearly (align_corners=False), u and v scaled by W / w and H / h.

    Args:
        frame_size, working_size: (height, width), pixels.

    Returns:
        float32 [n_frames - 1, 2, H, W], channels (u, v) in pixels of the working size.

    Raises:
        InputError: a file is missing, damaged, not finite or of another size.
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
