"""The masks of a result beside the annotations of the same frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import project_root  # noqa: F401
from data_set_layouts import find_annotations
from mask_folder import (
    files_of,
    folders_in,
    numbered_masks,
    png_files,
)
from mask_values import (
    Annotation,
    MaskValues,
    annotation_values,
    mask_values,
    read_annotation,
    read_soft_mask,
)
from sequences import Result, choose_sequences, describe_lacks, find_lack, sequences_of_all

from ike_data.errors import InputError
from ike_data.frame_order import numbers_of


@dataclass(frozen=True)
class AnnotatedSequence:
    """One sequence: its annotations and a result's masks, frame by frame in the same order."""

    name: str
    results: Path  # the result folder as the user gave it, with its stage
    annotation_files: tuple[Path, ...]
    mask_files: tuple[Path, ...]

    def __len__(self) -> int:
        return len(self.annotation_files)

    @cached_property
    def mask_values(self) -> MaskValues:
        """How the masks are read, see `mask_values.mask_values`."""
        return mask_values(self.mask_files)

    @cached_property
    def annotation_values(self) -> MaskValues:
        """How the annotations are read, see `mask_values.annotation_values`."""
        return annotation_values(self.annotation_files)

    def read(self, idx: int) -> tuple[np.ndarray, Annotation]:
        """The soft mask, float32 [height, width] in [0, 1], and the annotation of frame ``idx``.

        Raises:
            InputError: see `read_annotation` and `read_soft_mask`.
        """
        annotation = read_annotation(self.annotation_files[idx], self.annotation_values)
        height, width = annotation.object.shape
        soft = read_soft_mask(self.mask_files[idx], height, width, self.mask_values)
        return soft, annotation


class Paired(NamedTuple):
    """The same sequences of each result, so that their means may stand side by side."""

    of: list[list[AnnotatedSequence]]  # of each result
    warnings: list[str]  # what is not scored, and why


def pair_with_annotations(
    results: Sequence[Result], annotations: Path, asked: Sequence[str] | None = None
) -> Paired:
    """Pair the masks of results with the annotations of a sequence or of a whole data set.

    ``annotations`` holds the .png files of one sequence, and then each result holds its masks; or
    it is a data set (see `data_set_layouts`), and then they hold folders named as its sequences.
    A sequence of which a result has no masks at all is left out, of all results; one of which it
    has some is an error, as masks are lost then. Frames are matched by position after sorting by
    number. Only names are read here.

    Args:
        asked: what --sequences asks for.

    Raises:
        InputError: a folder or a mask is missing, there are more masks than annotations, or no
            sequence is left.
    """
    for folder in (*(result.folder for result in results), annotations):
        if not folder.is_dir():
            raise InputError(f"{folder}: no such folder")
    if files_of(annotations, ".png"):
        name = annotations.resolve().name
        choose_sequences(asked, [name], annotations)
        masks = [folder / stage for folder, stage in results]
        return Paired([[_pair(name, path, path, annotations)] for path in masks], [])
    found = find_annotations(annotations)
    names = choose_sequences(asked, found.names, annotations)
    warnings = found.unusable(names)
    names = [name for name in names if name in found.of]
    if not names:
        raise InputError(warnings[0])
    lacks = [find_lack(result, names, _holds_masks, annotations) for result in results]
    pairs = [
        [
            _pair(name, Path(str(result)), result.of(name), found.of[name])
            for name in sequences_of_all(names, lacks)
        ]
        for result in results
    ]
    if asked is None:
        warnings += [
            f"{result}: not scored, as they have no annotation: {', '.join(extra)}"
            for result in results
            if (extra := _sequences_besides(result, found.names))
        ]
    return Paired(pairs, warnings + describe_lacks(names, lacks, "scored"))


def _sequences_besides(result: Result, annotated: Sequence[str]) -> list[str]:
    names = [folder.name for folder in folders_in(result.folder) if folder.name not in annotated]
    return [name for name in names if _holds_masks(result.of(name))]


def _holds_masks(folder: Path) -> bool:
    return bool(files_of(folder, ".pt", ".png"))


def _pair(name: str, results: Path, masks: Path, annotations: Path) -> AnnotatedSequence:
    annotation_files = png_files(annotations)
    mask_files = numbered_masks(masks, "--stage names one")
    n_annotations, n_masks = len(annotation_files), len(mask_files)
    if n_masks != n_annotations:
        frames, numbers = (
            [numbers_of(path.stem)[-1] for path in files if numbers_of(path.stem)]
            for files in (annotation_files, mask_files)
        )
        counts = f"{masks}: holds {n_masks} masks for the {n_annotations} annotations of"
        if n_masks < n_annotations:
            missing = sorted(set(frames) - set(numbers))
            raise InputError(
                f"{counts} {annotations}; {_some(missing)} missing; make all masks of the video"
            )
        extra = sorted(set(numbers) - set(frames))
        raise InputError(
            f"{counts} {annotations}; {_some(extra)} too many; is it the same video, not cut?"
        )
    return AnnotatedSequence(name, results, tuple(annotation_files), tuple(mask_files))


def _some(numbers: list[int]) -> str:
    names = ", ".join(f"{number:05d}" for number in numbers[:5])
    more = f" and {len(numbers) - 5} more" if len(numbers) > 5 else ""
    return f"frame {names} is" if len(numbers) == 1 else f"frames {names}{more} are"
