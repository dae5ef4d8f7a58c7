"""The masks of a result beside the annotations of the same frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ike_data.folders import files_of, folders_in
from ike_data.frame_folder import names_in
from ike_data.frame_names import frame_names_of
from ike_data.frame_order import numbers_of
from ike_data.runtime.errors import InputError
from ike_tools.data_sets.frame_matching import annotated_frames
from ike_tools.data_sets.layouts import find_annotations, find_videos
from ike_tools.data_sets.sequences import Result, choose_sequences, in_all_results, listed
from ike_tools.masks.mask_folder import numbered_masks, png_files
from ike_tools.masks.mask_values import (
    Annotation,
    MaskValues,
    annotation_values,
    mask_values,
    read_annotation,
    read_soft_mask,
)


@dataclass(frozen=True)
class AnnotatedSequence:
    """One sequence: a result's masks and the annotations, of some frames or all."""

    name: str
    results: Path  # the result folder as the user gave it, with its stage
    n_frames: int  # of the video
    mask_files: dict[int, Path]  # by the index of their frame, in order; annotated or not
    annotation_files: dict[int, Path]  # the same

    @cached_property
    def mask_values(self) -> MaskValues:
        """How the masks are read, see `mask_values.mask_values`."""
        return mask_values([*self.mask_files.values()])

    @cached_property
    def annotation_values(self) -> MaskValues:
        """How the annotations are read, see `mask_values.annotation_values`."""
        return annotation_values([*self.annotation_files.values()])

    def read(self, idx: int) -> tuple[np.ndarray, Annotation]:
        """Of an annotated frame, see `read_soft_mask` and `read_annotation`."""
        annotation = read_annotation(self.annotation_files[idx], self.annotation_values)
        height, width = annotation.object.shape
        soft = read_soft_mask(self.mask_files[idx], height, width, self.mask_values)
        return soft, annotation


class Paired(NamedTuple):
    """The same sequences of each result, so that their means may stand side by side."""

    of: list[list[AnnotatedSequence]]  # of each result
    warnings: list[str]  # what is not scored, and why


def pair_with_annotations(
    results: Sequence[Result],
    annotations: Path,
    asked: Sequence[str] | None,
    frames: Path | None,
) -> Paired:
    """Pair the masks of results with the annotations of a sequence or of a whole data set.

    ``annotations`` holds the .png files of one sequence, and then each result holds its masks; or
    it is a data set (see `layouts`), and then they hold folders named as its sequences.
    A sequence of which a result has no masks at all is left out, of all results; one of which it
    has some is an error, as masks are lost then. Annotations may be of some frames only, see
    `annotated_frames`. Only names are read here.

    Args:
        asked: what --sequences asks for.
        frames: of the sequence, or of the data set, whose names tell which of them is annotated;
            None: frames.csv beside the masks tells it, or their numbers.

    Raises:
        InputError: a folder or a mask is missing, it is not certain which frames are annotated, or
            no sequence is left.
    """
    for folder in (*(result.folder for result in results), annotations):
        if not folder.is_dir():
            raise InputError(f"{folder}: no such folder; check the path")
    if frames is not None and not frames.exists():
        raise InputError(
            f"--frames_path {frames}: no such file or folder; give the frames, or leave it out"
        )
    if files_of(annotations, ".png"):
        name = annotations.resolve().name
        choose_sequences(asked, [name], annotations)
        masks = [folder / stage for folder, stage in results]
        return Paired([[_pair(name, path, path, annotations, frames)] for path in masks], [])
    found = find_annotations(annotations)
    names = choose_sequences(asked, found.names, annotations)
    warnings = found.unusable(names)
    names = [name for name in names if name in found.of]
    if not names:
        raise InputError(warnings[0])
    videos = {} if frames is None else find_videos(frames).frames
    left, lines = in_all_results(results, names, _holds_masks, annotations, "scored")
    pairs = [
        [
            _pair(name, Path(str(result)), result.of(name), found.of[name], videos.get(name))
            for name in left
        ]
        for result in results
    ]
    if asked is None:
        warnings += [
            f"{result}: not scored, as they have no annotation: {', '.join(extra)}"
            for result in results
            if (extra := _sequences_besides(result, found.names))
        ]
    return Paired(pairs, warnings + lines)


def _sequences_besides(result: Result, annotated: Sequence[str]) -> list[str]:
    names = [folder.name for folder in folders_in(result.folder) if folder.name not in annotated]
    return [name for name in names if _holds_masks(result.of(name))]


def _holds_masks(folder: Path) -> bool:
    return bool(files_of(folder, ".pt", ".png"))


def _pair(
    name: str, results: Path, masks: Path, annotations: Path, frames: Path | None
) -> AnnotatedSequence:
    annotation_files = png_files(annotations)
    # A video file has no names.
    given = names_in(frames) if frames else None
    names = given or frame_names_of(masks)
    place_of = {Path(name).stem: idx for idx, name in enumerate(given or ())}
    mask_files = numbered_masks(masks, place_of)
    masks_of, n_frames = dict(enumerate(mask_files)), len(mask_files)
    if n_frames < len(place_of) and all(path.stem in place_of for path in mask_files):
        # Other methods may give masks of the annotated frames alone, named as these.
        masks_of, n_frames = {place_of[path.stem]: path for path in mask_files}, len(place_of)
    else:
        _check_number(masks, mask_files, annotation_files, names)
    own = {path.stem: path.name for path in mask_files}
    if names is None and all(path.stem in own for path in annotation_files):
        # Masks of other methods: a name that is more than a number is certain.
        names = None if all(stem.isdecimal() for stem in own) else [*own.values()]
    by_frame = annotated_frames(
        annotation_files, names, n_frames, "give --frames_path, the frames, whose names tell"
    )
    if without := [path.name for idx, path in by_frame.items() if idx not in masks_of]:
        raise InputError(
            f"{masks}: holds no mask for {len(without)} of the {len(by_frame)} annotated frames, "
            f"as {without[0]}; make them"
        )
    return AnnotatedSequence(name, results, n_frames, masks_of, by_frame)


def _check_number(
    masks: Path,
    mask_files: Sequence[Path],
    annotation_files: Sequence[Path],
    names: Sequence[str] | None,
) -> None:
    """Raises InputError where there is not one mask for each frame, as far as that is known."""
    counts, remedy = f"{masks}: holds {len(mask_files)} masks", "make all masks of the video"
    if names is not None and len(mask_files) != len(names):
        raise InputError(
            f"{counts} for the {len(names)} frames, {names[0]} to {names[-1]}; {remedy}"
        )
    if len(mask_files) < len(annotation_files):
        annotated, masked = (
            {number for path in files for number in numbers_of(path.stem)[-1:]}
            for files in (annotation_files, mask_files)
        )
        missing = listed([f"{number:05d}" for number in sorted(annotated - masked)], 5)
        raise InputError(
            f"{counts} for the {len(annotation_files)} annotations of "
            f"{annotation_files[0].parent}; missing: {missing}; {remedy}"
        )
