"""The first frames of DAVIS sequences with their flow, and J and F of masks of them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch

from graph_module.working_flow import read_working_flow
from ike_data.frames import open_frames
from ike_data.soft_masks import resize_mask
from ike_data.working_frames import read_working_frames
from ike_tools.scores.davis_metrics import boundary_measure, region_similarity

WORKING_SIZE = (224, 416)


class Clip(NamedTuple):
    """n frames of 224 x 416 pixels."""

    video: torch.Tensor  # uint8 RGB [n, 3, H, W]
    fwd: torch.Tensor  # [n - 1, 2, H, W], pixels
    bwd: torch.Tensor
    truth: list[np.ndarray]  # annotations of the frames' own size, True where the object is


def clips_parser(description: str | None) -> argparse.ArgumentParser:
    """Of a script that works through sequences: where they are, where their flow is, and which."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("davis", type=Path, help="has JPEGImages/480p and Annotations/480p")
    parser.add_argument("flow", type=Path)
    parser.add_argument("sequences", nargs="+")
    return parser


def read_clip(davis: Path, flow: Path, sequence: str, n_frames: int) -> Clip:
    """The first ``n_frames``, or all that there are.

    Args:
        davis: has JPEGImages/480p and Annotations/480p.
        flow: has the out_path of extract_optical_flow.py for each sequence, under its name.
    """
    frames = open_frames(davis / "JPEGImages/480p" / sequence)
    n_frames, size = min(frames.count, n_frames), (frames.height, frames.width)
    fwd, bwd = (
        read_working_flow(flow / sequence / folder, n_frames, size, WORKING_SIZE)
        for folder in ("fwd_of", "bwd_of")
    )
    video = read_working_frames(frames, *WORKING_SIZE)[:n_frames]
    return Clip(video, fwd, bwd, read_truth(davis, sequence, n_frames))


def read_truth(davis: Path, sequence: str, n_frames: int) -> list[np.ndarray]:
    """`Clip.truth` of the first frames."""
    paths = sorted((davis / "Annotations/480p" / sequence).glob("*.png"))[:n_frames]
    return [cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) > 0 for path in paths]


def scores(soft_masks: torch.Tensor, truth: list[np.ndarray]) -> str:
    """Means of J and F at threshold 0.5, without the first and the last frame."""
    pairs = []
    for mask, annotation in list(zip(soft_masks, truth, strict=True))[1:-1]:
        hard = (resize_mask(mask, *annotation.shape) >= 0.5).numpy()
        pairs.append((region_similarity(hard, annotation), boundary_measure(hard, annotation)))
    return "{:.3f}, {:.3f}".format(*np.mean(pairs, axis=0))
