"""The frames of a video at the working size, held in memory."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from ike_data.frames import Frames


def read_working_frames(frames: Frames, height: int, width: int) -> torch.Tensor:
    """Read all frames, resized (bicubic) to the working size, as uint8 RGB [n, 3, height, width].

    uint8, because 1000 frames of 224 x 416 are then 280 MB.

    Raises:
        InputError: a frame cannot be read.
    """
    video = torch.empty((frames.count, 3, height, width), dtype=torch.uint8)
    bar = tqdm(frames, total=frames.count, desc="reading frames", unit="frame", leave=False)
    for idx, image in enumerate(bar):
        resized = Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC)
        video[idx] = torch.from_numpy(np.array(resized)).permute(2, 0, 1)  # [3, H, W]
    return video
