"""Hard videos with known masks, made from annotated ones: objects that pause, large and small ones.

A handful of sequences shows few of the ways in which a method can fail. Made of the same files:

- pause-A, long-pause-A: the first 16 frames of A, then the last of them 16 or 48 times more under a
  camera that pans, so that flow no longer tells where the object is;
- large-A-on-B, small-A-on-B: the object of A, larger or smaller, in front of B without its own.
  What B's object hid is taken from the other frames, by homographies between the backgrounds.
"""

from __future__ import annotations

if __name__ == "__main__":  # before the other imports, which take a while
    from ike_tools import begin

    begin()

import argparse
import functools
import itertools
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from ike_data.folders import folders_in
from ike_data.frames import open_frames
from ike_data.runtime.command import prepare_out_path, run_command
from ike_data.runtime.errors import InputError
from ike_tools.data_sets.annotated_video import check_new, write_annotated_video
from ike_tools.data_sets.frame_matching import annotation_files
from ike_tools.flags import Parser
from ike_tools.masks.mask_values import annotation_values, read_annotation

# Below a data set and below out_path, as in DAVIS.
PARTS = FRAMES, ANNOTATIONS = Path("JPEGImages/480p"), Path("Annotations/480p")

N_FRAMES = 32  # that are looked at of a sequence, at most
FEWEST_FRAMES = 3  # that evaluate.py scores
N_MOVING = 16  # of them before a pause
N_STILL, N_LONG_STILL = 16, 48  # frames of a pause
PAN = 0.06  # the way of the panning camera, as a share of the frame's sides
NOISE = 2.0  # standard deviation of the noise of each frame, or equal frames would be compared
LARGE, SMALL = 1.8, 0.5  # scales of an object
# Where an object covers more of a frame, too little is seen of what is behind it.
MOST_HIDDEN = 0.2
MARGIN = 10  # pixels around an object that are filled as well: shadows, blur
N_KEYPOINTS = 3000
FEWEST_MATCHES = 12
REPROJECTION = 3.0  # pixels

# Frames and masks: uint8 RGB [n, height, width, 3], bool [n, height, width].
Annotated = tuple[np.ndarray, np.ndarray]


def get_args_parser() -> argparse.ArgumentParser:
    parser = Parser(
        description="Make hard videos with known masks from the annotated ones of a data set: "
        "pauses, and large and small objects in front of other videos. OUT has the layout of "
        "DAVIS, so that run_dataset.sh and evaluate.py take it."
    )
    parser.add_path(
        "--data",
        f"a data set: {FRAMES}/SEQUENCE/00000.jpg ..., {ANNOTATIONS}/SEQUENCE/00000.png ...",
        required=True,
    )
    parser.add_path("--out_path", "folder for videos", required=True)
    return parser


def main() -> None:
    args = get_args_parser().parse_args()
    names = [sequence.name for sequence in folders_in(args.data / FRAMES)]
    if not names:
        raise InputError(f"--data {args.data}: has no {FRAMES} with a folder for each sequence")
    _check_out_path(args.out_path, args.data)
    sequences = {name: read_sequence(args.data, name) for name in names}
    prepare_out_path(args.out_path)
    n_videos = 0
    for name, (frames, masks) in tqdm(hard_videos(sequences), "videos", unit="video"):
        write_annotated_video(
            args.out_path / FRAMES / name,
            args.out_path / ANNOTATIONS / name,
            zip(frames, masks, strict=True),
        )
        n_videos += 1
    print(f"{n_videos} videos written to {args.out_path}")


def _check_out_path(out_path: Path, data: Path) -> None:
    """Raises InputError where the videos would be taken for sequences of the data set."""
    out, inside = out_path.resolve(), [(data / part.parent).resolve() for part in PARTS]
    if out == data.resolve() or any(map(out.is_relative_to, inside)):
        raise InputError(f"--out_path {out_path}: is in the data set; give a new folder")
    check_new(*(out_path / part for part in PARTS))


