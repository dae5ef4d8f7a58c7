"""Finding and checking what belongs to a video: its frames, masks, annotations and flow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import project_root  # noqa: F401
from mask_folder import folders_in, masks_of_video, png_files
from mask_values import MaskValues, annotation_values, mask_values
from stages import Stage, find_all_stages, find_flow, stages_without_masks

from ike_data.errors import InputError
from ike_data.flow_files import FORWARD, check_flow, flow_name
from ike_data.frames import Frames, open_frames
from ike_data.images import IMAGE_SUFFIXES


@dataclass(frozen=True)
class Video:
    """A video and the files that belong to its frames."""

    name: str
    frames: Frames
    stages: list[Stage]
    masks: list[list[Path]]  # of each stage, one a frame
    mask_values: list[MaskValues]  # of each stage: how its masks are read
    annotations: list[Path]  # one a frame; empty where there are none
    annotation_values: MaskValues  # how they are read
    flow: Path | None  # out_path of extract_optical_flow.py


def is_data_set(frames: Path) -> bool:
    """Whether ``frames`` is a folder of sequences: it has folders, and no image of its own."""
    if not frames.is_dir():
        return False
    has_image = any(path.suffix.lower() in IMAGE_SUFFIXES for path in frames.iterdir())
    return not has_image and bool(folders_in(frames))


def sequence_names(frames: Path, results: list[Path]) -> list[str]:
    """The sequences of a data set that every result has; says which ones are left out.

    Raises:
        InputError: there is none.
    """
    all_names = [folder.name for folder in folders_in(frames)]
    names = [name for name in all_names if all((folder / name).is_dir() for folder in results)]
    if not names:
        raise InputError(
            f"--results {results[0]}: has no folder named as a sequence of {frames} "
            f"({', '.join(all_names[:3])}, ...); give results of the data set, or the frames of "
            "one sequence"
        )
    left_out = [name for name in all_names if name not in names]
    if left_out:
        print(f"not shown, as not all results have them: {', '.join(left_out)}")
    return names


def open_video(
    frames_path: Path,
    results: Sequence[Path],
    annotations_path: Path | None,
    flow: Path | None,
    sequence: str | None,
) -> Video:
    """Find and check what belongs to a video, or to a ``sequence`` of the data set in each path.

    Without ``flow`` it is that of a whole run among the results, if there is one.

    Raises:
        InputError: something is missing, or does not fit the frames.
    """

    def of_sequence(path: Path) -> Path:
        return path if sequence is None else path / sequence

    frames = open_frames(of_sequence(frames_path))
    folders = [of_sequence(path) for path in results]
    for path in folders:
        if path.is_dir() and (unfinished := stages_without_masks(path)):
            print(f"{path}: left out, as they hold no masks yet: {', '.join(unfinished)}")
    stages = find_all_stages(results, sequence)
    masks = [masks_of_video(stage.masks, frames.count) for stage in stages]
    annotations: list[Path] = []
    if annotations_path is not None:
        annotations = annotation_files(of_sequence(annotations_path), frames.count)
    if flow is None:
        flow = next((found for path in folders if (found := find_flow(path)) is not None), None)
    else:
        flow = of_sequence(flow)
    if flow is not None:
        for idx in range(frames.count - 1):
            check_flow(flow / FORWARD / flow_name(idx), frames.height, frames.width)
    own_name = frames.path.resolve().name if frames.path.is_dir() else frames.path.stem
    return Video(
        sequence or own_name,
        frames,
        stages,
        masks,
        [mask_values(files) for files in masks],
        annotations,
        annotation_values(annotations),
        flow,
    )


def annotation_files(folder: Path, n_frames: int) -> list[Path]:
    """The annotations of a video, by number.

    Raises:
        InputError: there is not one .png for each frame.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give the folder of annotations (.png)")
    files = png_files(folder)
    if len(files) != n_frames:
        raise InputError(
            f"{folder}: holds {len(files)} annotations, the video has {n_frames} frames; give one "
            "for each"
        )
    return files
