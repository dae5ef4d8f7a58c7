"""The masks of a result beside the annotations of the same frames."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import project_root  # noqa: F401
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


def annotated_sequences(
    results: Path, annotations: Path, stage: str = ""
) -> list[AnnotatedSequence]:
    """Pair the masks of a result with the annotations of a sequence or of a whole data set.

    ``annotations`` holds the .png files of one sequence, and then ``results`` holds its masks; or
    it holds a folder for each sequence, and then ``results`` holds folders of the same names.
    Frames are matched by position after sorting by number. Only names are read here.

    Args:
        stage: folder of the masks inside ``results``, or inside each sequence's folder there.

    Raises:
        InputError: a folder or a mask is missing, or there are more masks than annotations.
    """
    for folder in (results, annotations):
        if not folder.is_dir():
            raise InputError(f"{folder}: no such folder")
    if files_of(annotations, ".png"):
        name = annotations.resolve().name
        return [_pair(name, results / stage, results / stage, annotations)]
    names = [folder.name for folder in folders_in(annotations)]
    if not names:
        raise InputError(
            f"{annotations}: holds neither annotations (00000.png, 00001.png, ...) nor a folder of "
            "them for each sequence; give Annotations/480p or Annotations/480p/SEQUENCE"
        )
    for name in names:
        if not files_of(annotations / name, ".png"):
            raise InputError(
                f"{annotations / name}: holds no annotation (00000.png, ...); each folder in "
                f"{annotations} should be a sequence; give Annotations/480p"
            )
        if not (results / name / stage).is_dir():
            raise InputError(
                f"{results}: has no folder {Path(name, stage)}; the annotations are a data set of "
                f"{len(names)} sequences, so its masks are expected in {results / name / stage}; "
                f"or give --annotations {annotations / name}"
            )
    label = results / "*" / stage if stage else results
    return [_pair(name, label, results / name / stage, annotations / name) for name in names]


def sequences_without_annotation(results: Path, annotations: Path) -> list[str]:
    """Folders of ``results`` that `annotated_sequences` leaves out, where it pairs a data set."""
    if files_of(annotations, ".png"):
        return []
    names = [folder.name for folder in folders_in(results)]
    return [name for name in names if not (annotations / name).is_dir()]


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