def read_sequence(data: Path, name: str) -> Annotated:
    """The first N_FRAMES frames of a sequence, and where its object is.

    Raises:
        InputError: a frame or an annotation is missing or cannot be used, or there is too little.
    """
    frames = open_frames(data / FRAMES / name)
    annotated = annotation_files(data / ANNOTATIONS / name, frames)
    files = [annotated[idx] for idx in range(min(N_FRAMES, frames.count)) if idx in annotated]
    if len(files) < min(N_FRAMES, frames.count):
        raise InputError(
            f"{data / ANNOTATIONS / name}: not all of the first {N_FRAMES} frames are annotated; "
            "leave this sequence out"
        )
    values = annotation_values(files)
    masks = [read_annotation(path, values).object for path in files]
    if len(masks) < FEWEST_FRAMES or not any(mask.any() for mask in masks):
        raise InputError(
            f"{files[0].parent}: has less than {FEWEST_FRAMES} frames, or no object in the first "
            f"{N_FRAMES}; leave this sequence out"
        )
    return np.stack(list(itertools.islice(frames, N_FRAMES))), np.stack(masks)


def hard_videos(sequences: dict[str, Annotated]) -> Iterator[tuple[str, Annotated]]:
    """Name, frames and masks of each video that can be made of the sequences."""
    for name, sequence in sequences.items():
        yield f"pause-{name}", pause(*sequence, N_STILL)
        yield f"long-pause-{name}", pause(*sequence, N_LONG_STILL)
    behind = [
        name
        for name, (_, masks) in sequences.items()
        if masks.mean(axis=(1, 2)).max() < MOST_HIDDEN
    ]

    @functools.lru_cache(maxsize=2)
    def background(name: str) -> np.ndarray:
        return without_object(*sequences[name])

    for number, (name, sequence) in enumerate(sequences.items()):
        others = [other for other in behind if other != name]
        if not others:
            continue
        for offset, (size, scale) in enumerate((("large", LARGE), ("small", SMALL))):
            other = others[(number + offset) % len(others)]
            yield f"{size}-{name}-on-{other}", paste(*sequence, background(other), scale)


def pause(frames: np.ndarray, masks: np.ndarray, n_still: int) -> Annotated:
    """N_MOVING frames, then the last of them n_still times under a camera that pans."""
    height, width = masks.shape[1:]
    reach_y, reach_x = (max(round(PAN * side), 1) for side in (height, width))
    rng = np.random.default_rng(0)
    n_moving = min(N_MOVING, len(frames))
    seen_frames, seen_masks = [], []
    for idx in range(n_moving + n_still):
        shown, time = min(idx, n_moving - 1), max(idx - n_moving + 1, 0)
        top = round(reach_y / 2 * (1 + np.sin(0.2 * time)))
        left = round(reach_x / 2 * (1 + np.sin(0.35 * time)))
        window = np.s_[top : height - reach_y + top, left : width - reach_x + left]
        seen = frames[shown][window]
        noisy = seen + rng.normal(0, NOISE, seen.shape)
        seen_frames.append(np.rint(noisy).clip(0, 255).astype(np.uint8))
        seen_masks.append(masks[shown][window])
    return np.stack(seen_frames), np.stack(seen_masks)


