"""J and F of the first graph, from DIS flow found at half the frames' size and at all of it.

Run from the project's folder:

    PYTHONPATH=.:tools python docs/experiments/2026-11-28-dis-at-full-size.py DAVIS hike surf
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
from clips import WORKING_SIZE, read_truth, scores

from graph_module import GraphSettings, segment
from ike_data.frames import open_frames
from ike_data.working_frames import read_working_frames
from RAFT import DisFlow, video_flow


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
        truth = read_truth(args.davis, sequence, n_frames)
        methods = {"half the size": DisFlow(whole_size_max_side=0), "the whole size": DisFlow()}
        for name, dis in methods.items():
            start = time.process_time()
            fwd, bwd = video_flow(whole, dis, working_size=WORKING_SIZE)
            seconds = time.process_time() - start
            masks = segment(fwd, bwd, video=video, settings=GraphSettings.with_extensions())
            print(f"{sequence}, {name}: {scores(masks, truth)}, {seconds:.1f} s", flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
