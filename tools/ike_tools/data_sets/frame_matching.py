"""Which frame of a video each annotation is of: not every frame need have one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ike_data.frame_order import numbers_of, plain_index
from ike_data.frames import Frames
from ike_data.runtime.errors import InputError
from ike_tools.masks.mask_file import png_size
from ike_tools.masks.mask_folder import png_files


def annotation_files(folder: Path, frames: Frames) -> dict[int, Path]:
    """The annotations in ``folder`` by the index of their frame, see `annotated_frames`.

    Raises:
        InputError: there is none, it is not certain which frames they are of, or one has another
            size than these.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give the folder of annotations (.png)")
    found = annotated_frames(
        png_files(folder),
        frames.names,
        frames.count,
        "give a folder of frames in place of the video file, whose names tell",
    )
    for path in found.values():
        height, width = png_size(path)
        if (height, width) != (frames.height, frames.width):
            raise InputError(
                f"{path}: is {width} x {height} pixels, the frames are {frames.width} x "
                f"{frames.height}; give annotations of the frames' size"
            )
    return found


def annotated_frames(
    annotations: Sequence[Path], names: Sequence[str] | None, n_frames: int, remedy: str
) -> dict[int, Path]:
    """The annotations by the index of their frame, in the order of the frames.

    Where there are as many annotations as frames, each frame has one. Fewer are matched by name: an
    annotation is called as its frame, or has the same numbers in its name. Where the names of the
    frames are not known, the number in its name is the index of its frame, from 0 or from 1.

    Args:
        annotations: of one video, in their order; at least one.
        names: file names of the frames in their order; None where they are not known.
        remedy: the end of the message where the numbers do not tell the frames.

    Raises:
        InputError: an annotation is of no frame, or the frame that it is of is not certain.
    """
    folder = annotations[0].parent
    if len(annotations) > n_frames:
        raise InputError(
            f"{folder}: holds {len(annotations)} annotations, the video has {n_frames} frames; is "
            "it the same video, not cut?"
        )
    if names is None:
        readings, frames = _counted_readings(annotations, n_frames), f"numbered 0 to {n_frames - 1}"
    else:
        readings, frames = _named_readings(annotations, names), f"{names[0]} to {names[-1]}"
    if len(annotations) == n_frames:
        readings = [*(readings if names is not None else []), list(range(n_frames))]
    if not readings:
        raise InputError(
            f"{folder}: its annotations, {annotations[0].name} to {annotations[-1].name}, are not "
            f"those of the {n_frames} frames {frames}; "
            + (remedy if names is None else "name each as its frame")
        )
    if names is None and len(readings) > 1:
        raise InputError(
            f"{folder}: its {len(annotations)} annotations fit the {n_frames} frames in two ways, "
            f"counted from 0 or from 1; {remedy}"
        )
    return dict(sorted(zip(readings[0], annotations, strict=True)))


def _named_readings(annotations: Sequence[Path], names: Sequence[str]) -> list[list[int]]:
    """Each way to read the names of the annotations that gives all of them a frame.

    Tried are: the whole name, all numbers in it, and the one number that counts the frames. Each is
    a list with the index of the frame for each annotation.
    """
    stems = [path.stem for path in annotations]
    frame_stems = [Path(name).stem for name in names]
    readings = [
        _places(stems, frame_stems),
        _places([*map(numbers_of, stems)], [*map(numbers_of, frame_stems)]),
        _places(_index(stems), plain_index(frame_stems)),
    ]
    return [found for found in readings if found is not None]


def _counted_readings(annotations: Sequence[Path], n_frames: int) -> list[list[int]]:
    """As `_named_readings`, where the number in a name counts the frames from 0, or from 1."""
    index = _index([path.stem for path in annotations])
    readings = [_places(index, range(first, first + n_frames)) for first in (0, 1)]
    return [found for found in readings if found is not None]


def _index(stems: Sequence[str]) -> list[int] | None:
    """In each name the number that counts, see `plain_index`; in a single name the last number."""
    if len(stems) > 1:
        return plain_index(stems)
    return list(numbers_of(stems[0])[-1:]) or None


def _places(wanted: Sequence[object] | None, among: Sequence[object] | None) -> list[int] | None:
    """Where each of ``wanted`` stands; None where one does not, or there is nothing to compare."""
    place_of = {value: place for place, value in enumerate(among or ())}
    found = [place_of.get(value) for value in wanted or ()]
    return None if not found or None in found else [place for place in found if place is not None]