def without_object(frames: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """What is behind the object, from the frames before and after, the nearest first.

    What no frame shows is painted over. uint8 RGB [n, height, width, 3].
    """
    n_frames, height, width = masks.shape
    around = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * MARGIN + 1, 2 * MARGIN + 1))
    hidden = np.stack([cv2.dilate(mask.astype(np.uint8), around) for mask in masks]) > 0
    to_next = [
        _background_homography(frames[idx : idx + 2], hidden[idx : idx + 2])
        for idx in range(n_frames - 1)
    ]

    def brought(image: np.ndarray, to_other: np.ndarray, flags: int) -> np.ndarray:
        flags |= cv2.WARP_INVERSE_MAP
        return cv2.warpPerspective(image, to_other, (width, height), flags=flags)

    filled = []
    for idx in range(n_frames):
        frame, hole = frames[idx].copy(), hidden[idx].copy()
        ahead, behind = np.eye(3), np.eye(3)  # from this frame to the other
        for distance in range(1, n_frames):
            for other in (idx + distance, idx - distance):
                if not 0 <= other < n_frames:
                    continue
                if other > idx:
                    to_other = ahead = to_next[other - 1] @ ahead
                else:
                    to_other = behind = np.linalg.inv(to_next[other]) @ behind
                seen = brought((~hidden[other]).astype(np.uint8), to_other, cv2.INTER_NEAREST) > 0
                taken = hole & seen
                frame[taken] = brought(frames[other], to_other, cv2.INTER_LINEAR)[taken]
                hole &= ~seen
            if not hole.any():
                break
        filled.append(cv2.inpaint(frame, hole.astype(np.uint8), 5, cv2.INPAINT_TELEA))
    return np.stack(filled)


def _background_homography(frames: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    """From the first of two frames to the second, [3, 3]; the identity where too little matches."""
    orb = cv2.ORB.create(N_KEYPOINTS, fastThreshold=5)
    (points, of_first), (other_points, of_second) = (
        orb.detectAndCompute(
            cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), (~mask).astype(np.uint8) * 255
        )
        for frame, mask in zip(frames, hidden, strict=True)
    )
    if of_first is None or of_second is None:
        return np.eye(3)
    matches = cv2.BFMatcher(cv2.NORM_HAMMING, crossCheck=True).match(of_first, of_second)
    if len(matches) < FEWEST_MATCHES:
        return np.eye(3)
    start = np.array([points[match.queryIdx].pt for match in matches], np.float32)
    end = np.array([other_points[match.trainIdx].pt for match in matches], np.float32)
    cv2.setRNGSeed(0)
    homography, agree = cv2.findHomography(start, end, cv2.RANSAC, REPROJECTION)
    # None, or one that nearly no match agrees with, which may have no inverse.
    if homography is None or agree.sum() < FEWEST_MATCHES or np.linalg.det(homography) < 0.1:
        return np.eye(3)
    return homography


def paste(frames: np.ndarray, masks: np.ndarray, background: np.ndarray, scale: float) -> Annotated:
    """An object, scaled around its mean position, which comes to the middle of the frame.

    Args:
        masks: at least one has an object.
        background: uint8 RGB [m, height, width, 3]; of the frames' size or brought to it.
    """
    n_frames, height, width = min(len(frames), len(background)), *masks.shape[1:]
    y, x = np.mean([np.argwhere(mask).mean(axis=0) for mask in masks if mask.any()], axis=0)
    pose = np.array([[scale, 0, width / 2 - scale * x], [0, scale, height / 2 - scale * y]])
    blur = 0.4 / scale if scale < 1 else 0.0  # against aliasing
    pasted_frames, pasted_masks = [], []
    for idx in range(n_frames):
        frame = cv2.GaussianBlur(frames[idx], (0, 0), blur) if blur else frames[idx]
        soft = cv2.GaussianBlur(masks[idx].astype(np.float32), (0, 0), 1.0)
        alpha = cv2.warpAffine(soft, pose, (width, height))[..., None]
        moved = cv2.warpAffine(frame, pose, (width, height), borderMode=cv2.BORDER_REPLICATE)
        behind = cv2.resize(background[idx], (width, height), interpolation=cv2.INTER_AREA)
        pasted = behind + alpha * (moved.astype(float) - behind)
        pasted_frames.append(np.rint(pasted).astype(np.uint8))
        pasted_masks.append(alpha[..., 0] > 0.5)
    return np.stack(pasted_frames), np.stack(pasted_masks)


if __name__ == "__main__":
    run_command(main)
