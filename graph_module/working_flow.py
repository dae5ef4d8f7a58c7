"""The optical flow of a video at the working size, held in memory."""

from __future__ import annotations

from pathlib import Path

import torch
from tqdm import tqdm

from ike_data.flow_files import flow_name, read_flow
from ike_data.flow_resizing import resize_flow
from ike_data.runtime.cores import map_on_cores


def read_working_flow(
    folder: Path, n_frames: int, frame_size: tuple[int, int], working_size: tuple[int, int]
) -> torch.Tensor:
    """Read a folder of .flo files and bring them to the working size (`resize_flow`).

    Args:
        frame_size, working_size: (height, width), pixels.

    Returns:
        float32 [n_frames - 1, 2, H, W], channels (u, v) in pixels of the working size.

    Raises:
        InputError: a file is missing, damaged, not finite or of another size.
    """
    flows = torch.empty(n_frames - 1, 2, *working_size)

    def read(idx: int) -> None:
        flow = torch.from_numpy(read_flow(folder / flow_name(idx), *frame_size))
        flows[idx] = resize_flow(flow.permute(2, 0, 1)[None], working_size)[0]

    done = map_on_cores(read, range(n_frames - 1), flows.device)
    for _ in tqdm(done, f"reading {folder.name}", n_frames - 1, unit="flow"):
        pass
    return flows
