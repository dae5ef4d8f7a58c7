"""J and F of the first graph with saliency, prior, and both, each weighed in several ways.

Run from the project's folder, with flow from extract_optical_flow.py in FLOW/<sequence>:

    PYTHONPATH=.:tools python docs/experiments/2026-11-27-motion-evidence.py DAVIS FLOW libby bear
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch

from graph_module import GraphSettings, segment
from graph_module.extensions.fast_propagation import FastPropagation
from graph_module.extensions.motion_evidence import MotionPrior
from graph_module.working_flow import read_working_flow
from ike_data.frames import open_frames
from ike_data.soft_masks import resize_mask
from ike_data.working_frames import read_working_frames
from ike_tools.scores.davis_metrics import boundary_measure, region_similarity

N_FRAMES, WORKING_SIZE = 40, (224, 416)
BOTH = replace(GraphSettings.with_extensions(), fast_propagation=FastPropagation())
WHOLE_VIDEO = 10_000  # frames: one weight for all
VARIANTS = {
    "saliency": replace(BOTH, motion_prior=None),
    "prior": replace(BOTH, motion_saliency=None),
    "mean": replace(BOTH, motion_prior=MotionPrior(power=0)),
    "power 4, one weight a video": replace(
        BOTH, motion_prior=MotionPrior(power=4, reach=WHOLE_VIDEO)
    ),
    "power 8, one weight a video": replace(BOTH, motion_prior=MotionPrior(reach=WHOLE_VIDEO)),
    "power 4": replace(BOTH, motion_prior=MotionPrior(power=4)),
    "power 8": BOTH,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("davis", type=Path, help="has JPEGImages/480p and Annotations/480p")
    parser.add_argument("flow", type=Path)
    parser.add_argument("sequences", nargs="+")
    args = parser.parse_args()
    print("sequence", *VARIANTS, sep=" | ")
    for sequence in args.sequences:
        frames = open_frames(args.davis / "JPEGImages/480p" / sequence)
        n_frames, size = min(frames.count, N_FRAMES), (frames.height, frames.width)
        video = read_working_frames(frames, *WORKING_SIZE)[:n_frames]
        fwd, bwd = (
            read_working_flow(args.flow / sequence / folder, n_frames, size, WORKING_SIZE)
            for folder in ("fwd_of", "bwd_of")
        )
        annotations = sorted((args.davis / "Annotations/480p" / sequence).glob("*.png"))
        truth = [cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) > 0 for path in annotations[:n_frames]]
        row = [
            scores(segment(fwd, bwd, video=video, settings=settings), truth)
            for settings in VARIANTS.values()
        ]
        print(sequence, *(f"{j:.3f}, {f:.3f}" for j, f in row), sep=" | ", flush=True)


def scores(masks: torch.Tensor, truth: list[np.ndarray]) -> tuple[float, float]:
    """Mean J and F of all frames but the first and the last."""
    pairs = [
        ((resize_mask(mask, *there.shape) >= 0.5).numpy(), there)
        for mask, there in zip(masks[1:-1], truth[1:-1], strict=True)
    ]
    return (
        float(np.mean([region_similarity(*pair) for pair in pairs])),
        float(np.mean([boundary_measure(*pair) for pair in pairs])),
    )


if __name__ == "__main__":
    main()
