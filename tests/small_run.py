"""A whole run as the commands leave it, of a small video made here: for tests of what shows it.

A bright square moves 3 pixels a frame to the right over a dark gradient; both sides are odd.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from files import write_config, write_flow_folders, write_frames
from PIL import Image
from torchvision.models.optical_flow import raft_small

from ike_data.command_line import PROJECT_CONFIG
from ike_data.config import read_config
from ike_data.saved_config import save_config
from ike_data.soft_masks import write_soft_masks

N_FRAMES, HEIGHT, WIDTH = 6, 37, 53
WORKING = 24, 32
STAGES = ("graph 1", "net 1", "graph 2", "net 2")
LOGS = {
    "flow": "pair,seconds\n0,0.50\n1,1.00\n2,1.50\n3,2.00\n4,2.50\n",
    "graph_1": "iteration,mean_change,seconds\n0,0.2,1.00\n1,0.02,1.50\n2,0.002,2.00\n",
    "net_1": "epoch,loss,cross_entropy,dice,seconds\n1,0.9,0.5,0.4,60.00\n2,0.6,0.3,0.3,120.50\n",
    "graph_2": "iteration,mean_change,seconds\n0,0.1,0.50\n1,0.01,1.00\n",
}


def object_mask(idx: int, grow: int = 0) -> np.ndarray:
    """The square in frame ``idx``, bool, ``grow`` pixels larger to each side."""
    mask = np.zeros((HEIGHT, WIDTH), dtype=bool)
    left = 8 + 3 * idx
    mask[10 - grow : 25 + grow, left - grow : left + 15 + grow] = True
    return mask


def frame(idx: int) -> np.ndarray:
    image = np.zeros((HEIGHT, WIDTH, 3), dtype=np.uint8)
    image[..., 2] = np.arange(WIDTH)
    image[object_mask(idx)] = 200
    return image


def soft_masks(grow: int) -> torch.Tensor:
    """Soft masks of the object, too large by ``grow`` pixels; [n, *WORKING], 0.1 and 0.9."""
    images = [Image.fromarray(object_mask(idx, grow)) for idx in range(N_FRAMES)]
    small = [np.asarray(image.resize(WORKING[::-1], Image.Resampling.NEAREST)) for image in images]
    return torch.from_numpy(np.stack(small)).to(torch.float32) * 0.8 + 0.1


def make_run(folder: Path) -> Path:
    """Write ``folder``/flow, graph_1, net_1, graph_2 and net_2, with settings and logs."""
    flows = np.zeros((N_FRAMES - 1, HEIGHT, WIDTH, 2), dtype=np.float32)
    for idx, flow in enumerate(flows):
        flow[object_mask(idx), 0] = 3
    write_flow_folders(folder / "flow", flows, -flows)
    for grow, masks in enumerate(
        (
            "net_2/results_pt/epoch_00002",
            "graph_2/iter_1",
            "net_1/results_pt/epoch_00002",
            "graph_1/iter_2",
            "graph_1/iter_-1",
            "net_1/results_pt/epoch_00001",
        )
    ):
        write_soft_masks(folder / masks, soft_masks(grow))
    for name in ("flow", "graph_1", "net_1", "graph_2", "net_2"):
        notes = [f"command: python {name}.py --note=<i>&", "ran on cpu with PyTorch 2.x"]
        save_config(read_config(PROJECT_CONFIG), folder / name, notes)
        if name in LOGS:
            (folder / name / "log.csv").write_text(LOGS[name])
    return folder


def make_video(folder: Path, sequence: str = "") -> Path:
    """Write ``folder``/frames and ``folder``/annotations, or ``sequence`` in each of them."""
    write_frames(folder / "frames" / sequence, map(frame, range(N_FRAMES)))
    masks = (object_mask(idx).astype(np.uint8) * 255 for idx in range(N_FRAMES))
    write_frames(folder / "annotations" / sequence, masks)
    return folder


def small_config(folder: Path, **changes: object) -> Path:
    """The project's config.ini for a tiny video."""
    values = dict(working_h=24, working_w=32, n_iterations=3, to_save_iterations=2, engine="torch")
    values |= dict(n_epochs=1, to_save_epochs=1, base_channels=2, learning_rate=0.01)
    return write_config(folder / "small.ini", **(values | changes))


def make_inputs(folder: Path) -> Path:
    """Write what the three commands read: a run, its frames, small.ini and weights raft.pth."""
    make_run(folder)
    make_video(folder)
    small_config(folder)
    torch.save(raft_small().state_dict(), folder / "raft.pth")
    return folder
