"""J and F of the first graph, from DIS flow found at half the frames' size and at all of it.

Run from the project's folder:

    PYTHONPATH=.:tools python docs/experiments/2026-11-28-dis-at-full-size.py DAVIS hike surf
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from clips import WORKING_SIZE, scores

from graph_module import GraphSettings, segment
from ike_data.frames import open_frames
from ike_data.working_frames import read_working_frames
from RAFT import video_flow


class Dis:
    """OpenCV's DIS as a `FlowMethod`: its medium preset, but for the finest scale."""

    def __init__(self, finest_scale: int) -> None:
        self._dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        self._dis.setFinestScale(finest_scale)

    def encode(self, frame: np.ndarray) -> np.ndarray:
        return cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)

    def flow_both_ways(
        self, first: np.ndarray, second: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        there = self._dis.calc(first, second, None)  # type: ignore[call-overload]
        return there, self._dis.calc(second, first, None)  # type: ignore[call-overload]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("davis", type=Path, help="has JPEGImages/480p and Annotations/480p")
    parser.add_argument("sequences", nargs="+")
    parser.add_argument("--n_frames", type=int, default=30)
    args = parser.parse_args()
    for sequence in args.sequences:
        frames = open_frames(args.davis / "JPEGImages/480p" / sequence)
        n_frames = min(args.n_frames, frames.count)
        whole = read_working_frames(frames, frames.height, frames.width)[:n_frames]
        video = read_working_frames(frames, *WORKING_SIZE)[:n_frames]
        paths = sorted((args.davis / "Annotations/480p" / sequence).glob("*.png"))[:n_frames]
        truth = [cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) > 0 for path in paths]
        for name, finest_scale in (("half the size", 1), ("the whole size", 0)):
            start = time.process_time()
            fwd, bwd = video_flow(whole, Dis(finest_scale), working_size=WORKING_SIZE)
            seconds = time.process_time() - start
            masks = segment(fwd, bwd, video=video, settings=GraphSettings.with_extensions())
            print(f"{sequence}, {name}: {scores(masks, truth)}, {seconds:.1f} s", flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
