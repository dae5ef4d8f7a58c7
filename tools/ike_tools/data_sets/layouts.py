"""Where a data set has the frames and the annotations of its sequences.

Known are these layouts, and each of their folders on its own:

- DAVIS: JPEGImages/480p/SEQUENCE and Annotations/480p/SEQUENCE, also of other resolutions;
- YouTube-VOS: train/JPEGImages/SEQUENCE and train/Annotations/SEQUENCE, also valid, ...;
- SegTrack v2: JPEGImages/SEQUENCE and GroundTruth/SEQUENCE, or GroundTruth/SEQUENCE/1;
- FBMS: Testset/SEQUENCE and Testset/SEQUENCE/GroundTruth, also Trainingset;
- a folder of folders of frames, or of video files.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from ike_data.folders import files_of, folders_in, visible_in
from ike_data.images import IMAGE_SUFFIXES
from ike_data.runtime.errors import InputError
from ike_tools.data_sets.sequences import listed

FRAMES, ANNOTATIONS, GROUND_TRUTH = "JPEGImages", "Annotations", "GroundTruth"
USUAL_RESOLUTION = "480p"
FBMS_PARTS = "Testset", "Trainingset"
VIDEO_SUFFIXES = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg")
_LOOKED_FOR = (
    f"looked for frames (.jpg, .png) in SEQUENCE, {FRAMES}/SEQUENCE, {FRAMES}/RESOLUTION/SEQUENCE, "
    f"PART/{FRAMES}/SEQUENCE and {FBMS_PARTS[0]}/SEQUENCE, and for SEQUENCE.mp4"
)


class Videos(NamedTuple):
    """The sequences of a data set."""

    folder: Path  # that they lie in
    frames: dict[str, Path]  # of each sequence, by name: a folder or a video file
    other_resolutions: list[Path]  # folders beside ``folder`` that were not taken


class Annotations(NamedTuple):
    """The annotations of a data set."""

    folder: Path
    of: dict[str, Path]  # the folder of .png files of each sequence, by name
    by_object: list[str]  # sequences with a folder for each of several objects
    empty: list[str]  # sequences whose folder holds none

    @property
    def names(self) -> list[str]:
        return sorted([*self.of, *self.by_object, *self.empty])

    def unusable(self, names: Sequence[str]) -> list[str]:
        """Which of ``names`` cannot be scored, and why; a line for each reason."""
        reasons = (
            (self.by_object, "each object has masks of its own; merge them into one for a frame"),
            (self.empty, "the folder holds no annotation (.png)"),
        )
        return [
            f"{self.folder}: not scored, as {reason}: {', '.join(concerned)}"
            for those, reason in reasons
            if (concerned := [name for name in those if name in names])
        ]


def holds_images(folder: Path) -> bool:
    return bool(files_of(folder, *IMAGE_SUFFIXES))


def find_videos(root: Path, results: Sequence[Path] = ()) -> Videos:
    """The sequences of the data set ``root``.

    Folders of ``results`` may lie in it, and are no sequences.

    Raises:
        InputError: there is no sequence, it is not clear which are meant, or two have one name.
    """
    root = _folder(root)
    if holds_images(root):
        raise InputError(
            f"{root}: holds frames itself, so it is one sequence; give the folder above it, or use "
            "tools/run_video.sh"
        )
    folder, others = _part(root), list[Path]()
    if (folder / FRAMES).is_dir():
        folder /= FRAMES
    if folder.name == FRAMES:
        folder, others = _resolution(folder, IMAGE_SUFFIXES)
    videos: dict[str, Path] = {}
    for path in visible_in(folder):
        if _leads_to(path, results):
            continue
        if path.is_dir() or path.suffix.lower() in VIDEO_SUFFIXES:
            name = path.name if path.is_dir() else path.stem
            if name in videos:
                raise InputError(f"{path}: has the name of {videos[name].name}; rename one of them")
            videos[name] = path
    # One of them may be broken; of none with a frame the layout is not known.
    if not any(path.is_file() or holds_images(path) for path in videos.values()):
        raise InputError(f"{folder}: holds no folder of frames and no video file; {_LOOKED_FOR}")
    return Videos(folder, videos, others)


def find_annotations(root: Path) -> Annotations:
    """The annotations of the data set ``root``, or those in a folder with one for each sequence.

    Raises:
        InputError: there are none, or it is not clear which are meant.
    """
    folder = _part(_folder(root))
    named = [folder / name for name in (ANNOTATIONS, GROUND_TRUTH) if (folder / name).is_dir()]
    if not named and (folder / FRAMES).is_dir():
        raise InputError(
            f"{folder}: has {FRAMES}, but neither {ANNOTATIONS} nor {GROUND_TRUTH} beside it; give "
            "the folder that has a folder of annotations (.png) for each sequence"
        )
    folder = named[0] if named else folder
    if folder.name == ANNOTATIONS:
        folder, _ = _resolution(folder, (".png",))
    if files_of(folder, ".png"):
        raise InputError(
            f"{root}: is one sequence, with its annotations in {folder}; give that for it alone, "
            "and for a data set a folder with a folder for each sequence"
        )
    annotations = _annotations_in(folder)
    if not annotations.of:
        raise InputError(
            f"{folder}: holds neither annotations (00000.png, 00001.png, ...) nor a folder of them "
            f"for each sequence; looked for .png in SEQUENCE, SEQUENCE/1 and "
            f"SEQUENCE/{GROUND_TRUTH}; give {ANNOTATIONS}/{USUAL_RESOLUTION} or "
            f"{ANNOTATIONS}/{USUAL_RESOLUTION}/SEQUENCE"
        )
    return annotations


def annotations_beside(videos: Videos) -> Annotations | None:
    """The annotations that the layout has for these frames, of their resolution; None: none."""
    folder = videos.folder
    if folder.name == FRAMES:
        places = [folder.parent / ANNOTATIONS, folder.parent / GROUND_TRUTH]
    elif folder.parent.name == FRAMES:
        places = [folder.parent.parent / ANNOTATIONS / folder.name]
    else:
        places = [folder] if _has_ground_truth_inside(folder) else []
    for place in places:
        annotations = _annotations_in(place)
        if annotations.of:
            return annotations
    return None


def describe(root: Path, videos: Videos, annotations: Annotations | None) -> str:
    """What was found in ``root``, in a line or two."""
    root = Path(os.path.abspath(root))

    def layout(folder: Path, inside: str = "") -> str:
        place = folder.relative_to(root) if folder.is_relative_to(root) else folder
        return str(place / "SEQUENCE" / inside)

    n_videos = len(videos.frames)
    found = f"{root}: {n_videos} sequence{'s' * (n_videos != 1)} ({layout(videos.folder)})"
    if annotations is None:
        found += ", no annotations (--annotations gives them)"
    else:
        without = [name for name in videos.frames if name not in annotations.of]
        but = f" but {listed(without, 20)}" if without else ""
        inside = GROUND_TRUTH if _has_ground_truth_inside(annotations.folder) else ""
        found += f", annotations of all{but} ({layout(annotations.folder, inside)})"
        found += "".join(f"\n{line}" for line in annotations.unusable(without))
    if videos.other_resolutions:
        names = ", ".join(folder.name for folder in videos.other_resolutions)
        found += f"\nalso there: {names}; give {videos.other_resolutions[0]} as ROOT for that"
    return found


def _folder(root: Path) -> Path:
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; give a data set, or a folder of sequences")
    return Path(os.path.abspath(root))  # the name of "." tells nothing


def _part(root: Path) -> Path:
    """The folder of frames and annotations: ``root``, or the one part of it, such as train/."""
    if (root / FRAMES).is_dir():
        return root
    parts = [
        folder
        for folder in folders_in(root)
        if (folder / FRAMES).is_dir() or (folder.name in FBMS_PARTS and not holds_images(folder))
    ]
    return _only(root, parts, "parts of a data set") if parts else root


def _resolution(folder: Path, suffixes: Sequence[str]) -> tuple[Path, list[Path]]:
    """Where in JPEGImages or Annotations the sequences are, and the resolutions not taken."""
    if any(files_of(sequence, *suffixes) for sequence in folders_in(folder)):
        return folder, []
    found = [
        resolution
        for resolution in folders_in(folder)
        if any(files_of(sequence, *suffixes) for sequence in folders_in(resolution))
    ]
    if not found:
        raise InputError(
            f"{folder}: holds no sequence; looked for {', '.join(suffixes)} in "
            f"{folder.name}/SEQUENCE and in {folder.name}/RESOLUTION/SEQUENCE, such as "
            f"{folder.name}/{USUAL_RESOLUTION}/SEQUENCE"
        )
    usual = [resolution for resolution in found if resolution.name == USUAL_RESOLUTION]
    taken = _only(folder, usual or found, "resolutions")
    return taken, [resolution for resolution in found if resolution != taken]


def _only(folder: Path, found: Sequence[Path], what: str) -> Path:
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise InputError(f"{folder}: holds several {what} ({names}); give one, e.g. {found[0]}")
    return found[0]


def _annotations_in(folder: Path) -> Annotations:
    inside = _has_ground_truth_inside(folder)
    found: dict[str, Path] = {}
    by_object, empty = [], []
    for sequence in folders_in(folder):
        place = sequence / GROUND_TRUTH if inside else sequence
        objects = [path for path in folders_in(place) if path.name.isdecimal()]
        objects = [path for path in objects if files_of(path, ".png")]
        if files_of(place, ".png"):
            found[sequence.name] = place
        elif len(objects) == 1:
            found[sequence.name] = objects[0]
        elif objects:
            by_object.append(sequence.name)
        elif place.is_dir():
            empty.append(sequence.name)
    return Annotations(folder, found, by_object, empty)


def _has_ground_truth_inside(folder: Path) -> bool:
    return any((sequence / GROUND_TRUTH).is_dir() for sequence in folders_in(folder))


def _leads_to(path: Path, results: Iterable[Path]) -> bool:
    """Whether ``path`` is one of ``results``, or a folder above it without frames of its own."""
    here = path.resolve()
    above = any(folder.resolve().is_relative_to(here) for folder in results)
    return above and path.is_dir() and not holds_images(path)
