"""Finding and checking what belongs to a video: its frames, masks, annotations and flow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from ike_data.flow_files import FORWARD, check_flow, flow_name
from ike_data.frames import Frames, open_frames
from ike_tools.data_sets.frame_matching import annotation_files
from ike_tools.data_sets.layouts import find_annotations, find_videos
from ike_tools.data_sets.sequences import Result, choose_sequences, in_all_results
from ike_tools.masks.mask_folder import masks_of_video
from ike_tools.masks.mask_values import MaskValues, annotation_values, mask_values
from ike_tools.report.stages import (
    Stage,
    find_all_stages,
    find_flow,
    has_stages,
    stages_without_masks,
)


@dataclass(frozen=True)
class Video:
    """A video and the files that belong to its frames."""

    name: str
    sequence: str | None  # its name in a data set; None: it is of no data set
    frames: Frames
    stages: list[Stage]
    masks: list[list[Path]]  # of each stage, one a frame
    mask_values: list[MaskValues]  # of each stage: how its masks are read
    annotations: dict[int, Path]  # by the index of their frame, in order; empty: there are none
    annotation_values: MaskValues  # how they are read
    flow: Path | None  # out_path of extract_optical_flow.py


def open_data_set(
    frames: Path,
    results: Sequence[Path],
    annotations: Path | None,
    flow: Path | None,
    *,
    inside: Sequence[str],
    asked: Sequence[str] | None,
    out: Path,
) -> tuple[list[Video], list[str]]:
    """The sequences of a data set that every result has, and what is not shown, a line for each.

    Args:
        frames: a data set, as are annotations; see `layouts`.
        inside: see `open_video`.
        asked: what --sequences asks for.
        out: a folder among the sequences that is not one of them.

    Raises:
        InputError: there is none, or as `open_video`.
    """
    videos = find_videos(frames, [*results, out]).frames
    annotated = find_annotations(annotations) if annotations else None
    names = choose_sequences(asked, videos, frames)
    stages = [Result(result, stage) for result in results for stage in inside]
    names, warnings = in_all_results(stages, names, has_stages, frames, "shown")
    folders = {} if annotated is None else annotated.of
    if annotated is not None and (without := [name for name in names if name not in folders]):
        warnings += [f"{annotations}: has no annotations of {', '.join(without)}"]
    found = [
        open_video(videos[name], results, folders.get(name), flow, name, inside)
        for name in tqdm(names, "headers", unit="sequence", delay=2, leave=False)
    ]
    return found, warnings


def open_video(
    frames_path: Path,
    results: Sequence[Path],
    annotations_path: Path | None,
    flow: Path | None,
    sequence: str | None = None,
    inside: Sequence[str] = ("",),
) -> Video:
    """Find and check what belongs to a video.

    Without ``flow`` it is that of a whole run among the results, if there is one.

    Args:
        sequence: its name in a data set, whose results and flow have a folder of that name.
        inside: the folders of the stages inside each result, or inside each sequence's folder.

    Raises:
        InputError: something is missing, or does not fit the frames.
    """

    def of_sequence(path: Path) -> Path:
        return path if sequence is None else path / sequence

    frames = open_frames(frames_path)
    folders = [of_sequence(path) for path in results]
    for path in folders:
        if path.is_dir() and (unfinished := stages_without_masks(path)):
            print(f"{path}: left out, as they hold no masks yet: {', '.join(unfinished)}")
    stages = find_all_stages(results, sequence, inside)
    masks = [masks_of_video(stage.masks, frames.count) for stage in stages]
    annotations: dict[int, Path] = {}
    if annotations_path is not None:
        annotations = annotation_files(annotations_path, frames)
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
        sequence,
        frames,
        stages,
        masks,
        [mask_values(files) for files in masks],
        annotations,
        annotation_values([*annotations.values()]),
        flow,
    )
